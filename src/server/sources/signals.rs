//! Signals as an event source.
//!
//! **Owns** which signals the server handles, and the time limit of a drain. **Must never touch** a
//! connection: it records the request in [`Shared`], and the server acts on it between turns.
//! **Invariant**: the first request to stop drains, the second ends the process at once.

use crate::reactor::{Context, Readiness, Verdict};
use crate::server::{Lifecycle, Shared};
use crate::system::{self, Request, SignalSource};
use crate::units::count;
use log::info;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// The signals, and the event source that reports them.
#[derive(Debug)]
pub struct Signals {
    source: SignalSource,
}

/// Makes the second request to stop end the process, with the exit code that a shell expects. The
/// first is left to the program.
///
/// # Errors
///
/// The handlers cannot be installed.
pub fn exit_on_second_signal() -> io::Result<()> {
    system::exit_on_second_stop(&Arc::new(AtomicBool::new(false)), None)
}

impl Signals {
    /// Handles the signals from now on.
    ///
    /// # Errors
    ///
    /// It needs a pair of descriptors.
    pub fn new() -> io::Result<Self> {
        exit_on_second_signal()?;
        let source = SignalSource::new()?;
        Ok(Self { source })
    }

    /// The event source, to register it.
    pub(crate) fn source_mut(&mut self) -> &mut SignalSource {
        &mut self.source
    }

    /// Records what the signals request.
    pub fn drive(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        cx.readiness.remove(Readiness::READABLE);
        for request in self.source.pending() {
            match request {
                Request::Report => cx.shared.requested.report = true,
                Request::SaveRecording => cx.shared.requested.recording = true,
                Request::Stop if cx.shared.lifecycle == Lifecycle::Serving => begin_drain(cx),
                Request::Stop => {}
            }
        }
        Verdict::Park
    }

    /// The drain's time has run out.
    pub fn expire(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        if cx.shared.lifecycle == Lifecycle::Draining {
            cx.shared.lifecycle = Lifecycle::OutOfTime;
        }
        Verdict::Hold
    }
}

fn begin_drain(cx: &mut Context<'_, Shared>) {
    let limit = cx.shared.settings.drain_timeout;
    log_drain(cx.shared.stats.clients(), limit);
    cx.set_deadline(limit);
    cx.shared.lifecycle = Lifecycle::Stopping;
}

/// Logs that a drain begins, in both models.
pub(crate) fn log_drain(clients: u64, limit: Duration) {
    info!(
        "stopping: draining {}, up to {}; a second signal ends at once",
        count(clients, "client", "clients"),
        humantime::format_duration(limit)
    );
}
