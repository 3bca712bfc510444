//! Messages of ours, and what the library sends between them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ggrok_websocket::fuzzing::outgoing(data));
