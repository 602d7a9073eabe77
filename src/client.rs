//! The tutorial's three clients, blocking `std::net`: that is their lesson.
//!
//! A client that talks to one server at a time has nothing else to do while it waits, so each
//! call here simply blocks, with a limit: no poll, no state machine.
//!
//! **Owns** what the three share: their one [`Error`], the names they may send, connecting and
//! waiting with a limit, and showing a stranger's bytes safely.
//! **Must never touch** the reactor, the command line or the standard streams: where a reply is
//! written and where a name comes from are parameters.
//! **Invariant**: every wait ends (the resolver's alone is the system's), and no byte that
//! came from a server reaches a terminal or an error message unescaped.
//!
//! - [`http`] fetches one page and saves its body.

mod error;
mod escape;
pub mod http;
pub mod names;
mod wire;

pub use error::{Error, Service};
pub use escape::{escape, excerpt};
