//! What a hostile peer sends, read by our end and by the library's.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ggrok_websocket::fuzzing::incoming(data));
