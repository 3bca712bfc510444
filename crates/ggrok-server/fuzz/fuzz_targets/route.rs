//! A request's host and target, and the head that goes on.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ggrok_server::fuzzing::route(data));
