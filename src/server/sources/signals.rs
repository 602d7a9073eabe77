//! Signals as one more event source.
//!
//! **Owns** which signals the server hears, and the drain's time limit. **Must never touch** a
//! connection: it notes what was asked for in the [`Shared`], and the program's own loop acts
//! between turns. **Invariant**: the first request to stop drains, the second ends at once.

use crate::reactor::{Context, Readiness, Source, Verdict};
use crate::server::{Lifecycle, Shared};
use log::info;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;
use signal_hook_mio::v1_0::Signals as Pipe;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The signals, behind the pipe that their handlers write to.
pub struct Signals {
    pipe: Pipe,
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Signals").finish_non_exhaustive()
    }
}

/// From now on the first request to stop leaves it to the program, and a second ends the process
/// at once, with the exit code that a shell gives it: 130 for SIGINT, 143 for SIGTERM. From
/// within the handler, whatever the program is stuck in: a log that nobody reads, for example.
///
/// # Errors
///
/// The handlers cannot be installed.
pub fn end_at_the_second() -> io::Result<()> {
    let first = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Handlers run in the order of their registration: it looks, and then takes note.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&first))?;
        flag::register(signal, Arc::clone(&first))?;
    }
    Ok(())
}

impl Signals {
    /// Hears Ctrl-C, SIGTERM, SIGUSR1 and SIGUSR2 from now on.
    ///
    /// # Errors
    ///
    /// A pair of descriptors is needed.
    pub fn new() -> io::Result<Self> {
        end_at_the_second()?;
        Ok(Self {
            pipe: Pipe::new([SIGINT, SIGTERM, SIGUSR1, SIGUSR2])?,
        })
    }

    /// The pipe, to register it.
    pub fn pipe_mut(&mut self) -> &mut Pipe {
        &mut self.pipe
    }

    /// Notes what the signals ask for.
    pub fn drive<S: Source<Shared = Shared>>(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        cx.readiness.clear(Readiness::READABLE);
        for signal in self.pipe.pending() {
            if signal == SIGUSR1 {
                cx.shared.report_wanted = true;
                continue;
            }
            if signal == SIGUSR2 {
                cx.shared.recording_wanted = true;
                continue;
            }
            cx.shared.stage = match cx.shared.stage {
                Lifecycle::Serving => {
                    let limit = cx.shared.settings.drain_timeout;
                    info!(
                        "stopping: {} clients are given up to {} for what they are owed; \
                         a second signal ends at once",
                        cx.shared.stats.clients(),
                        humantime::format_duration(limit)
                    );
                    cx.set_deadline(limit);
                    Lifecycle::Stopping
                }
                stopping => stopping,
            };
        }
        Verdict::Park
    }

    /// The drain's time has run out.
    pub fn expire<S: Source<Shared = Shared>>(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        if cx.shared.stage == Lifecycle::Draining {
            cx.shared.stage = Lifecycle::OutOfTime;
        }
        Verdict::Park
    }
}
