//! Everything that touches a socket call, and what each system has.
//!
//! **Owns** the sockets' traits and their implementations. **Must never touch** what the bytes
//! mean, nor when a source is driven. **Invariant**: what an answer of the system means is decided
//! here, once.

pub mod bind;
pub mod stream;
pub mod system;
pub mod udp;
