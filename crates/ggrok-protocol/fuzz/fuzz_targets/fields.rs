//! Fields, on their way through every dialect.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ggrok_protocol::fuzzing::fields(data));
