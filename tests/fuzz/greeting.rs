//! The fuzz target in `tests/targets/greeting.rs`.

#![no_main]

#[path = "../targets/greeting.rs"]
mod greeting;
#[path = "../targets/input.rs"]
mod input;
#[path = "../util/model.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|input: &[u8]| greeting::run(input));
