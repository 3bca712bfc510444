//! The login that a visitor gives.

use data_encoding::BASE64;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};

/// The field by which a program gives its login and keeps Authorization for the app.
pub(crate) const LOGIN_HEADER: HeaderName = HeaderName::from_static("x-ggrok-authorization");

/// The login that a visitor gives, and in which field.
pub(super) struct Given {
    pub(super) field: HeaderName,
    /// `USER:PASSWORD`.
    pub(super) text: Vec<u8>,
}

/// Reads the login of a request (RFC 7617): of our own field where it is there, else of Authorization.
/// Neither may come twice, or the app might read another one.
pub(super) fn given(headers: &HeaderMap) -> Option<Given> {
    let field = if headers.contains_key(LOGIN_HEADER) {
        LOGIN_HEADER
    } else {
        AUTHORIZATION
    };
    let mut values = headers.get_all(&field).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, text) = value.as_bytes().split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let text = BASE64.decode(text.trim_ascii()).ok()?;
    Some(Given { field, text })
}

#[cfg(test)]
mod tests {
    use super::given;
    use http::{HeaderMap, HeaderName};

    fn text(fields: &[(&'static str, &str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        let given = given(&headers)?;
        assert!(headers.contains_key(given.field));
        Some(String::from_utf8(given.text).unwrap())
    }

    #[test]
    fn is_read_of_one_field() {
        let basic = ("authorization", "Basic YW5hOnMzY3JldA==");
        let login = Some("ana:s3cret".to_owned());
        assert_eq!(text(&[basic]), login);
        assert_eq!(
            text(&[("authorization", "bAsIc   YW5hOnMzY3JldA== ")]),
            login
        );
        let (ours, bearer) = ("x-ggrok-authorization", ("authorization", "Bearer x"));
        assert_eq!(text(&[bearer, (ours, basic.1)]), login);
        assert_eq!(text(&[(ours, "Basic YTpi"), basic]), Some("a:b".to_owned()));
        for fields in [
            &[][..],
            &[bearer],
            &[basic, basic],
            &[basic, (ours, "Bearer x")],
            &[("authorization", "Basic")],
            &[("authorization", "Basic YW5hOnMzY3JldA")],
            &[("authorization", "Basic YW5h OnMzY3JldA==")],
            &[("authorization", "YW5hOnMzY3JldA==")],
        ] {
            assert_eq!(text(fields), None, "{fields:?}");
        }
    }
}
