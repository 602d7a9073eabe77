//! `helloop show`.
//!
//! **Owns** the flags of the command and the choice between a file and standard input. **Must never
//! touch** the format of a recording. **Invariant**: a file that is not a recording is one clear error
//! line.

use super::values::number;
use super::{Failure, printed};
use crate::observe::TokenFilter;
use crate::observe::show::{Error, Filter, show};
use clap::Args;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;

/// Show a recording of the event loop as text.
///
/// Prints one line per event: time, turn, token, what happened. A turn is one wait and the work
/// that follows it. A token names a source: #3.0 is the first owner of slot 3, #3.1 the second.
///
/// Exit codes: 0 shown; 1 not a recording, or nothing to show; 2 wrong usage.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    helloop serve --record loop.json    # then some clients, then Ctrl-C\n  \
    helloop show loop.json              # all of it\n  \
    helloop show loop.json --turn 7     # one turn\n  \
    helloop show loop.json --token 3.0  # one client\n  \
    helloop show - < loop.json          # standard input")]
pub(super) struct Show {
    /// Recording from `helloop serve --record FILE`; - for stdin.
    file: PathBuf,
    /// Show only this turn.
    #[arg(long, value_name = "N", value_parser = number)]
    turn: Option<u64>,
    /// Show only this token: #3.0, or 3 for all owners of slot 3.
    #[arg(long, value_name = "TOKEN")]
    token: Option<TokenFilter>,
}

impl Show {
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let is_stdin = self.file.as_os_str() == "-";
        let name = match is_stdin {
            true => "standard input".to_owned(),
            false => self.file.display().to_string(),
        };
        let name = name.escape_debug();
        let input: Box<dyn Read> = match is_stdin {
            true => Box::new(io::stdin().lock()),
            false => {
                let file = File::open(&self.file);
                let failed = |error| Failure::new(format_args!("cannot open {name}: {error}"));
                Box::new(file.map_err(failed)?)
            }
        };
        let mut out = BufWriter::new(io::stdout().lock());
        let filter = Filter {
            turn: self.turn,
            token: self.token,
        };
        let shown = show(input, filter, &mut out).and_then(|()| out.flush().map_err(Error::Output));
        match shown {
            Ok(()) => Ok(0),
            // No failure if the reader closed its end of the pipe, as `head` does.
            Err(Error::Output(error)) => printed(Err(error)).map(|_| 0),
            Err(error) => Err(Failure::new(format_args!("{name} {error}"))),
        }
    }
}
