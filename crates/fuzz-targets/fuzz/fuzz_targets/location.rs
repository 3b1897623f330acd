#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tee_session_fuzz_targets::location(input));
