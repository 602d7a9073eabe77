//! Ctrl-C: the first ends the run, and the report tells what there is; the second ends the
//! program.
//!
//! **Owns** which signals the load hears. **Must never touch** a client: it raises a flag and
//! wakes the loop. **Invariant**: no signal is missed, however early; and from the first on, the
//! next one ends the process at once, whatever it is doing.

use super::Shared;
use crate::reactor::{Context, Readiness, Verdict};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook_mio::v1_0::Signals as Pipe;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The exit code of a run that was interrupted: 128 and SIGINT's number, as a shell tells it.
pub const EXIT_INTERRUPTED: u8 = 130;

/// What was heard so far, for all runs of this process.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Ends the process at the second of the signals.
    ///
    /// # Errors
    ///
    /// The system's; a signal has no other handler here that could be in the way.
    pub fn install(&self) -> io::Result<()> {
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag down, and raises it.
            flag::register_conditional_shutdown(
                signal,
                EXIT_INTERRUPTED.into(),
                Arc::clone(&self.0),
            )?;
            flag::register(signal, Arc::clone(&self.0))?;
        }
        Ok(())
    }

    /// Whether a signal came.
    #[must_use]
    pub fn came(&self) -> bool {
        self.0.load(Relaxed)
    }
}

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
    /// Hears Ctrl-C and SIGTERM from now on.
    ///
    /// # Errors
    ///
    /// A pair of descriptors is needed.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            pipe: Pipe::new([SIGINT, SIGTERM])?,
        })
    }

    /// The pipe, to register it.
    pub fn pipe_mut(&mut self) -> &mut Pipe {
        &mut self.pipe
    }

    /// Empties the pipe: the wake-up was all, for the program's own loop asks the
    /// [`Interrupt`].
    pub fn drive(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        cx.readiness.remove(Readiness::READABLE);
        self.pipe.pending().for_each(drop);
        Verdict::Park
    }
}
