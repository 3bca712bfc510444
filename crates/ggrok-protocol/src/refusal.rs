//! An answer that ggrok gives in the app's place: as a page, as JSON or as text.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use serde::Serialize;

/// The field that every answer of ggrok's own carries, with the code of the error as its value,
/// so that it can be told from an answer of the app.
pub const ERROR_HEADER: HeaderName = HeaderName::from_static("x-ggrok-error");

/// An answer that the relay or the client gives in the app's place. It holds nothing of the
/// request, so that it can reflect nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: StatusCode,
    /// A stable word for programs.
    pub code: &'static str,
    /// A sentence for people, with what to do. Plain text without `<`, `>` or `&`.
    pub text: &'static str,
    /// Seconds after which it may be worth to ask again.
    pub retry_after: Option<u32>,
}

impl Refusal {
    /// Makes a refusal that gives no time to come back.
    #[must_use]
    pub const fn new(status: StatusCode, code: &'static str, text: &'static str) -> Self {
        Self {
            status,
            code,
            text,
            retry_after: None,
        }
    }

    /// Writes the answer in the form that a request's Accept field asks for: a page for a
    /// browser, JSON for a program that wants it, text for all others.
    #[must_use]
    pub fn response(&self, accept: Option<&HeaderValue>) -> Response<Bytes> {
        self.response_with(self.text, accept)
    }

    /// Writes the answer with another text, which says more.
    pub(crate) fn response_with(
        &self,
        text: &str,
        accept: Option<&HeaderValue>,
    ) -> Response<Bytes> {
        let (content_type, body) = match Form::accepted(accept) {
            Form::Page => ("text/html; charset=utf-8", self.page(text)),
            Form::Json => ("application/json", self.json(text)),
            Form::Text => ("text/plain; charset=utf-8", format!("{text}\n")),
        };
        let length = body.len();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, length.into());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(ERROR_HEADER, HeaderValue::from_static(self.code));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }

    fn json(&self, text: &str) -> String {
        #[derive(Serialize)]
        struct Json<'a> {
            error: &'static str,
            message: &'a str,
        }
        let json = Json {
            error: self.code,
            message: text,
        };
        serde_json::to_string(&json).expect("two strings are always JSON")
    }

    fn page(&self, text: &str) -> String {
        let Self { status, code, .. } = self;
        let reason = status.canonical_reason().unwrap_or_default();
        let number = status.as_u16();
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n\
             <title>{number} {reason}</title>\n<style>{STYLE}</style>\n\
             <main>\n<h1>{number} {reason}</h1>\n<p>{text}</p>\n\
             <footer>ggrok: {code}</footer>\n</main>\n</html>\n"
        )
    }
}

const STYLE: &str = "body{font:1.1rem/1.6 system-ui,sans-serif;color-scheme:light dark}\
                     main{max-width:34rem;margin:18vh auto;padding:0 1.5rem}\
                     h1{font-size:1.5rem}footer{opacity:.6;font:.9rem ui-monospace,monospace}";

/// In which form an answer is written.
enum Form {
    Page,
    Json,
    Text,
}

impl Form {
    /// The first form that the request names. Weights are not read: browsers name HTML first,
    /// API clients name JSON or nothing.
    fn accepted(accept: Option<&HeaderValue>) -> Self {
        accept
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .split(',')
            .find_map(|range| match range.split(';').next()?.trim() {
                "text/html" | "application/xhtml+xml" => Some(Self::Page),
                "application/json" => Some(Self::Json),
                "text/plain" => Some(Self::Text),
                _ => None,
            })
            .unwrap_or(Self::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::{ERROR_HEADER, Refusal};
    use http::header::{CONTENT_TYPE, RETRY_AFTER};
    use http::{HeaderValue, StatusCode};

    const REFUSAL: Refusal = Refusal {
        retry_after: Some(2),
        ..Refusal::new(StatusCode::BAD_GATEWAY, "broken", "It broke.")
    };

    fn asked_for(accept: &'static str) -> (String, String) {
        let response = REFUSAL.response(Some(&HeaderValue::from_static(accept)));
        assert_eq!(response.status(), 502);
        assert_eq!(response.headers()[ERROR_HEADER], "broken");
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        let content_type = response.headers()[CONTENT_TYPE]
            .to_str()
            .unwrap()
            .to_owned();
        let body = String::from_utf8(response.into_body().to_vec()).unwrap();
        (content_type, body)
    }

    #[test]
    fn answers_a_browser_with_a_page_and_others_as_they_ask() {
        let (kind, page) = asked_for("text/html,application/xhtml+xml,*/*;q=0.8");
        assert!(kind.starts_with("text/html"));
        assert!(page.contains("<h1>502 Bad Gateway</h1>") && page.contains("It broke."));

        let (kind, json) = asked_for("application/json");
        assert_eq!(kind, "application/json");
        assert_eq!(json, r#"{"error":"broken","message":"It broke."}"#);

        for accept in ["*/*", "", "image/png", "text/plain, text/html"] {
            let (kind, text) = asked_for(accept);
            assert!(kind.starts_with("text/plain"));
            assert_eq!(text, "It broke.\n");
        }
    }
}
