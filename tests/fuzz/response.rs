//! The fuzz target in `tests/targets/response.rs`.

#![no_main]

#[path = "../targets/input.rs"]
mod input;
#[path = "../targets/response.rs"]
mod response;

libfuzzer_sys::fuzz_target!(|input: &[u8]| response::run(input));
