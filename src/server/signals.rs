//! Signals as one more event source.
//!
//! **Owns** which signals the server hears, and the drain's time limit. **Must never touch** a
//! connection: it notes what was asked for in the [`World`], and the program's own loop acts
//! between turns. **Invariant**: the first request to stop drains, the second ends at once.

use super::{Stage, World};
use crate::reactor::{Context, Readiness, Source, Verdict};
use log::info;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_mio::v1_0::Signals as Pipe;
use std::io;

/// The signals, behind the pipe that their handlers write to.
pub struct Signals {
    pipe: Pipe,
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Signals").finish_non_exhaustive()
    }
}

impl Signals {
    /// Hears Ctrl-C, SIGTERM, SIGUSR1 and SIGUSR2 from now on.
    ///
    /// # Errors
    ///
    /// A pair of descriptors is needed.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            pipe: Pipe::new([SIGINT, SIGTERM, SIGUSR1, SIGUSR2])?,
        })
    }

    /// The pipe, to register it.
    pub fn pipe_mut(&mut self) -> &mut Pipe {
        &mut self.pipe
    }

    /// Notes what the signals ask for.
    pub fn drive<S: Source<World = World>>(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        cx.readiness.clear(Readiness::READABLE);
        for signal in self.pipe.pending() {
            if signal == SIGUSR1 {
                cx.world.report_wanted = true;
                continue;
            }
            if signal == SIGUSR2 {
                cx.world.recording_wanted = true;
                continue;
            }
            cx.world.stage = match cx.world.stage {
                Stage::Serving => {
                    let limit = cx.world.settings.drain_timeout;
                    info!(
                        "stopping: {} clients are given up to {} for what they are owed; \
                         a second signal ends at once",
                        cx.world.stats.clients(),
                        humantime::format_duration(limit)
                    );
                    cx.deadline(limit);
                    Stage::Stopping
                }
                Stage::Stopping | Stage::Draining | Stage::OutOfTime | Stage::Killed(_) => {
                    Stage::Killed(signal)
                }
            };
        }
        Verdict::Park
    }

    /// The drain's time has run out.
    pub fn expire<S: Source<World = World>>(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        if cx.world.stage == Stage::Draining {
            cx.world.stage = Stage::OutOfTime;
        }
        Verdict::Park
    }
}
