//! A whole relay over pipes in memory, with hostile peers on all sides.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ggrok_server::fuzzing::relay(data));
