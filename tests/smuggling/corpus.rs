//! The corpus: what visitors may try.

mod framing;
mod heads;
mod mixtures;

use super::attack::Attack;

/// All attacks.
pub fn corpus() -> Vec<Attack> {
    [
        framing::codings(),
        framing::lengths(),
        framing::chunks(),
        heads::lines(),
        heads::fields(),
        heads::hosts(),
        mixtures::mixtures(),
    ]
    .concat()
}
