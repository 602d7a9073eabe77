//! The fuzz target in `tests/targets/server.rs`.

#![no_main]

#[path = "../util/harness.rs"]
mod harness;
#[path = "../targets/input.rs"]
mod input;
#[path = "../util/invariants.rs"]
mod invariants;
#[path = "../util/model.rs"]
mod model;
#[path = "../util/script.rs"]
mod script;
#[path = "../targets/server.rs"]
mod server;

libfuzzer_sys::fuzz_target!(|input: &[u8]| server::run(input));
