//! The fuzz target in `tests/targets/request.rs`.

#![no_main]

#[path = "../targets/input.rs"]
mod input;
#[path = "../targets/request.rs"]
mod request;

libfuzzer_sys::fuzz_target!(|input: &[u8]| request::run(input));
