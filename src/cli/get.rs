//! `helloop get`.
//!
//! **Owns** the flags of the command, and its progress. **Must never touch** a socket or a file.
//! **Invariant**: the last line of a success says how much was saved, and where; with the body on
//! standard output, nothing else is there.

mod progress;

use super::values::{nonzero_duration, positive};
use super::{Failure, print_line};
use crate::client::Error;
use crate::client::http::{self, Place, Saved, Streams};
use crate::file;
use crate::output::status;
use crate::protocol::escape::escape_path;
use crate::system::{self, StopSignal};
use crate::units::count;
use clap::Args;
use log::info;
use progress::GetProgress;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Fetch a page over plain HTTP: print its header, save its body.
///
/// Sends an HTTP/1.1 request with `Connection: close`, as in the tutorial, and follows up to 10
/// redirects. There is no https.
///
/// Exit codes: 0 the complete body is saved; 1 it is not; 2 wrong usage; 22 the status is 400 or
/// above, and nothing is saved.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    helloop get http://127.0.0.1:8080/index.html  # into index.html\n  \
    helloop get localhost:8080 -o page.html --force\n  \
    helloop get localhost:8080/list -o - | sort   # the body alone")]
pub(super) struct Get {
    /// URL: [http://]HOST[:PORT][/PATH]
    url: String,
    /// File for the body; - for stdout [default: by the URL]
    ///
    /// By default the last part of the URL's path, before any redirect, or index.html. An existing
    /// file is kept unless --force is given; a device or a pipe is written to. With -, the body goes
    /// to standard output and the header to standard error.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace an existing file.
    #[arg(long)]
    force: bool,
    /// Save the body of a redirect instead of following it.
    #[arg(long)]
    no_follow: bool,
    /// Largest body to save.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = positive)]
    max_bytes: u64,
    /// Time limit for the whole fetch.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = nonzero_duration)]
    timeout: Duration,
}

impl Get {
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let options = http::Options {
            url: self.url.clone(),
            output: self.output.clone(),
            force: self.force,
            follow: !self.no_follow,
            max_bytes: self.max_bytes,
            timeout: self.timeout,
        };
        remove_part_file_on_signals()
            .map_err(|error| Failure::new(format_args!("cannot handle signals: {error}")))?;
        let saved = self.fetch(&options).map_err(|error| self.failure(error))?;
        let bytes = count(saved.bytes, "byte", "bytes");
        let said = match saved.place {
            Place::File(path) => format!("{bytes} saved in {}", escape_path(&path)),
            // A line on the same terminal would follow a body without a line ending.
            Place::Stdout => return Ok(0),
            Place::Nowhere => format!("status {}: there is no body to save", saved.status),
        };
        // The body alone belongs on standard output; there is none now.
        if self.is_for_stdout() {
            info!("{said}");
        } else {
            print_line(said)?;
        }
        Ok(0)
    }

    fn is_for_stdout(&self) -> bool {
        self.output.as_deref().is_some_and(file::is_standard_output)
    }

    fn fetch(&self, options: &http::Options) -> Result<Saved, Error> {
        let is_stdout = self.is_for_stdout();
        let is_terminal = io::stdout().is_terminal();
        // The body on the same terminal is progress enough.
        let mut progress = (!(is_stdout && is_terminal)).then(GetProgress::start);
        let mut head: Box<dyn Write> = if is_stdout {
            Box::new(AboveStatus(io::stderr()))
        } else {
            Box::new(AboveStatus(io::stdout()))
        };
        let mut streams = Streams {
            head: &mut head,
            head_escaped: if is_stdout {
                io::stderr().is_terminal()
            } else {
                is_terminal
            },
            body: &mut AboveStatus(io::stdout().lock()),
            body_escaped: is_terminal,
            on_progress: &mut |now| {
                if let Some(progress) = &mut progress {
                    progress.show(now);
                }
            },
        };
        http::run(options, &mut streams)
    }

    /// The failure, with a note if the fetch left no file.
    fn failure(&self, error: Error) -> Failure {
        let is_fetch = matches!(
            error,
            Error::Response { .. }
                | Error::TooLarge { .. }
                | Error::TimedOut { .. }
                | Error::Network { .. }
                | Error::Redirect { .. }
                | Error::Status { .. }
        );
        let mut failure = Failure::from(error);
        if is_fetch && http::leaves_nothing(self.output.as_deref()) {
            failure.message += "; nothing saved";
        }
        failure
    }
}

/// A stream that may lead to the terminal of the status line, which is hidden before each write.
struct AboveStatus<W>(W);

impl<W: Write> Write for AboveStatus<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        status::hide();
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// On a signal to stop, removes the incomplete file, then lets the signal end the process as usual. A
/// thread of its own does that at once, whatever the fetch waits for.
fn remove_part_file_on_signals() -> io::Result<()> {
    system::on_stop(|signal: StopSignal| {
        status::end();
        file::abandon(|| signal.end_process());
    })
}
