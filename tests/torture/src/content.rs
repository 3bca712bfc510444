//! Bodies of which each byte tells to which request it belongs.

/// The content of a request's body or its answer's: letters, so that every dialect carries them.
pub fn content(id: u64, length: usize) -> Vec<u8> {
    let mut letters = fastrand::Rng::with_seed(id.wrapping_add(1));
    std::iter::repeat_with(|| letters.u64(..).to_le_bytes())
        .flatten()
        .map(|byte| b'a' + byte % 26)
        .take(length)
        .collect()
}
