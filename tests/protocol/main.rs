//! The protocol on real sockets, for both server models: messages and replies, how connections end,
//! and datagrams.
//!
//! A test that must know that the server has handled something sends a datagram after it and waits
//! for the reply: datagrams of one socket are answered in order, by the same loop, without delay.

// Tests that need Unix are left out elsewhere.
#![cfg_attr(not(unix), allow(unused_imports))]

#[macro_use]
#[path = "../util/mod.rs"]
mod util;

mod addresses;
mod datagrams;
mod delay;
mod ending;
mod limits;
mod messages;
// socket2 has packet filters only for Linux.
#[cfg(target_os = "linux")]
mod vanished;
