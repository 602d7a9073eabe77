//! The program. Everything is in the library, in its module `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(helloop::run_command_line())
}
