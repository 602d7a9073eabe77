//! The program: parse, start logging, run, exit code. All of it is the library's.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(helloop::cli::run())
}
