//! The bounds of what the relay takes in.

pub(crate) mod available;
pub(crate) mod calls;
pub(crate) mod connections;
pub(crate) mod open_files;
