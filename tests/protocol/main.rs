//! The protocol on real sockets, from both servers: what is a message, what is its reply, what
//! ends a conversation, what one client's end means to the others, and what UDP leaves unsaid.
//!
//! Where a test needs to know that the server is done with something, it does not wait a
//! while: it sends a datagram behind it. Datagrams of one socket are served in order, are never
//! delayed, and are answered on the same loop.

#[macro_use]
#[path = "../util/mod.rs"]
mod util;

mod addresses;
mod datagrams;
mod delay;
mod ends;
mod messages;
