//! The scripts of the simulation, made of any bytes in place of a seed.
#![no_main]

#[path = "../../tests/it/simulation/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod simulation;

libfuzzer_sys::fuzz_target!(|input: &[u8]| simulation::check_bytes(input));
