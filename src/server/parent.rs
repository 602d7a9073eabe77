//! The end of standard input as one more event source: a child that outlives nobody.
//!
//! **Owns** the pipe that a parent process holds the other end of, and the drain's time limit
//! when that end closes. **Must never touch** a connection. **Invariant**: the pipe closes when
//! the parent ends, however it ends, and the server then drains as after a signal: no parent
//! leaves a server behind.

use super::{Stage, World};
use crate::reactor::{Context, Readiness, Source, Verdict};
use log::info;
use mio::unix::pipe::Receiver;
use std::io::{self, Read};
use std::os::fd::AsFd;

/// Bytes thrown away in one read: nobody is expected to write any.
const READ_BYTES: usize = 512;

/// The parent's pipe.
#[derive(Debug)]
pub struct Parent {
    pipe: Receiver,
}

impl Parent {
    /// Watches standard input, which must be a pipe or something else that can be polled.
    ///
    /// # Errors
    ///
    /// A descriptor is needed.
    pub fn new() -> io::Result<Self> {
        let pipe = Receiver::from(io::stdin().as_fd().try_clone_to_owned()?);
        pipe.set_nonblocking(true)?;
        Ok(Self { pipe })
    }

    /// The pipe, to register it.
    pub fn pipe_mut(&mut self) -> &mut Receiver {
        &mut self.pipe
    }

    /// Throws away what comes; at its end, asks the server to stop.
    pub fn drive<S: Source<World = World>>(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        let mut rest = [0; READ_BYTES];
        match self.pipe.read(&mut rest) {
            Ok(1..) => return Verdict::Again,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Verdict::Again,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                cx.readiness.clear(Readiness::READABLE);
            }
            // An end by error is an end.
            Ok(0) | Err(_) => {
                cx.readiness = Readiness::NONE;
                if cx.world.stage == Stage::Serving {
                    info!("stopping: standard input has ended");
                    cx.deadline(cx.world.settings.drain_timeout);
                    cx.world.stage = Stage::Stopping;
                }
            }
        }
        Verdict::Park
    }

    /// The drain's time has run out.
    pub fn expire<S: Source<World = World>>(&self, cx: &mut Context<'_, S>) -> Verdict {
        if cx.world.stage == Stage::Draining {
            cx.world.stage = Stage::OutOfTime;
        }
        Verdict::Park
    }
}
