//! EventKind each pitfall looks like from inside: code that reads well, and is wrong.
//!
//! **Owns** the naive lines that the guide's chapter shows, word for word; a test compares them.
//! **Must never touch** the loop that drives them, which is the real one. **Invariant**: each
//! function is wrong in one way, the one that it is named after.

#![allow(unreachable_pub)]

use crate::program::{Client, greeting, sleep};
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
            return Ok(Verdict::Park); // that was all: an event will come for more
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
    Ok(Verdict::Park) // the others want their turn too
}

pub fn whose<C>(clients: &mut Slab<C>, event: mio::Token) -> Option<&mut C> {
    clients.get_mut(event.0) // whoever has the slot now
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
            Err(_) => return Verdict::Again, // not accepted yet, so once more
        }
    }
}

pub fn read_all(client: &mut Client) -> io::Result<Verdict> {
    let mut chunk = [0; 1_024];
    loop {
        let count = client.stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(Verdict::Close); // the client has gone
        }
        client.greet(&chunk[..count])?; // and keep what the socket does not take
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
    stream.read_exact(&mut exit)?; // there is more behind it, which nobody wants
    stream.write_all(replies)
} // dropped, and so closed

pub fn heard(deadlines: &mut BinaryHeap<Reverse<(Time, usize)>>, now: Time, slot: usize) {
    deadlines.push(Reverse((now.after(Duration::from_secs(5)), slot)));
}

pub fn overdue(deadlines: &mut BinaryHeap<Reverse<(Time, usize)>>, now: Time) -> Option<usize> {
    deadlines.peek().filter(|Reverse((due, _))| *due <= now)?;
    deadlines.pop().map(|Reverse((_, slot))| slot) // it has been idle: close it
}

pub fn answer_everybody(socket: &impl DatagramSocket) -> io::Result<Verdict> {
    let mut name = [0; 65_535];
    loop {
        let (count, from) = socket.recv_from(&mut name)?;
        socket.send_to(&greeting(&name[..count]), from)?;
    }
}
