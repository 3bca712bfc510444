//! A session under a list of operations, with a hostile peer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ggrok_protocol::fuzzing::session(data));
