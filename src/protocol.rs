//! The protocol: bytes in, bytes out.
//!
//! **Owns** what a message is and how it is answered. **Must never touch** a socket, a clock or a
//! log. **Invariant**: the same bytes are answered the same, by every server here.

pub mod buffer;
pub mod escape;
pub mod greeting;
