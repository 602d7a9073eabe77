//! The protocol: bytes in, bytes out.
//!
//! **Owns** what a message is and how it is answered. **Must never touch** a socket, a clock or the
//! log. **Invariant**: every server here answers the same bytes with the same bytes.

pub mod buffer;
pub(crate) mod escape;
pub mod greeting;
pub mod refusal;
