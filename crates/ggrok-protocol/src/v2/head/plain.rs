//! The bytes that JSON does not escape.

/// Whether each of the bytes stands for itself in a string. Most values have some dozens.
pub(super) fn are_plain(bytes: &[u8]) -> bool {
    let (eights, rest) = bytes.as_chunks();
    // The last eight say what the rest does, and some of it again.
    let Some(last) = bytes.last_chunk() else {
        return rest.iter().copied().all(is_plain);
    };
    let eights = eights.iter().chain([last]);
    // Without a way out before the end: nearly all are plain.
    eights.fold(0, |special, eight| special | special_in(*eight)) == 0
}

/// Not zero where one of the bytes does not stand for itself, which is looked up in all at once. A byte that
/// is less than another has its highest bit after that was subtracted, and had not before.
const fn special_in(bytes: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHEST: u64 = ONES << 7;
    const fn any_below(bytes: u64, bound: u8) -> u64 {
        bytes.wrapping_sub(ONES * bound as u64) & !bytes
    }
    const fn any_equal(bytes: u64, byte: u8) -> u64 {
        any_below(bytes ^ (ONES * byte as u64), 1)
    }
    let bytes = u64::from_ne_bytes(bytes);
    let special = bytes
        | any_below(bytes, b' ')
        | any_equal(bytes, b'"')
        | any_equal(bytes, b'\\')
        | any_equal(bytes, DELETE);
    special & HIGHEST
}

const DELETE: u8 = 0x7f;

/// Whether a byte stands for itself in a string.
pub(super) const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::{are_plain, is_plain};

    #[test]
    fn finds_each_byte_that_is_not_plain_wherever_it_is() {
        for length in 1..=20 {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'x'; length];
                    bytes[at] = byte;
                    let found = are_plain(&bytes);
                    assert_eq!(found, is_plain(byte), "{byte} at {at} of {length}");
                }
            }
        }
        assert!(are_plain(b"") && are_plain(b" !#[]~~~ "));
        assert!(!are_plain(b"\xa0\x80\xff\x00\"\\\x7f\x1f"));
    }
}
