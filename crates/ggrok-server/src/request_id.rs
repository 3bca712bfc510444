//! X-Request-ID: the name of a call, by which the logs of relay, client and app can be joined.

use std::fmt;

use data_encoding::HEXLOWER;
use ggrok_protocol::REQUEST_ID;
use http::{HeaderMap, HeaderValue};

/// The name of a call.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// Takes over the name that a request came with, or makes one where it has none that can stand in
    /// a log.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(REQUEST_ID).iter();
        match (given.next(), given.next()) {
            (Some(id), None) if is_sane(id) => Self(id.clone()),
            _ => Self::random(),
        }
    }

    /// It need be unlike all others, and may be guessed.
    fn random() -> Self {
        let id = HEXLOWER.encode(&fastrand::u128(..).to_be_bytes());
        Self(HeaderValue::try_from(id).expect("hexadecimal digits are a valid value"))
    }

    /// Sets the field.
    pub(crate) fn set(self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.0);
    }
}

fn is_sane(id: &HeaderValue) -> bool {
    (1..=LONGEST).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// Bytes of a name. Heroku's router takes over no longer ones.
const LONGEST: usize = 200;

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::RequestId;
    use ggrok_protocol::REQUEST_ID;
    use http::HeaderMap;

    fn id(given: &[&str]) -> String {
        let values = given.iter().map(|id| (REQUEST_ID, id.parse().unwrap()));
        let mut headers: HeaderMap = values.collect();
        let id = RequestId::of(&headers);
        let shown = id.to_string();
        id.set(&mut headers);
        assert_eq!(headers.get_all(REQUEST_ID).iter().count(), 1);
        assert_eq!(headers[REQUEST_ID], shown);
        shown
    }

    #[test]
    fn keeps_a_name_that_is_one() {
        let longest = "x".repeat(200);
        for given in [
            "1",
            "f47ac10b-58cc-4372-a567-0e02b2c3d479",
            "a/b;c",
            &longest,
        ] {
            assert_eq!(id(&[given]), given);
        }
    }

    #[test]
    fn makes_one_where_there_is_none_or_several() {
        let long = "x".repeat(201);
        let given: [&[&str]; 6] = [&[], &[""], &["a b"], &["\u{e9}"], &[&long], &["a", "b"]];
        for given in given {
            let made = id(given);
            assert_eq!(made.len(), 32, "{made}");
            assert!(made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
            assert_ne!(made, id(given));
        }
    }
}
