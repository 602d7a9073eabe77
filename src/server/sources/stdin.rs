//! Standard input as an event source: a child that does not outlive its parent.
//!
//! **Owns** the meaning of standard input, a pipe from a parent process: a byte requests a drain, EOF
//! ends this process at once, even in a drain. **Must never touch** a connection:
//! [`signals`](super::signals) decides what stopping means. A parent writes one byte, once: what a second
//! read returns is a second request, which ends the process without a drain. **Invariant**: no parent leaves a server
//! behind, because the system closes the pipe however the parent ends.

use crate::reactor::{Context, Readiness, Verdict};
use crate::server::Shared;
use crate::system::{self, StdinPipe};
use log::info;
use std::io::{self, Read};
use std::thread;

/// The most bytes per read; a parent writes one.
const READ_BYTES: usize = 512;

/// Watches standard input for a byte or EOF.
#[derive(Debug)]
pub struct StdinWatch {
    pipe: StdinPipe,
}

impl StdinWatch {
    /// Watches standard input, which must be a pipe or something else that can be polled. `None` on a
    /// system that cannot poll it: use [`watch_by_thread`] there.
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

    /// Requests a drain at input, and ends the process at EOF.
    pub fn drive(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        match self.pipe.read(&mut [0; READ_BYTES]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                cx.readiness.remove(Readiness::READABLE);
                Verdict::Park
            }
            read => match handle(read) {
                Input::Open => Verdict::Again,
                Input::Ended => Verdict::Close,
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
    let watch = || while handle(io::stdin().read(&mut [0; READ_BYTES])) == Input::Open {};
    thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(watch)
        .map(drop)
}

/// The state of standard input after a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// There may be more.
    Open,
    /// The parent has ended.
    Ended,
}

/// Does what the result of a read requests.
fn handle(read: io::Result<usize>) -> Input {
    match read {
        Ok(1..) => {
            system::request_stop();
            Input::Open
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Input::Open,
        // An error is as good as EOF.
        Ok(0) | Err(_) => {
            info!("ending: EOF on standard input");
            // The second request ends the process at once.
            system::request_stop();
            system::request_stop();
            Input::Ended
        }
    }
}
