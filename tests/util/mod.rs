//! Shared by the integration tests: the program as a child process, and clients of its sockets.
//!
//! Tests wait for events instead of sleeping, and every wait has a timeout that only a broken
//! server reaches. The system chooses the ports. A child process is killed when its handle is
//! dropped, so a failed test leaves none behind.

// Each test file is a separate crate, and uses only a part.
#![allow(dead_code, unused_imports, unused_macros, unreachable_pub)]

/// How a test controls a process: by signals on Unix, by its standard input elsewhere.
#[cfg_attr(unix, path = "control_unix.rs")]
#[cfg_attr(windows, path = "control_windows.rs")]
mod control;
mod process;
pub mod readme;
mod server;
mod sockets;

pub use control::{ctrl_c, in_own_console};
#[cfg(unix)]
pub use control::{handles_hangup, is_ignored};
pub use process::{Ended, Lines, Process, helloop, run, run_helloop};
pub use server::{Server, Setup, counter};
pub use sockets::{
    ask, ask_udp, clients_within_descriptor_limit, connect, expect, expect_last, free_address,
    read_exactly, read_to_end, receive_udp, refusing_port, reset, udp,
};

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// After this long a wait fails. Far longer than anything should take, because the machine may be
/// busy.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Sets a flag when it is dropped, so that the threads that wait for the flag also end when a test
/// fails: otherwise the failed test would wait for them forever.
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The program under test.
pub const HELLOOP: &str = env!("CARGO_BIN_EXE_helloop");

/// Whether the code for Linux is tested, and not the one for other systems.
pub const IS_LINUX_CODE: bool = cfg!(all(target_os = "linux", not(feature = "portable")));

/// The server models. Both speak the same protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    Reactor,
    Threads,
}

impl Model {
    pub fn name(self) -> &'static str {
        match self {
            Self::Reactor => "reactor",
            Self::Threads => "threads",
        }
    }

    /// Starts a server of this model with `--listen 127.0.0.1:0` and these flags.
    pub fn start(self, flags: &[&str]) -> Server {
        self.setup(flags).start()
    }

    /// The same server, to be configured further.
    pub fn setup(self, flags: &[&str]) -> Setup {
        Setup::new(&["--model", self.name()]).flags(flags)
    }
}

/// Turns functions that take a [`Model`] into one test per model.
macro_rules! both_models {
    ($($(#[$attribute:meta])* $name:ident),+ $(,)?) => {
        mod reactor {
            $(#[test] $(#[$attribute])* fn $name() { super::$name($crate::util::Model::Reactor); })+
        }
        mod threads {
            $(#[test] $(#[$attribute])* fn $name() { super::$name($crate::util::Model::Threads); })+
        }
    };
}
