//! The flags of `helloop serve` that make the loop observable: `--record` and `--observe`.
//!
//! **Owns** the file and the size of the recording, and the address for observers. **Must never
//! touch** how the loop is recorded. **Invariant**: without one of these flags nothing is recorded.

use super::Failure;
use super::usage::is_typed;
use super::values::{address, between};
use crate::net::bind::bind_observers;
use crate::observe::file::RecordingFile;
use crate::observe::requests::OBSERVER_DESCRIPTORS;
use crate::server::ObserveOptions;
use clap::{ArgMatches, Args};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// The most turns of a recording: a trace viewer cannot open larger files.
const MAX_RECORD_TURNS: u64 = 1_000_000;

/// The turns kept if there is a page and no recording: at most 4 MiB.
const OBSERVED_TURNS: usize = 1_000;

#[derive(Args, Debug)]
pub(super) struct ObserveFlags {
    /// Record the last turns of the loop.
    ///
    /// The file is saved on SIGUSR2 and at exit, for `helloop show` and ui.perfetto.dev (Chrome
    /// trace event format). Recording pauses while the file is written; serving does not.
    #[arg(
        long,
        env = "HELLOOP_RECORD",
        value_name = "FILE",
        help_heading = "Watching"
    )]
    record: Option<PathBuf>,
    /// Turns kept by a recording, at most.
    ///
    /// It has room for 32 events and calls per turn, 4 KiB, so it goes back fewer turns if
    /// hundreds of clients are busy in each. The log and the file say how many it holds.
    #[arg(long, env = "HELLOOP_RECORD_TURNS", value_name = "N", default_value = "10k",
          value_parser = |text: &str| between::<usize>(text, 1, MAX_RECORD_TURNS),
          help_heading = "Watching")]
    record_turns: usize,
    /// Serve a live page of the event loop.
    ///
    /// For a browser; also /metrics for Prometheus, /healthz for load balancers and /events. Anyone
    /// who can connect can watch, but change nothing.
    #[arg(
        long,
        env = "HELLOOP_OBSERVE",
        value_name = "ADDR:PORT",
        value_parser = address,
        help_heading = "Watching"
    )]
    observe: Option<String>,
    /// Host name of the page; repeatable.
    ///
    /// By default the page and /metrics are served only to requests for an IP address or localhost:
    /// otherwise any web site could read them through a name that resolves to this machine (DNS
    /// rebinding). /healthz answers to any name.
    #[arg(long, env = "HELLOOP_OBSERVE_HOST", value_name = "NAME", value_delimiter = ',',
          value_parser = host_name, help_heading = "Watching")]
    observe_host: Vec<String>,
}

impl ObserveFlags {
    /// Checks that `--record-turns` and `--observe-host` have something to apply to (their variables
    /// may be set without), and that the page has a port of its own. The error is a message for the
    /// user.
    pub(super) fn check_usage(&self, listen: &[String], given: &ArgMatches) -> Result<(), String> {
        if let Some(address) = &self.observe
            && listen.contains(address)
            && !address.ends_with(":0")
        {
            return Err(format!(
                "--observe {address} is where --listen serves greetings: give the page a port of \
                 its own"
            ));
        }
        if is_typed("record_turns", given) && self.record.is_none() {
            return Err("--record-turns is for a recording: give --record FILE too".to_owned());
        }
        if is_typed("observe_host", given) && self.observe.is_none() {
            return Err("--observe-host is for the page: give --observe ADDR:PORT too".to_owned());
        }
        Ok(())
    }

    /// Opens the recording file and the listener for observers, before the server starts.
    ///
    /// # Errors
    ///
    /// The file or the address cannot be used.
    pub(super) fn prepare(&self) -> Result<ObserveOptions, Failure> {
        let recording = self.record.as_deref().map(recording_file).transpose()?;
        let listener = self.observe.as_deref().map(bind_listener).transpose()?;
        let turns = match recording {
            Some(_) => self.record_turns,
            None => OBSERVED_TURNS,
        };
        Ok(ObserveOptions {
            recording,
            turns,
            listener,
            hosts: self.observe_host.clone(),
        })
    }
}

/// The line with the URL of the page. The port is the one that was bound, also for port 0.
pub(super) fn page_line(observe: &ObserveOptions) -> Option<String> {
    let address = observe.listener.as_ref()?.local_addr().ok()?;
    Some(format!("watch it at http://{address}/"))
}

/// The descriptors that watching needs beside those of the clients.
pub(super) fn descriptors(observe: &ObserveOptions) -> u64 {
    let observers = observe
        .listener
        .as_ref()
        .map_or(0, |_| OBSERVER_DESCRIPTORS);
    // The file that is being saved.
    observers + u64::from(observe.recording.is_some())
}

/// Parses a host name, without a port, as a `Host` field has it.
fn host_name(text: &str) -> Result<String, String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.is_empty() || !text.bytes().all(is_part) {
        return Err("not a host name: give it without a port, as in metrics.example".to_owned());
    }
    Ok(text.to_lowercase())
}

/// Anyone who can connect to this listener can observe, and do nothing else.
fn bind_listener(address: &str) -> Result<TcpListener, Failure> {
    bind_observers(address).map_err(|error| {
        Failure::new(format_args!(
            "cannot serve the page at {}: {error}; --observe takes an address of this machine and \
             a free port, as in 127.0.0.1:9998",
            address.escape_debug()
        ))
    })
}

fn recording_file(path: &Path) -> Result<RecordingFile, Failure> {
    RecordingFile::new(path).map_err(|error| {
        let name = path.display().to_string();
        Failure::new(format_args!(
            "cannot record to {}: {error}; --record takes a file in a writable directory",
            name.escape_debug()
        ))
    })
}
