//! The flags of `helloop serve` for those who watch the loop.
//!
//! **Owns** what is recorded, how far back, where it is saved, and where observers are let in. **Must never touch** how the
//! loop is watched. **Invariant**: without one of these flags nothing watches.

use super::Failure;
use super::values::between;
use crate::observe::file::RecordingFile;
use crate::server::ObserveOptions;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// More turns than this are more than a viewer opens.
const MAX_RECORD_TURNS: u64 = 1_000_000;

/// Turns remembered for the page alone: what a person can go back to, in 4 MiB at most.
const OBSERVED_TURNS: usize = 1_000;

#[derive(Args, Debug)]
pub(super) struct Watching {
    /// Record the loop's last turns, for `helloop show`.
    ///
    /// Saved on SIGUSR2 and at the end, in the Chrome trace event format, which
    /// ui.perfetto.dev opens too.
    #[arg(
        long,
        env = "HELLOOP_RECORD",
        value_name = "FILE",
        help_heading = "Watching"
    )]
    record: Option<PathBuf>,
    /// How many turns a recording goes back.
    ///
    /// Each takes up to 4 KiB of memory.
    #[arg(long, env = "HELLOOP_RECORD_TURNS", value_name = "N", default_value = "10k",
          value_parser = |text: &str| between(text, 1, MAX_RECORD_TURNS),
          help_heading = "Watching")]
    record_turns: u64,
    /// Show the loop at work on a page in the browser.
    ///
    /// There are /metrics for Prometheus, /healthz and /events too. Whoever can connect there
    /// may look on, and do no more than that.
    #[arg(
        long,
        env = "HELLOOP_OBSERVE",
        value_name = "ADDR:PORT",
        help_heading = "Watching"
    )]
    observe: Option<String>,
}

impl Watching {
    /// Whether what was given means something. A variable may wait for a recording.
    ///
    /// # Errors
    ///
    /// The words for the person who gave a length to no recording.
    pub(super) fn check_usage(&self, given: &ArgMatches) -> Result<(), String> {
        let typed = given.value_source("record_turns") == Some(ValueSource::CommandLine);
        if typed && self.record.is_none() {
            return Err("--record-turns is for a recording: give --record FILE too".to_owned());
        }
        Ok(())
    }

    /// What is to be observed.
    ///
    /// # Errors
    ///
    /// What is wrong is found before anything is served, and not when a recording is lost.
    pub(super) fn prepare(&self) -> Result<ObserveOptions, Failure> {
        let recording = self.record.as_deref().map(recording_file).transpose()?;
        let listener = self.observe.as_deref().map(gate).transpose()?;
        let turns = match recording {
            Some(_) => usize::try_from(self.record_turns).unwrap_or(usize::MAX),
            None => OBSERVED_TURNS,
        };
        Ok(ObserveOptions {
            recording,
            turns,
            listener,
        })
    }
}

/// The line that says where the loop can be looked at, with the real port.
pub(super) fn invitation(observe: &ObserveOptions) -> Option<String> {
    let address = observe.listener.as_ref()?.local_addr().ok()?;
    Some(format!("watch it at http://{address}/"))
}

/// Everybody who can connect there may look on, and nobody can do more than that.
fn gate(address: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| {
        Failure::new(format_args!(
            "cannot be observed at {}: {error}; --observe takes an address of this machine and a \
             free port, as in 127.0.0.1:9998",
            address.escape_debug()
        ))
    })
}

fn recording_file(path: &Path) -> Result<RecordingFile, Failure> {
    RecordingFile::new(path).map_err(|error| {
        let name = path.display().to_string();
        Failure::new(format_args!(
            "cannot record to {}: {error}; --record takes a file in a folder that can be written to",
            name.escape_debug()
        ))
    })
}
