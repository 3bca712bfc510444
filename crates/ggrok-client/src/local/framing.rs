//! Whether a local response tells beyond doubt where it ends.

use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};

/// Holds the fields of a response against RFC 9112, section 6.3, where hyper is more lenient: one
/// length or chunks, and not both. A length that is given more than once is then given once.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn settle(headers: &mut HeaderMap) -> Result<(), &'static str> {
    let announced = lengths(headers)?;
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => {}
        (Some(_), _) if announced.is_some() => {
            return Err("it has a length, and a transfer coding too");
        }
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {}
        _ => return Err("it has a transfer coding that is not chunked alone"),
    }
    if let Some((length, times)) = announced
        && times > 1
    {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    Ok(())
}

/// The length that is announced, and how many times it is. It must be the same each time.
fn lengths(headers: &HeaderMap) -> Result<Option<(u64, usize)>, &'static str> {
    let mut announced = None;
    let values = headers.get_all(CONTENT_LENGTH).iter();
    for length in values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
        let length = number(length.trim_ascii()).ok_or("its length is no number")?;
        announced = match announced {
            None => Some((length, 1)),
            Some((before, times)) if before == length => Some((length, times + 1)),
            Some(_) => return Err("it has two lengths"),
        };
    }
    Ok(announced)
}

fn number(digits: &[u8]) -> Option<u64> {
    // `parse` would take a sign.
    let are_digits = digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits)
        .ok()
        .filter(|_| are_digits)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::settle;
    use http::{HeaderMap, HeaderName, HeaderValue};

    /// The fields that are left, or nothing where they contradict each other.
    fn settled(fields: &[(&'static str, &'static str)]) -> Option<Vec<String>> {
        let fields = fields.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        let mut headers: HeaderMap = fields.collect();
        settle(&mut headers).ok()?;
        let left = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        Some(left.collect())
    }

    const LENGTH: &str = "content-length";
    const CODING: &str = "transfer-encoding";

    #[test]
    fn takes_one_length_or_chunks() {
        assert_eq!(settled(&[]), Some(vec![]));
        let five = Some(vec!["content-length: 5".to_owned()]);
        assert_eq!(settled(&[(LENGTH, "5")]), five);
        assert_eq!(settled(&[(LENGTH, "5, 5")]), five);
        assert_eq!(settled(&[(LENGTH, "5"), (LENGTH, "5")]), five);
        let chunked = Some(vec!["transfer-encoding: Chunked".to_owned()]);
        assert_eq!(settled(&[(CODING, "Chunked")]), chunked);
    }

    #[test]
    fn refuses_what_can_be_read_in_two_ways() {
        for fields in [
            [(LENGTH, "5"), (LENGTH, "6")],
            [(LENGTH, "5"), (CODING, "chunked")],
            [(CODING, "chunked"), (CODING, "chunked")],
            [(CODING, "gzip"), (CODING, "chunked")],
        ] {
            assert_eq!(settled(&fields), None, "{fields:?}");
        }
        for length in [
            "5, 6",
            "+5",
            "-1",
            "0x5",
            "5 5",
            "",
            "5,",
            "18446744073709551616",
        ] {
            assert_eq!(settled(&[(LENGTH, length)]), None, "{length:?}");
        }
        for coding in ["gzip", "gzip, chunked", "identity", "chunked, chunked", ""] {
            assert_eq!(settled(&[(CODING, coding)]), None, "{coding:?}");
        }
    }
}
