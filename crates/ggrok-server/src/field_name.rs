//! The words of a field's name, by which rules recognise fields.

/// The words of a name in lower case, whatever stands between them. CGI and its successors read `-`, `_`
/// and, some of them, `.` as the same octet, so `x.real.ip` is `x-real-ip`.
pub(crate) fn words(name: &str) -> impl Iterator<Item = &[u8]> {
    let words = name
        .as_bytes()
        .split(|octet| !octet.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty())
}

/// Whether two names have the same words.
pub(crate) fn has_same_words(one: &str, other: &str) -> bool {
    words(one).eq(words(other))
}

/// Whether a name has an octet besides letters, digits and `-`.
pub(crate) fn is_unusual(name: &str) -> bool {
    let is_usual = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
    !name.bytes().all(is_usual)
}
