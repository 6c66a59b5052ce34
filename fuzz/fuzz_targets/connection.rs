//! `checks::connection` on any bytes.
#![no_main]

#[path = "../../tests/it/checks.rs"]
#[allow(dead_code, reason = "each target runs one of the checks")]
mod checks;
#[path = "../../tests/it/support.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::connection(input));
