//! Shared by the integration tests: the program as a child process, and clients of its sockets.
//!
//! Tests wait for events instead of sleeping, and every wait has a timeout that only a broken
//! server reaches. The system chooses the ports. A child process is killed when its handle is
//! dropped, so a failed test leaves none behind.

// Each test file is a separate crate, and uses only a part.
#![allow(dead_code, unused_imports, unused_macros, unreachable_pub)]

mod process;
pub mod readme;
mod server;
mod sockets;

pub use process::{Ended, Lines, Process, helloop, run, run_helloop};
pub use server::{Server, Setup, counter};
pub use sockets::{
    ask, ask_udp, clients_within_descriptor_limit, connect, expect, expect_last, free_address,
    read_exactly, read_to_end, receive_udp, refusing_port, reset, udp,
};

use nix::sys::signal::Signal;
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

/// Whether the programs under test handle SIGHUP: on Linux, unless it is ignored from the start.
pub fn handles_hangup() -> bool {
    IS_LINUX_CODE && !is_ignored(Signal::SIGHUP)
}

/// Whether this process ignores a signal, as under nohup(1) or in the background of a script: its
/// children inherit that.
pub fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (signal as u32 - 1) & 1 == 1)
}

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
