//! The fuzz target in `tests/targets/url.rs`.

#![no_main]

#[path = "../targets/url.rs"]
mod url;

libfuzzer_sys::fuzz_target!(|input: &[u8]| url::run(input));
