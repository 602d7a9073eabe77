//! The fuzz target in `tests/targets/slo.rs`.

#![no_main]

#[path = "../targets/slo.rs"]
mod slo;

libfuzzer_sys::fuzz_target!(|input: &[u8]| slo::run(input));
