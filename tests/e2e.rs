//! End-to-end scenarios over real sockets and processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
