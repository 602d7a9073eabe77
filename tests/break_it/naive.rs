//! The naive code: functions that read well, and ignore one pitfall each.
//!
//! **Owns** the code that the guide's chapter shows, line by line; a test compares the two. **Must
//! never touch** the loop that drives it, which is the real one. **Invariant**: each function is
//! wrong in exactly one way.

#![allow(unreachable_pub)]

use crate::naive_server::{Client, greeting, sleep};
use helloop::net::Accept;
use helloop::net::udp::DatagramSocket;
use helloop::reactor::{Readiness, Time, Verdict};
use slab::Slab;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub fn sleep_in_the_loop(client: &mut Client) -> io::Result<Verdict> {
    let mut chunk = [0; 1_024];
    loop {
        let count = client.stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(Verdict::Close);
        }
        sleep(Duration::from_secs(1));
        client.greet(&chunk[..count])?;
    }
}

pub fn short_means_drained(client: &mut Client) -> io::Result<Verdict> {
    let mut chunk = [0; 1_024];
    loop {
        let count = client.stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(Verdict::Close);
        }
        client.greet(&chunk[..count])?;
        if count < chunk.len() {
            return Ok(Verdict::Park); // drained: an event will report more
        }
    }
}

pub fn the_rest_next_time(client: &mut Client) -> io::Result<Verdict> {
    let mut chunk = [0; 1_024];
    for _ in 0..4 {
        let count = client.stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(Verdict::Close);
        }
        client.greet(&chunk[..count])?;
    }
    Ok(Verdict::Park) // let the other clients have their turn
}

pub fn owner_of<C>(clients: &mut Slab<C>, event: mio::Token) -> Option<&mut C> {
    clients.get_mut(event.0) // the slot's current owner
}

pub fn accept_all<A: Accept>(listener: &A, clients: &mut Vec<A::Stream>) -> Verdict {
    while let Ok((stream, _)) = listener.accept() {
        clients.push(stream);
    }
    Verdict::Park
}

pub fn accept_or_try_again<A: Accept>(listener: &A, clients: &mut Vec<A::Stream>) -> Verdict {
    loop {
        match listener.accept() {
            Ok((stream, _)) => clients.push(stream),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Verdict::Park,
            Err(_) => return Verdict::Again, // not accepted yet: try again
        }
    }
}

pub fn read_all(client: &mut Client) -> io::Result<Verdict> {
    let mut chunk = [0; 1_024];
    loop {
        let count = client.stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(Verdict::Close); // the client is gone
        }
        client.greet(&chunk[..count])?; // keeps what the socket does not take
    }
}

pub fn write_once(client: &mut Client) -> io::Result<Verdict> {
    let mut chunk = [0; 1_024];
    loop {
        let count = client.stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(Verdict::Close);
        }
        let _sent = client.stream.write(&greeting(&chunk[..count]))?;
    }
}

pub fn closed_means_gone(client: &mut Client) -> io::Result<Verdict> {
    if client.event.contains(Readiness::CLOSED) {
        return Ok(Verdict::Close);
    }
    read_all(client)
}

pub fn answer_and_drop(mut stream: TcpStream, replies: &[u8]) -> io::Result<()> {
    let mut exit = [0; 5];
    stream.read_exact(&mut exit)?; // any further input is left unread
    stream.write_all(replies)
} // the stream is dropped, which closes it

pub fn add_deadline(deadlines: &mut BinaryHeap<Reverse<(Time, usize)>>, now: Time, slot: usize) {
    deadlines.push(Reverse((now.after(Duration::from_secs(5)), slot)));
}

pub fn expired(deadlines: &mut BinaryHeap<Reverse<(Time, usize)>>, now: Time) -> Option<usize> {
    deadlines.peek().filter(|Reverse((at, _))| *at <= now)?;
    deadlines.pop().map(|Reverse((_, slot))| slot) // it was idle: close it
}

pub fn answer_every_datagram(socket: &impl DatagramSocket) -> io::Result<Verdict> {
    let mut name = [0; 65_535];
    loop {
        let (count, from) = socket.recv_from(&mut name)?;
        socket.send_to(&greeting(&name[..count]), from)?;
    }
}
