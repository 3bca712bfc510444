//! What the relay's APIs have in common: who asks, and how they are told.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::Request;
use axum::response::Response;
use http::HeaderMap;
use http::header::{ACCEPT, HOST, ORIGIN};
use http::request::Parts;

use crate::Grant;
use crate::app::App;
use crate::error::RelayError;
use crate::metrics::Desk;
use crate::own_hosts::Contact;

/// Answers an owner, or says why not. A relay that lets in anybody answers nobody.
pub(crate) async fn answer(
    app: Arc<App>,
    request: Request,
    act: impl AsyncFnOnce(&App, Grant, Request) -> Result<Response, RelayError>,
) -> Response {
    let accept = request.headers().get(ACCEPT).cloned();
    let (mut head, body) = request.into_parts();
    let answered = async {
        let grant = caller(&app, &mut head).await?;
        // Nobody can be told from the owner: what is the owner's alone would be everybody's.
        if app.config.access.is_open() {
            return Err(RelayError::OpenRelay);
        }
        act(&app, grant, Request::from_parts(head, body)).await
    };
    answered
        .await
        .unwrap_or_else(|error| app.refuse(Desk::Api, &error, accept.as_ref()))
}

/// What whoever asks an API is granted. It takes the credentials out of the request.
pub(crate) async fn caller(app: &App, head: &mut Parts) -> Result<Grant, RelayError> {
    if is_from_elsewhere(&head.headers) {
        return Err(RelayError::FromPage);
    }
    let grant = app.authenticate(&app.config.access, head).await?;
    app.note_own_host(head, &grant, Contact::Api);
    Ok(grant)
}

/// A time as APIs tell it.
pub(crate) fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// Whether a browser sent the request for a page of another site. Such a page must not use what the
/// browser reaches, an open relay or a cookie. Browsers tell by Sec-Fetch-Site where the connection is
/// safe, and by Origin elsewhere.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let origin = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    origin.map(|(_, authority)| authority) != host
}

#[cfg(test)]
mod tests {
    use super::is_from_elsewhere;
    use http::HeaderMap;

    #[test]
    fn knows_the_pages_of_other_sites() {
        for (fields, expected) in [
            (&[("host", "a.example")][..], false),
            (
                &[("host", "a.example"), ("origin", "https://a.example")],
                false,
            ),
            (
                &[("host", "a.example"), ("origin", "https://b.example")],
                true,
            ),
            (&[("host", "a.example"), ("origin", "null")], true),
            (
                &[
                    ("origin", "https://a.example"),
                    ("sec-fetch-site", "cross-site"),
                ],
                true,
            ),
            (
                &[
                    ("origin", "https://a.example"),
                    ("sec-fetch-site", "same-origin"),
                ],
                false,
            ),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("sec-fetch-site", "none")], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.insert(*name, value.parse().unwrap());
            }
            assert_eq!(is_from_elsewhere(&headers), expected, "{fields:?}");
        }
    }
}
