//! Scripted sockets without a connection: a listener and a UDP socket.
//!
//! **Owns** what each call returns. **Must never touch** a real socket. **Invariant**: what has
//! arrived is returned once, in order.

use super::{Disarmed, ScriptedStream};
use helloop::net::Accept;
use helloop::net::udp::DatagramSocket;
use helloop::reactor::Readiness;
use mio::{Interest, Registry, event};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// The accept queue of a scripted listener.
#[derive(Debug, Default)]
pub struct AcceptQueue {
    /// Connections to be accepted.
    pub streams: VecDeque<ScriptedStream>,
    /// Errors that the next calls of `accept` return first.
    pub errors: VecDeque<io::Error>,
    /// Calls of `accept` so far.
    pub calls: u64,
    /// How long half-done handshakes take, if the listener can drop new ones.
    pub handshake: Option<Duration>,
    disarmed: Disarmed,
}

impl AcceptQueue {
    /// The event that a poll would report now, where it is [`BackEnd::AfterWouldBlock`].
    pub fn take_event(&mut self) -> Readiness {
        let mut ready = Readiness::empty();
        let is_empty = self.streams.is_empty() && self.errors.is_empty();
        ready.set(Readiness::READABLE, !is_empty);
        self.disarmed.take_event(ready)
    }
}

/// A listening socket that accepts from its queue.
#[derive(Debug, Default)]
pub struct ScriptedListener(pub Rc<RefCell<AcceptQueue>>);

impl Accept for ScriptedListener {
    type Stream = ScriptedStream;

    fn accept(&self) -> io::Result<(ScriptedStream, SocketAddr)> {
        let mut queue = self.0.borrow_mut();
        queue.calls += 1;
        if let Some(error) = queue.errors.pop_front() {
            return Err(error);
        }
        let Some(stream) = queue.streams.pop_front() else {
            return queue.disarmed.would_block();
        };
        let loopback = SocketAddr::from(([127, 0, 0, 1], 40_000));
        let address = stream.0.borrow().address.unwrap_or(loopback);
        Ok((stream, address))
    }

    fn drop_new_handshakes(&self) -> Option<Duration> {
        self.0.borrow().handshake
    }
}

/// What the calls of a scripted UDP socket return, and what it has sent.
#[derive(Debug, Default)]
pub struct UdpScript {
    /// What the next calls of `recv_from` return: a datagram and its source, or an error.
    pub arrived: VecDeque<io::Result<(Vec<u8>, SocketAddr)>>,
    /// Errors that the next calls of `send_to` return first.
    pub send_errors: VecDeque<io::Error>,
    /// Each datagram sent, with its destination.
    pub sent: Vec<(Vec<u8>, SocketAddr)>,
    /// Calls of `recv_from` so far.
    pub receives: u64,
    /// Whether the send buffer is full.
    pub is_full: bool,
    disarmed: Disarmed,
}

impl UdpScript {
    /// The event that a poll would report now, where it is [`BackEnd::AfterWouldBlock`].
    pub fn take_event(&mut self) -> Readiness {
        let mut ready = Readiness::empty();
        ready.set(Readiness::READABLE, !self.arrived.is_empty());
        ready.set(Readiness::WRITABLE, !self.is_full);
        self.disarmed.take_event(ready)
    }
}

/// A UDP socket that follows its script.
#[derive(Debug, Default)]
pub struct ScriptedUdpSocket(pub Rc<RefCell<UdpScript>>);

impl DatagramSocket for ScriptedUdpSocket {
    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut script = self.0.borrow_mut();
        script.receives += 1;
        let arrived = script.arrived.pop_front();
        let (datagram, from) = arrived.unwrap_or_else(|| script.disarmed.would_block())?;
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        Ok((length, from))
    }

    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        let mut script = self.0.borrow_mut();
        if let Some(error) = script.send_errors.pop_front() {
            return Err(error);
        }
        if script.is_full {
            return script.disarmed.would_block();
        }
        script.sent.push((datagram.to_vec(), to));
        Ok(datagram.len())
    }
}

scripted_registration! {
    ScriptedListener: |self, _token| Ok(()),
    ScriptedUdpSocket: |self, _token| Ok(()),
}
