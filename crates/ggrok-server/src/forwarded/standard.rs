//! The facts of the X-Forwarded fields as one Forwarded field (RFC 7239).

use std::net::Ipv6Addr;

use http::HeaderValue;

use crate::via::is_token;

/// Writes the field. `seen` lists addresses as X-Forwarded-For does, the visitor's first: host and
/// scheme go with that, since the visitor asked for them. What is not known is left out.
pub(super) fn field(
    seen: Option<&HeaderValue>,
    host: Option<&HeaderValue>,
    proto: &str,
) -> HeaderValue {
    let mut field = String::with_capacity(80);
    let seen = seen.and_then(|seen| seen.to_str().ok());
    let mut hops = seen.into_iter().flat_map(|seen| seen.split(", "));
    if let Some(visitor) = hops.next() {
        push_node(&mut field, visitor);
        field.push(';');
    }
    if let Some(host) = host.and_then(|host| host.to_str().ok()) {
        field.push_str("host=");
        push_value(&mut field, host);
        field.push(';');
    }
    field.push_str("proto=");
    field.push_str(proto);
    for hop in hops {
        field.push_str(", ");
        push_node(&mut field, hop);
    }
    HeaderValue::try_from(field).expect("made of values that were valid")
}

/// An address, with or without a port. One of IPv6 stands in brackets.
fn push_node(field: &mut String, address: &str) {
    field.push_str("for=");
    if address.contains(':') && address.parse::<Ipv6Addr>().is_ok() {
        push_value(field, &format!("[{address}]"));
    } else {
        push_value(field, address);
    }
}

/// A value, in quotes where it is no token (RFC 9110, section 5.6.4).
fn push_value(field: &mut String, value: &str) {
    if is_token(value) {
        field.push_str(value);
        return;
    }
    field.push('"');
    for piece in value.split_inclusive(['"', '\\']) {
        let quoted = piece.strip_suffix(['"', '\\']).unwrap_or(piece);
        field.push_str(quoted);
        if quoted.len() < piece.len() {
            field.push('\\');
            field.push_str(&piece[quoted.len()..]);
        }
    }
    field.push('"');
}

#[cfg(test)]
mod tests {
    use super::field;
    use http::HeaderValue;

    #[test]
    fn quotes_what_is_no_token() {
        for (seen, host, expected) in [
            (
                "192.0.2.1",
                "a.example",
                "for=192.0.2.1;host=a.example;proto=http",
            ),
            (
                "192.0.2.1:80",
                "a.example:8080",
                r#"for="192.0.2.1:80";host="a.example:8080";proto=http"#,
            ),
            (
                "2001:db8::1",
                "[::1]:80",
                r#"for="[2001:db8::1]";host="[::1]:80";proto=http"#,
            ),
            (
                "[2001:db8::1]:443, ::1, 10.0.0.1",
                "a",
                r#"for="[2001:db8::1]:443";host=a;proto=http, for="[::1]", for=10.0.0.1"#,
            ),
            (
                "[2001:db8::1]",
                r#"a";for=b\"#,
                r#"for="[2001:db8::1]";host="a\";for=b\\";proto=http"#,
            ),
        ] {
            let [seen, host] = [seen, host].map(HeaderValue::from_static);
            assert_eq!(field(Some(&seen), Some(&host), "http"), expected);
        }
    }

    #[test]
    fn leaves_out_what_is_not_known() {
        assert_eq!(field(None, None, "https"), "proto=https");
        let host = HeaderValue::from_static("a");
        assert_eq!(field(None, Some(&host), "http"), "host=a;proto=http");
        assert_eq!(
            field(Some(&HeaderValue::from_static("::1")), None, "http"),
            r#"for="[::1]";proto=http"#
        );
    }
}
