//! The fuzz target in `tests/targets/recording.rs`.

#![no_main]

#[path = "../targets/input.rs"]
mod input;
#[path = "../targets/recording.rs"]
mod recording;

libfuzzer_sys::fuzz_target!(|input: &[u8]| recording::run(input));
