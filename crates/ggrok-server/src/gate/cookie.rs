//! The relay's own cookies, which no app ever sees.

use std::sync::LazyLock;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use http::header::{COOKIE, HeaderMap, HeaderValue};
use memchr::memmem::Finder;

/// A cookie of ours: the link that it is of, and a session with its seal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crumb {
    pub(super) link: String,
    pub(super) session: [u8; 16],
    pub(super) seal: [u8; 32],
}

impl Crumb {
    /// The field that sets it at the host that answers and at no other (RFC 6265bis, section 4.1.3.2).
    pub(super) fn set(&self, left: Duration, is_secure: bool) -> HeaderValue {
        let name = if is_secure { SECURE } else { PLAIN };
        let secure = if is_secure { "; Secure" } else { "" };
        let value = BASE64URL_NOPAD.encode(&[&self.session[..], &self.seal].concat());
        let cookie = format!(
            "{name}{}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}",
            self.link,
            left.as_secs()
        );
        let mut cookie =
            HeaderValue::try_from(cookie).expect("letters and digits are a valid field");
        cookie.set_sensitive(true);
        cookie
    }

    fn read(cookie: &[u8]) -> Option<Self> {
        let (link, value) = own(cookie)?.split_once('=')?;
        let value = BASE64URL_NOPAD.decode(value.as_bytes()).ok()?;
        let (session, seal) = value.split_at_checked(16)?;
        Some(Self {
            link: link.to_owned(),
            session: session.try_into().ok()?,
            seal: seal.try_into().ok()?,
        })
    }
}

/// Takes the relay's own cookies out of a request. The app's stay as they are. Those that only this host
/// can have set come first; there are as many as the head of a request holds.
pub(super) fn take(headers: &mut HeaderMap) -> Vec<Crumb> {
    let has_ours = |value: &HeaderValue| {
        // Nearly no request has any, and a search costs less than a look at each cookie.
        FINDER.find(value.as_bytes()).is_some()
            && cookies(value).any(|cookie| own(cookie).is_some())
    };
    if !headers.get_all(COOKIE).iter().any(has_ours) {
        return Vec::new();
    }
    let values: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    for value in &values {
        let left: Vec<&[u8]> = cookies(value)
            .filter(|cookie| own(cookie).is_none())
            .collect();
        let left = HeaderValue::from_bytes(&left.join(&b"; "[..])).ok();
        if let Some(left) = left.filter(|left| !left.is_empty()) {
            headers.append(COOKIE, left);
        }
    }
    let all = || values.iter().flat_map(cookies);
    let is_of_host = |cookie: &&[u8]| cookie.starts_with(SECURE.as_bytes());
    let others = all().filter(|cookie| !is_of_host(cookie));
    let ordered = all().filter(is_of_host).chain(others);
    ordered.filter_map(Crumb::read).collect()
}

fn cookies(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let cookies = value.as_bytes().split(|byte| *byte == b';');
    cookies.map(<[u8]>::trim_ascii)
}

/// What is behind the beginning of a name that is ours.
fn own(cookie: &[u8]) -> Option<&str> {
    let starts = [SECURE, PLAIN];
    let mut rests = starts
        .iter()
        .filter_map(|start| cookie.strip_prefix(start.as_bytes()));
    rests
        .next()
        .map(|rest| str::from_utf8(rest).unwrap_or_default())
}

/// How our names begin. Browsers keep the first one from other hosts, and from connections in the clear.
const SECURE: &str = "__Host-ggrok-share-";
const PLAIN: &str = "ggrok-share-";

/// Finds what all our names have.
static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(PLAIN));

#[cfg(test)]
mod tests {
    use super::{Crumb, take};
    use http::header::COOKIE;
    use http::{HeaderMap, HeaderValue};
    use std::time::Duration;

    fn crumb() -> Crumb {
        Crumb {
            link: "0123abcd".to_owned(),
            session: [7; 16],
            seal: [9; 32],
        }
    }

    fn taken(fields: &[&[u8]]) -> (Vec<Crumb>, Vec<String>) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(COOKIE, HeaderValue::from_bytes(field).unwrap());
        }
        let crumbs = take(&mut headers);
        let left = headers.get_all(COOKIE).iter();
        (
            crumbs,
            left.map(|left| left.to_str().unwrap().to_owned()).collect(),
        )
    }

    #[test]
    fn comes_back_from_the_one_host_that_set_it() {
        for (is_secure, name) in [
            (true, "__Host-ggrok-share-0123abcd"),
            (false, "ggrok-share-0123abcd"),
        ] {
            let set = crumb().set(Duration::from_secs(60), is_secure);
            let set = set.to_str().unwrap();
            let (cookie, attributes) = set.split_once("; ").unwrap();
            assert!(cookie.starts_with(&format!("{name}=")), "{set}");
            assert!(attributes.starts_with("Path=/; Max-Age=60; HttpOnly; SameSite=Lax"));
            assert_eq!(attributes.ends_with("; Secure"), is_secure);
            assert!(!attributes.contains("Domain"));
            assert_eq!(taken(&[cookie.as_bytes()]), (vec![crumb()], vec![]));
        }
    }

    #[test]
    fn comes_first_where_no_other_host_can_have_set_it() {
        let value = |seal: u8| {
            let set = Crumb {
                seal: [seal; 32],
                ..crumb()
            };
            let set = set.set(Duration::ZERO, false);
            let set = set.to_str().unwrap();
            set.split(';').next().unwrap().to_owned()
        };
        let (first, last) = (value(1), format!("__Host-{}", value(2)));
        let fields = [first.as_bytes(), b"a=1", last.as_bytes()];
        let (crumbs, left) = taken(&fields);
        let seals: Vec<u8> = crumbs.iter().map(|crumb| crumb.seal[0]).collect();
        assert_eq!((seals, left), (vec![2, 1], vec!["a=1".to_owned()]));
    }

    #[test]
    fn is_taken_out_of_the_others() {
        let set = crumb().set(Duration::ZERO, true);
        let ours = set.to_str().unwrap().split(';').next().unwrap();
        let both = format!("a=1; {ours};b=\"2\"; c");
        let left = vec!["a=1; b=\"2\"; c".to_owned(), "d=3".to_owned()];
        assert_eq!(taken(&[both.as_bytes(), b"d=3"]), (vec![crumb()], left));
        let broken = b"a=1; __Host-ggrok-share-x=!; ggrok-share-; ggrok-share-y; b=2";
        assert_eq!(taken(&[broken]), (vec![], vec!["a=1; b=2".to_owned()]));
        let others = b"a=1;b=2;  not-ggrok-share-x=1";
        assert_eq!(taken(&[others]).1, [str::from_utf8(others).unwrap()]);
    }
}
