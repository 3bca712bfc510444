//! The bounds of what the relay takes in.

pub(crate) mod available;
