//! The envelopes of ggrok and magic-mirror, and the heads of ggrok.v2.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ggrok_protocol::fuzzing::envelope(data));
