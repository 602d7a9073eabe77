//! Runs what fuzzing has found: each input in `tests/corpus` through its target in
//! `tests/targets`. `tests/fuzz` runs the same targets under a fuzzer.

#[path = "targets/cidr.rs"]
mod cidr;
#[path = "targets/greeting.rs"]
mod greeting;
#[path = "util/harness.rs"]
mod harness;
#[path = "targets/input.rs"]
mod input;
#[path = "util/invariants.rs"]
mod invariants;
#[path = "util/model.rs"]
mod model;
#[path = "targets/recording.rs"]
mod recording;
#[path = "targets/request.rs"]
mod request;
#[path = "targets/response.rs"]
mod response;
#[path = "util/script.rs"]
mod script;
#[path = "targets/server.rs"]
mod server;
#[path = "targets/slo.rs"]
mod slo;
#[path = "targets/url.rs"]
mod url;

use std::fs;
use std::path::Path;

/// The most bytes of one target's inputs. More would slow down each clone of the repository.
const MAX_TARGET_BYTES: u64 = 64 * 1_024;

/// Runs all inputs of a target.
fn run_all(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut bytes = 0;
    let mut inputs: Vec<_> = fs::read_dir(folder.join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "no input for {target}");
    for path in &inputs {
        let input = fs::read(path).unwrap();
        bytes += input.len() as u64;
        let result = std::panic::catch_unwind(|| run(&input));
        if let Err(panic) = result {
            println!("{} fails {target}", path.display());
            std::panic::resume_unwind(panic)
        }
    }
    println!("{target}: {} inputs, {bytes} bytes", inputs.len());
    assert!(bytes <= MAX_TARGET_BYTES, "{target}: {bytes} bytes");
}

macro_rules! targets {
    ($($target:ident),+ $(,)?) => {
        $(
            #[test]
            fn $target() {
                run_all(stringify!($target), crate::$target::run);
            }
        )+
    };
}

mod no_failure_in {
    use super::run_all;

    targets!(
        cidr, greeting, recording, request, response, server, slo, url
    );
}
