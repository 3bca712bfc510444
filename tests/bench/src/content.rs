//! The bytes of large bodies, which both ends know and compare.

/// A pattern without end. Its period is a prime, so that a piece that is lost or comes twice shows.
pub struct Content {
    periods: Vec<u8>,
}

impl Content {
    pub fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(PERIOD as u64);
        let period: Vec<u8> = (0..PERIOD).map(|_| random.u8(..)).collect();
        Self {
            periods: period.repeat(PERIODS),
        }
    }

    /// Up to so many of the bytes that start at an offset, and at least one period of them where so
    /// many are asked for.
    pub fn at(&self, offset: u64, length: u64) -> &[u8] {
        let start = (offset % PERIOD as u64) as usize;
        let rest = &self.periods[start..];
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        &rest[..rest.len().min(length)]
    }

    /// Whether a piece is what stands at an offset.
    pub fn has(&self, offset: u64, piece: &[u8]) -> bool {
        let mut offset = offset;
        let mut piece = piece;
        while !piece.is_empty() {
            let expected = self.at(offset, piece.len() as u64);
            let (start, rest) = piece.split_at(expected.len());
            if start != expected {
                return false;
            }
            offset += start.len() as u64;
            piece = rest;
        }
        true
    }
}

const PERIOD: usize = 65_521;

/// A good MiB, so that large pieces are written at once.
const PERIODS: usize = 17;

#[cfg(test)]
mod tests {
    use super::{Content, PERIOD};

    #[test]
    fn knows_its_own_bytes_and_no_others() {
        let content = Content::new();
        let piece = content.at(100, 200_000).to_vec();
        assert_eq!(piece.len(), 200_000);
        assert!(content.has(100, &piece));
        assert!(content.has(100 + PERIOD as u64, &piece));
        assert!(!content.has(101, &piece));
        let long = piece.repeat(10);
        assert!(!content.has(100, &long), "it goes on, and is not repeated");
    }
}
