//! A client's mask (RFC 6455, section 5.3).

use bytes::{Bytes, BytesMut};

/// Copies a payload and masks the copy. In blocks, so that what is masked is in the processor's nearest
/// cache still.
pub(crate) fn put_masked(out: &mut BytesMut, parts: &[Bytes], mut mask: [u8; 4]) {
    out.reserve(parts.iter().map(Bytes::len).sum());
    for part in parts {
        for block in part.chunks(BLOCK) {
            let before = out.len();
            out.extend_from_slice(block);
            apply(&mut out[before..], mask);
        }
        // The next part goes on where this one has ended.
        mask.rotate_left(part.len() % 4);
    }
}

/// Masks a payload, or takes its mask away.
pub(crate) fn apply(bytes: &mut [u8], mask: [u8; 4]) {
    let word = u32::from_ne_bytes(mask);
    let (words, rest) = bytes.as_chunks_mut();
    for bytes in words {
        *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// A whole number of masks.
const BLOCK: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::{BLOCK, put_masked};

    #[test]
    fn masks_each_byte_by_its_place_in_the_payload() {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let payload: Vec<u8> = (0..2 * BLOCK + 7).map(|at| at.to_le_bytes()[0]).collect();
        let masked: Vec<u8> = payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask)
            .collect();
        for first in [0, 1, 2, 3, 6, BLOCK, BLOCK + 1, payload.len()] {
            let (first, second) = payload.split_at(first);
            let parts = [first, second].map(Bytes::copy_from_slice);
            let mut out = BytesMut::from(&b"before"[..]);
            put_masked(&mut out, &parts, mask);
            assert_eq!(out, [b"before", &masked[..]].concat());
        }
    }
}
