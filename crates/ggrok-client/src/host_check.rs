//! Recognises refusals of the local server that a setting resolves, as they pass.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use http_body_util::combinators::InspectFrame;

mod table;

pub use self::table::HostCheck;
use self::table::{FOREIGN, LONGEST, Mark, PAGES, WEBPACK};
use crate::local::LocalError;
use crate::serve::Observer;
use crate::{Config, Event, HostHeader};

/// Watches responses for such refusals, and reports each kind once.
pub(crate) struct HostChecks {
    /// Whether the local server receives another host than the public one.
    is_rewritten: bool,
    /// Whether it has responded at all.
    has_answered: AtomicBool,
    told: Mutex<Vec<HostCheck>>,
}

/// A response that may be a refusal, and what has passed of its body.
struct Page {
    status: StatusCode,
    /// Where it is known.
    length: Option<u64>,
    /// Whether the body is text that can be looked at.
    is_text: bool,
    /// Whether it is the local server's first response.
    is_first: bool,
    start: Vec<u8>,
    /// Bytes of it in which no mark begins.
    known: usize,
}

/// A page as it passes. If nothing is recognised until its end, it may be an unknown refusal.
struct Watched<'a> {
    page: Option<Page>,
    host: HeaderValue,
    checks: &'a HostChecks,
    observer: &'a Observer,
}

impl HostCheck {
    /// The refusal whose page starts like this.
    fn of(page: &Page) -> Option<Self> {
        let fresh = &page.start[page.known..];
        let contains = |text: &&[u8]| fresh.windows(text.len()).any(|window| window == *text);
        let is_like = |mark: &Mark| match mark {
            Mark::Whole(text) => page.start == *text && page.length == Some(text.len() as u64),
            Mark::Start(text) => page.start.starts_with(text),
            Mark::Within(texts) => texts.iter().any(contains),
        };
        let known = PAGES.iter().find(|known| {
            known.statuses.contains(&page.status.as_u16())
                && (page.is_first || !known.is_first)
                && is_like(&known.mark)
        });
        known.map(|known| known.check)
    }

    /// The refusal that starts with these bytes, which are no HTTP.
    pub(crate) fn of_foreign(start: &[u8]) -> Option<Self> {
        let known = FOREIGN.iter().find(|(mark, _)| start.starts_with(mark));
        known.map(|(_, check)| *check)
    }
}

impl HostChecks {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            is_rewritten: config.host_header != HostHeader::Preserve,
            has_answered: AtomicBool::new(false),
            told: Mutex::default(),
        }
    }

    /// Looks at the start of a response's body as it passes.
    pub(crate) fn watch<'a, B: Body<Data = Bytes>>(
        &'a self,
        host: Option<HeaderValue>,
        response: Response<B>,
        observer: &'a Observer,
    ) -> Response<InspectFrame<B, impl FnMut(&Frame<Bytes>) + use<'a, B>>> {
        let mut is_first = false;
        if !self.has_answered.load(Ordering::Relaxed) {
            is_first = !self.has_answered.swap(true, Ordering::Relaxed);
        }
        let mut watched = host.and_then(|host| {
            Some(Watched {
                page: Some(Page::of(&response, is_first)?),
                host,
                checks: self,
                observer,
            })
        });
        response.map(|body| {
            body.inspect_frame(move |frame| {
                if let (Some(watched), Some(data)) = (&mut watched, frame.data_ref()) {
                    watched.read(data);
                }
            })
        })
    }

    /// Looks at the reason why there is no response.
    pub(crate) fn failed(
        &self,
        host: Option<HeaderValue>,
        error: &LocalError,
        observer: &Observer,
    ) {
        let check = match error {
            LocalError::Foreign(_, check) => *check,
            LocalError::Broken(error)
                if !error.is_parse() && !self.has_answered.load(Ordering::Relaxed) =>
            {
                HostCheck::Closed
            }
            _ => return,
        };
        if let Some(host) = host {
            self.report(check, &host, observer);
        }
    }

    fn report(&self, check: HostCheck, host: &HeaderValue, observer: &Observer) {
        if let Some(remedy) = check.remedy(self.is_rewritten)
            && self.is_new(check)
        {
            let host = String::from_utf8_lossy(host.as_bytes()).into_owned();
            observer(Event::HostRefused {
                check,
                host,
                remedy,
            });
        }
    }

    fn is_new(&self, check: HostCheck) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !told.contains(&check);
        if is_new {
            told.push(check);
        }
        is_new
    }
}

