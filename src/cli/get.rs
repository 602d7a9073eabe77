//! `helloop get`.
//!
//! **Owns** the flags of the command. **Must never touch** a socket or a file.
//! **Invariant**: the last line of a success says how much was saved, and where.

use super::greet::output;
use super::values::{nonzero_duration, positive};
use super::{Failure, print_line};
use crate::client::http;
use crate::file;
use crate::net::system::stop_signals;
use crate::server::outcome::plural;
use clap::Args;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// Fetch a page over plain HTTP: print its header, save its body.
///
/// HTTP/1.1 with `Connection: close`, as the tutorial does it; no https.
///
/// Exit codes: 0 the body is saved, whole; 1 it is not; 2 wrong usage; 22 the status is 400 or
/// above.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    helloop get http://127.0.0.1:8080/index.html   # into index.html\n  \
    helloop get http://localhost:8080/ -o page.html --force")]
pub(super) struct Get {
    /// What to fetch: `http://HOST[:PORT][/PATH]`.
    url: String,
    /// File for the body [default: from the URL]
    ///
    /// By the URL: the last part of its path. A file that exists stays as it is without --force.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that exists.
    #[arg(long)]
    force: bool,
    /// The largest body that is saved.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = positive)]
    max_bytes: u64,
    /// The limit on all of it together.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = nonzero_duration)]
    timeout: Duration,
}

impl Get {
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let options = http::Options {
            url: self.url.clone(),
            output: self.output.clone(),
            force: self.force,
            max_bytes: self.max_bytes,
            timeout: self.timeout,
        };
        remove_part_file_on_signals()
            .map_err(|error| Failure::new(format_args!("cannot handle signals: {error}")))?;
        let (mut out, escaped) = output();
        let saved = http::run(&options, &mut out, escaped)?;
        print_line(format_args!(
            "{} saved in {}",
            plural(saved.bytes, "byte"),
            saved.path.display()
        ))?;
        Ok(0)
    }
}

/// On a signal to stop, removes the incomplete file, then lets the signal end the process as usual. A
/// thread of its own does that at once, whatever the fetch waits for.
fn remove_part_file_on_signals() -> io::Result<()> {
    let mut signals = Signals::new(stop_signals())?;
    let wait = move || {
        for signal in signals.forever() {
            file::abandon(|| {
                // It cannot fail: these signals end the process by default.
                let _ = emulate_default_handler(signal);
            });
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .map(drop)
}
