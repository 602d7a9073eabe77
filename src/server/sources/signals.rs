//! Signals as an event source.
//!
//! **Owns** which signals the server handles, and the time limit of a drain. **Must never touch** a
//! connection: it records the request in [`Shared`], and the server acts on it between turns.
//! **Invariant**: the first request to stop drains, the second ends the process at once.

use crate::net::system::stop_signals;
use crate::reactor::{Context, Readiness, Verdict};
use crate::server::{Lifecycle, Shared};
use crate::units::count;
use log::info;
use mio::net::UnixStream;
use signal_hook::consts::{SIGUSR1, SIGUSR2};
use signal_hook::flag;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// The signals, and the pair of sockets that announces them.
pub struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

impl fmt::Debug for Signals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signals").finish_non_exhaustive()
    }
}

/// Leaves the first request to stop to the program, and makes the second end the process with the
/// exit code a shell expects: 129 for SIGHUP, 130 for SIGINT, 143 for SIGTERM. It works from within
/// the handler, whatever the program is blocked in: a write to a log pipe that is full, for example.
///
/// # Errors
///
/// The handlers cannot be installed.
pub fn exit_on_second_signal() -> io::Result<()> {
    let is_second = Arc::new(AtomicBool::new(false));
    for signal in stop_signals() {
        // Handlers run in the order of registration: check the flag, then set it.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&is_second))?;
        flag::register(signal, Arc::clone(&is_second))?;
    }
    Ok(())
}

impl Signals {
    /// Handles the signals to stop, SIGUSR1 and SIGUSR2 from now on.
    ///
    /// # Errors
    ///
    /// It needs a pair of descriptors.
    pub fn new() -> io::Result<Self> {
        exit_on_second_signal()?;
        let (receiver, sender) = UnixStream::pair()?;
        let signals = stop_signals().chain([SIGUSR1, SIGUSR2]);
        let delivery = SignalDelivery::with_pipe(receiver, sender, SignalOnly, signals);
        Ok(Self {
            delivery: delivery?,
        })
    }

    /// The socket that a signal makes readable, to register it.
    pub fn socket_mut(&mut self) -> &mut UnixStream {
        self.delivery.get_read_mut()
    }

    /// Records what the signals request.
    pub fn drive(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        // `pending` drains the socket without mio's knowledge, so this does before: what arrives in
        // between is pending, and its event is spurious (pitfall 25).
        loop {
            match self.delivery.get_read().read(&mut [0; 64]) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        cx.readiness.remove(Readiness::READABLE);
        for signal in self.delivery.pending() {
            match signal {
                SIGUSR1 => cx.shared.requested.report = true,
                SIGUSR2 => cx.shared.requested.recording = true,
                _ if cx.shared.lifecycle == Lifecycle::Serving => begin_drain(cx),
                _ => {}
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
