//! The real reactor and the server's own sources over scripted sockets, step by step.
//!
//! **Owns** a loop in virtual time and the scripted far ends. **Must never touch** a real
//! socket or clock. **Invariant**: nothing happens but in a step, and each step gets only the
//! marks that a poll would give, and those that a test adds.

#![allow(dead_code, unreachable_pub)] // each test program uses its part

use crate::script::{Scripted, Wire};
use helloop::reactor::{Context, Mark, Reactor, Readiness, Source, Time, Token, Verdict};
use helloop::server::datagrams::{DatagramSocket, Datagrams};
use helloop::server::listener::{Accept, Listener};
use helloop::server::peer::Peer;
use helloop::server::{Settings, World};
use mio::Registry;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// The kernel's side of a listening socket.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Connections that wait to be accepted.
    pub streams: VecDeque<Scripted>,
    /// What the next accepts answer instead.
    pub errors: VecDeque<io::Error>,
    /// Calls of `accept`.
    pub calls: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Acceptor(pub Rc<RefCell<Waiting>>);

impl Accept for Acceptor {
    type Stream = Scripted;

    fn accept(&self) -> io::Result<(Scripted, SocketAddr)> {
        let mut waiting = self.0.borrow_mut();
        waiting.calls += 1;
        if let Some(error) = waiting.errors.pop_front() {
            return Err(error);
        }
        let stream = waiting.streams.pop_front().ok_or(ErrorKind::WouldBlock)?;
        Ok((stream, SocketAddr::from(([127, 0, 0, 1], 40_000))))
    }
}

/// The kernel's side of a UDP socket.
#[derive(Debug, Default)]
pub struct Post {
    /// Datagrams that have arrived, or what receiving answers instead.
    pub arrived: VecDeque<io::Result<(Vec<u8>, SocketAddr)>>,
    /// What the next sends answer instead.
    pub send_errors: VecDeque<io::Error>,
    /// What was sent, and where to.
    pub sent: Vec<(Vec<u8>, SocketAddr)>,
    /// Calls of receiving.
    pub receives: u64,
}

#[derive(Clone, Debug, Default)]
pub struct PostBox(pub Rc<RefCell<Post>>);

impl DatagramSocket for PostBox {
    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut post = self.0.borrow_mut();
        post.receives += 1;
        let (datagram, from) = post
            .arrived
            .pop_front()
            .unwrap_or_else(|| Err(ErrorKind::WouldBlock.into()))?;
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        Ok((length, from))
    }

    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        let mut post = self.0.borrow_mut();
        if let Some(error) = post.send_errors.pop_front() {
            return Err(error);
        }
        post.sent.push((datagram.to_vec(), to));
        Ok(datagram.len())
    }
}

/// The server's event sources over scripted sockets.
#[derive(Debug)]
pub enum Actor {
    Listener(Listener<Acceptor>),
    Peer(Peer<Scripted>),
    Datagrams(Datagrams<PostBox>),
}

impl From<Peer<Scripted>> for Actor {
    fn from(peer: Peer<Scripted>) -> Self {
        Self::Peer(peer)
    }
}

impl Source for Actor {
    type World = World;

    fn register(&mut self, _: &Registry, token: Token) -> io::Result<()> {
        if let Self::Peer(peer) = self {
            peer.stream_mut().0.borrow_mut().token = Some(token);
        }
        Ok(())
    }

    fn drive(&mut self, cx: &mut Context<'_, Self>) -> Verdict {
        match self {
            Self::Listener(listener) => listener.drive(cx),
            Self::Peer(peer) => peer.drive(cx),
            Self::Datagrams(datagrams) => datagrams.drive(cx),
        }
    }

    fn expire(&mut self, cx: &mut Context<'_, Self>) -> Verdict {
        match self {
            Self::Listener(listener) => listener.expire(cx),
            Self::Peer(peer) => peer.expire(cx),
            Self::Datagrams(_) => Verdict::Park,
        }
    }

    fn unregistered(&mut self, _: &io::Error, _: &mut World) {}
}

/// A loop, its world, and the time there.
pub struct Rig {
    pub reactor: Reactor<Actor>,
    pub world: World,
    pub now: Time,
    wires: Vec<Rc<RefCell<Wire>>>,
}

impl Rig {
    pub fn new(settings: Settings) -> Self {
        Self {
            reactor: Reactor::simulated().unwrap(),
            world: World::new(settings),
            now: Time::ZERO,
            wires: Vec::new(),
        }
    }

    /// A client that was accepted just now; its welcome is sent in the next step.
    pub fn client(&mut self, stream: Scripted) -> Rc<RefCell<Wire>> {
        self.world.stats.accepted += 1;
        let wire = self.watch(&stream);
        self.reactor
            .add(Actor::Peer(Peer::new(stream)), Readiness::WRITABLE)
            .unwrap();
        wire
    }

    /// Passes on the edges of a stream that reaches the loop in another way.
    pub fn watch(&mut self, stream: &Scripted) -> Rc<RefCell<Wire>> {
        self.wires.push(stream.0.clone());
        stream.0.clone()
    }

    pub fn listener(&mut self) -> (Token, Rc<RefCell<Waiting>>) {
        let acceptor = Acceptor::default();
        let waiting = acceptor.0.clone();
        let listener = Actor::Listener(Listener::new(acceptor));
        (
            self.reactor.add(listener, Readiness::NONE).unwrap(),
            waiting,
        )
    }

    pub fn datagrams(&mut self) -> (Token, Rc<RefCell<Post>>) {
        let socket = PostBox::default();
        let post = socket.0.clone();
        let datagrams = Actor::Datagrams(Datagrams::new(socket));
        (self.reactor.add(datagrams, Readiness::NONE).unwrap(), post)
    }

    /// One step with the edges that are due.
    pub fn step(&mut self) {
        self.step_with(&[]);
    }

    /// One step with the edges that are due, and these marks.
    pub fn step_with(&mut self, marks: &[Mark]) {
        let due = self.wires.iter();
        let mut all: Vec<Mark> = due
            .filter_map(|wire| wire.borrow_mut().take_mark())
            .collect();
        all.extend(marks);
        self.reactor.step(self.now, &all, &mut self.world);
    }

    /// Steps until nothing is due any more; fails where that takes too long.
    #[track_caller]
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let calls = self.reactor.turns().calls;
            self.step();
            if self.reactor.turns().calls == calls {
                return;
            }
        }
        panic!("the loop never comes to rest");
    }

    pub fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }
}
