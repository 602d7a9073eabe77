//! The program. Everything is in the library, in `helloop::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(helloop::cli::run())
}
