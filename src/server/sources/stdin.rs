//! Standard input as an event source: a child that does not outlive its parent.
//!
//! **Owns** what the parent process asks for through the pipe whose other end it holds. **Must never
//! touch** a connection: [`signals`](super::signals) decides what stopping means. **Invariant**: the
//! pipe closes when the parent ends, however that happens, and that ends this process at once, in a
//! drain too: a parent that wants a drain writes a byte before.

use crate::reactor::{Context, Readiness, Verdict};
use crate::server::Shared;
use crate::system::{self, StdinPipe};
use log::info;
use std::io::{self, Read};
use std::thread;

/// Bytes per read: a parent writes one.
const READ_BYTES: usize = 512;

/// Watches standard input for a byte or EOF.
#[derive(Debug)]
pub struct StdinWatch {
    pipe: StdinPipe,
}

impl StdinWatch {
    /// Watches standard input, which must be a pipe or something else that can be polled. `None` where
    /// nothing can: [`watch_by_thread`] does the same.
    ///
    /// # Errors
    ///
    /// It needs a descriptor.
    pub fn new() -> io::Result<Option<Self>> {
        Ok(StdinPipe::new()?.map(|pipe| Self { pipe }))
    }

    /// The pipe, to register it.
    pub(crate) fn pipe_mut(&mut self) -> &mut StdinPipe {
        &mut self.pipe
    }

    /// Stops at input; ends the process at EOF.
    pub fn drive(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        match self.pipe.read(&mut [0; READ_BYTES]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                cx.readiness.remove(Readiness::READABLE);
                Verdict::Park
            }
            read => match stop(read) {
                Watch::Continues => Verdict::Again,
                Watch::Over => Verdict::Close,
            },
        }
    }
}

/// The same in a thread, for a server without a loop.
///
/// # Errors
///
/// The thread could not be started.
pub fn watch_by_thread() -> io::Result<()> {
    let watch = || while stop(io::stdin().read(&mut [0; READ_BYTES])) == Watch::Continues {};
    thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(watch)
        .map(drop)
}

/// Whether there can be more input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    /// There can.
    Continues,
    /// The parent has ended.
    Over,
}

/// Does what the result of a read asks for.
fn stop(read: io::Result<usize>) -> Watch {
    match read {
        Ok(1..) => {
            system::request_stop();
            Watch::Continues
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Watch::Continues,
        // An error is as good as EOF.
        Ok(0) | Err(_) => {
            info!("ending: EOF on standard input");
            // The second request ends the process at once.
            system::request_stop();
            system::request_stop();
            Watch::Over
        }
    }
}