impl Watched<'_> {
    fn read(&mut self, data: &[u8]) {
        let Some(page) = self.page.as_mut().filter(|page| page.is_text) else {
            return;
        };
        page.read(data);
        if let Some(check) = HostCheck::of(page) {
            self.page = None;
            self.checks.report(check, &self.host, self.observer);
        } else if page.start.len() == START && !page.is_first {
            self.page = None;
        }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        // webpack's 200 is no refusal if it is another page.
        let is_unknown = |page: &Page| page.is_first && page.status != StatusCode::OK;
        if self.page.as_ref().is_some_and(is_unknown) {
            let unknown = HostCheck::Unknown;
            self.checks.report(unknown, &self.host, self.observer);
        }
    }
}

impl Page {
    /// A response whose head is that of a refusal.
    fn of<B: Body>(response: &Response<B>, is_first: bool) -> Option<Self> {
        let headers = response.headers();
        let status = response.status();
        let length = response.body().size_hint().exact();
        let is_refusal = match status.as_u16() {
            200 => length == Some(WEBPACK.len() as u64),
            400 | 403 => true,
            _ => false,
        };
        if !is_refusal {
            return None;
        }
        let is_text = headers.get(CONTENT_TYPE).is_none_or(|kind| {
            let kind = kind.as_bytes();
            kind.starts_with(b"text/html") || kind.starts_with(b"text/plain")
        });
        let is_text = is_text && !headers.contains_key(CONTENT_ENCODING);
        (is_text || is_first).then(|| Self {
            status,
            length,
            is_text,
            is_first,
            start: Vec::new(),
            known: 0,
        })
    }

    fn read(&mut self, data: &[u8]) {
        let left = START - self.start.len();
        self.known = self.start.len().saturating_sub(LONGEST);
        self.start.extend_from_slice(&data[..left.min(data.len())]);
    }
}

/// How much of a page is looked at. Rails writes its styles first, 6 KiB of them.
const START: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::{HostCheck, Page};
    use http::Response;
    use http_body_util::Full;

    fn read(status: u16, fields: &[(&str, &str)], body: &str) -> Option<HostCheck> {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let response =
            response.body(Full::new(body.to_owned().into_bytes().into()) as Full<bytes::Bytes>);
        let mut page = Page::of(&response.unwrap(), false)?;
        // Piece by piece, as it may come.
        body.as_bytes().chunks(7).find_map(|piece| {
            page.read(piece);
            HostCheck::of(&page)
        })
    }

    const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");
    const VITE: &str = "Blocked request. This host (\"a.example\") is not allowed.";

    #[test]
    fn takes_nothing_else_for_a_refused_host() {
        assert_eq!(read(403, &[HTML], VITE), Some(HostCheck::Vite));
        let webpack = "Invalid Host header";
        assert_eq!(read(403, &[], webpack), Some(HostCheck::Webpack));
        for (status, fields, body) in [
            (200, &[HTML][..], VITE),
            (403, &[HTML], &format!("<p>{VITE}")),
            (403, &[HTML, ("content-encoding", "gzip")], VITE),
            (403, &[("content-type", "application/json")], VITE),
            (403, &[], "Invalid Host header, said somebody"),
            (200, &[HTML], "Valid host headers."),
            (404, &[], webpack),
            (403, &[HTML], "DisallowedHost"),
            (400, &[HTML], "<h1>Bad Request (400)</h1>"),
            (403, &[HTML], "<h1>Blocked</h1>"),
            (
                403,
                &[HTML],
                &format!("{:17000}Blocked hosts: a.example", ""),
            ),
        ] {
            assert_eq!(read(status, fields, body), None, "{status}: {body:.60}");
        }
    }
}
