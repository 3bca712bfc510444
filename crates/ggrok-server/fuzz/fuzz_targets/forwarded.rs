//! What is read of X-Forwarded fields, and what is written.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ggrok_server::fuzzing::forwarded(data));
