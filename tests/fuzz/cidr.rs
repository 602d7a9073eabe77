//! The fuzz target in `tests/targets/cidr.rs`.

#![no_main]

#[path = "../targets/cidr.rs"]
mod cidr;

libfuzzer_sys::fuzz_target!(|input: &[u8]| cidr::run(input));
