//! What the integration tests share: the real binary as a child process, and the other ends of
//! its sockets.
//!
//! Nothing here sleeps where an event can be awaited, and every wait ends by a limit that only
//! a broken server reaches. Ports are always the system's choice. A child is killed when its
//! handle goes out of scope, so a test that fails leaves nothing behind.

// Each test file is a crate of its own, and uses what it needs.
#![allow(dead_code, unused_imports, unused_macros, unreachable_pub)]

mod process;
pub mod readme;
mod server;
mod sockets;

pub use process::{Ended, Lines, Process, helloop, run, run_helloop};
pub use server::{Server, Setup, figure};
pub use sockets::{
    ask, ask_udp, clients_at_most, connect, expect, expect_last, read_exactly, read_to_end,
    receive_udp, udp,
};

use std::time::Duration;

/// The longest that anything may take before a test fails. Not what it should take: the
/// machine may be busy.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The program under test.
pub const HELLOOP: &str = env!("CARGO_BIN_EXE_helloop");

/// Which server: each speaks the same protocol.
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

    /// A server of this model: `--listen 127.0.0.1:0` and these flags.
    pub fn start(self, flags: &[&str]) -> Server {
        self.setup(flags).start()
    }

    /// The same, for more to be said about it.
    pub fn setup(self, flags: &[&str]) -> Setup {
        Setup::new(&["--model", self.name()]).flags(flags)
    }
}

/// Makes a test for each model out of functions that take a [`Model`].
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
