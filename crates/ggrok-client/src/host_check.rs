//! Pages by which development servers refuse a host that they do not know.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use http_body_util::combinators::InspectFrame;

use crate::serve::Observer;
use crate::{Config, Event, HostHeader};

/// A development server that checks the host that it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostCheck {
    /// Vite.
    Vite,
    /// webpack-dev-server.
    Webpack,
    /// Django.
    Django,
    /// Rails. It checks X-Forwarded-Host too, so that no Host header gets past it.
    Rails,
}

/// Watches responses for the pages of such checks, and tells of each check once.
pub(crate) struct HostChecks {
    /// Whether the local server is told the public host, and so may refuse it.
    is_on: bool,
    told: Mutex<Vec<HostCheck>>,
}

/// What may turn out to be such a page.
struct Page {
    host: String,
    status: StatusCode,
    /// Where it is known.
    length: Option<u64>,
    start: Vec<u8>,
    /// Bytes of it in which none of the marks begins.
    known: usize,
}

impl HostCheck {
    /// Whose page it is that starts like this.
    fn of(page: &Page) -> Option<Self> {
        let fresh = &page.start[page.known..];
        let contains = |text: &[u8]| fresh.windows(text.len()).any(|window| window == text);
        match page.status.as_u16() {
            // Before its version 5 it refused with 200.
            200 | 403 if page.start == WEBPACK && page.length == Some(WEBPACK.len() as u64) => {
                Some(Self::Webpack)
            }
            403 if page.start.starts_with(VITE) => Some(Self::Vite),
            403 if contains(b"Blocked host: ") || contains(b"Blocked hosts: ") => Some(Self::Rails),
            400 if contains(b"DisallowedHost") || contains(b"Invalid HTTP_HOST header") => {
                Some(Self::Django)
            }
            _ => None,
        }
    }
}

impl fmt::Display for HostCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vite => "Vite",
            Self::Webpack => "webpack-dev-server",
            Self::Django => "Django",
            Self::Rails => "Rails",
        })
    }
}

impl HostChecks {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            is_on: config.host_header == HostHeader::Preserve,
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
        let mut page = host
            .filter(|_| self.is_on)
            .and_then(|host| Page::of(&host, &response));
        response.map(|body| {
            body.inspect_frame(move |frame| {
                let (Some(known), Some(data)) = (&mut page, frame.data_ref()) else {
                    return;
                };
                known.read(data);
                if let Some(check) = HostCheck::of(known) {
                    if self.is_new(check) {
                        let host = known.host.clone();
                        observer(Event::HostRefused { check, host });
                    }
                    page = None;
                } else if known.start.len() == START {
                    page = None;
                }
            })
        })
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

impl Page {
    /// A response whose head is that of such a page.
    fn of<B: Body>(host: &HeaderValue, response: &Response<B>) -> Option<Self> {
        let headers = response.headers();
        let status = response.status();
        let length = response.body().size_hint().exact();
        let is_refusal = match status.as_u16() {
            200 => length == Some(WEBPACK.len() as u64),
            400 | 403 => true,
            _ => false,
        };
        let is_text = headers.get(CONTENT_TYPE).is_none_or(|kind| {
            let kind = kind.as_bytes();
            kind.starts_with(b"text/html") || kind.starts_with(b"text/plain")
        });
        (is_refusal && is_text && !headers.contains_key(CONTENT_ENCODING)).then(|| Self {
            host: String::from_utf8_lossy(host.as_bytes()).into_owned(),
            status,
            length,
            start: Vec::new(),
            known: 0,
        })
    }

    fn read(&mut self, data: &[u8]) {
        let left = START - self.start.len();
        self.known = self.start.len().saturating_sub(MARK);
        self.start.extend_from_slice(&data[..left.min(data.len())]);
    }
}

const VITE: &[u8] = b"Blocked request. This host (";

const WEBPACK: &[u8] = b"Invalid Host header";

/// Bytes of the longest mark within a page, or more.
const MARK: usize = 32;

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
        let mut page = Page::of(&"a.example".parse().unwrap(), &response.unwrap())?;
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
