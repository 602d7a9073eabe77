//! Ctrl-C, SIGTERM and SIGHUP: the first ends the run and its report is printed, the second ends
//! the process.
//!
//! **Owns** the handlers of these signals. **Must never touch** the loop: a handler sets a flag
//! that [`run`](super::run) checks in every turn, at least once per
//! [`TICK_INTERVAL`](super::conductor::TICK_INTERVAL). **Invariant**: no signal is missed,
//! however early it comes; after the first one, the next ends the process at once, even if the
//! loop is stuck.

use crate::system;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The exit code of an interrupted run: 128 + SIGINT, as a shell reports it.
pub const EXIT_INTERRUPTED: u8 = 130;

/// Whether a signal was received, shared by all runs of this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Installs the handlers.
    ///
    /// # Errors
    ///
    /// The system refused to install one.
    pub(crate) fn install(&self) -> io::Result<()> {
        system::exit_on_second_stop(&self.0, Some(EXIT_INTERRUPTED))
    }

    /// Makes the next signal end the process at once, whether there was one or not: the run is over,
    /// and what is left, such as a report into a pipe that is not read, may block.
    pub(crate) fn end_at_next_signal(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether a signal was received.
    #[must_use]
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}
