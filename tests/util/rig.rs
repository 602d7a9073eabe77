//! The real reactor and the server's own sources over scripted sockets, step by step.
//!
//! **Owns** a loop in virtual time and the scripted far ends. **Must never touch** a real
//! socket or clock. **Invariant**: nothing happens but in a step, and each step gets only the
//! marks that a poll would give, and those that a test adds.

#![allow(dead_code, unreachable_pub)] // each test program uses its part

use crate::script::{FarEnd, Scripted};
use helloop::net::udp::DatagramSocket;
use helloop::net::{Accept, Net};
use helloop::observe::recorder::{RecorderMode, TurnRecorder};
use helloop::reactor::{Mark, Reactor, Readiness, Time, Token};
use helloop::server::sources::datagrams::Datagrams;
use helloop::server::sources::listener::Listener;
use helloop::server::sources::peer::Peer;
use helloop::server::stats::{CloseCause, Stats};
use helloop::server::{Outcome, Server, ServerSource, Settings};
use mio::{Interest, Registry, event};
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

#[derive(Debug, Default)]
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

#[derive(Debug, Default)]
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

/// A network of scripted sockets.
#[derive(Debug)]
pub enum ScriptedNet {}

impl Net for ScriptedNet {
    type Listener = Acceptor;
    type Stream = Scripted;
    type Datagram = PostBox;
}

/// The server on scripted sockets.
pub type Scripts = Server<ScriptedNet>;

/// A loop in virtual time for it, whose recorder is off.
pub fn scripted_reactor() -> Reactor<ServerSource<ScriptedNet>, TurnRecorder> {
    Reactor::simulated_recorded(TurnRecorder::new(1, RecorderMode::Off)).unwrap()
}

/// Nothing to do for a poll that is not asked.
macro_rules! no_registration {
    ($($socket:ty),+) => {
        $(impl event::Source for $socket {
            fn register(&mut self, _: &Registry, _: mio::Token, _: Interest) -> io::Result<()> {
                Ok(())
            }

            fn reregister(&mut self, _: &Registry, _: mio::Token, _: Interest) -> io::Result<()> {
                panic!("registered once and for good");
            }

            fn deregister(&mut self, _: &Registry) -> io::Result<()> {
                Ok(())
            }
        })+
    };
}

no_registration!(Acceptor, PostBox);

/// A server, the time where it is, and the far ends of its streams.
pub struct Rig {
    pub server: Scripts,
    pub now: Time,
    /// How the server's run has ended, once it has.
    pub outcome: Option<Outcome>,
    far_ends: Vec<FarEnd>,
}

impl Rig {
    pub fn new(settings: Settings) -> Self {
        Self {
            server: Server::on(scripted_reactor(), settings),
            now: Time::ZERO,
            outcome: None,
            far_ends: Vec::new(),
        }
    }

    /// A client that was accepted just now; its welcome is sent in the next step.
    pub fn client(&mut self, (stream, far_end): (Scripted, FarEnd)) -> FarEnd {
        self.server.shared.stats.accepted += 1;
        self.watch(&far_end);
        let peer = ServerSource::Peer(Peer::new(stream));
        self.server.reactor.add(peer, Readiness::WRITABLE).unwrap();
        far_end
    }

    /// Passes on the edges of a stream that reaches the loop in another way.
    pub fn watch(&mut self, far_end: &FarEnd) {
        self.far_ends.push(far_end.clone());
    }

    pub fn listener(&mut self) -> (Token, Rc<RefCell<Waiting>>) {
        let acceptor = Acceptor::default();
        let waiting = acceptor.0.clone();
        let listener = ServerSource::Listener(Box::new(Listener::new(acceptor)));
        (self.server.add(listener).unwrap(), waiting)
    }

    pub fn datagrams(&mut self) -> (Token, Rc<RefCell<Post>>) {
        let socket = PostBox::default();
        let post = socket.0.clone();
        let datagrams = ServerSource::Datagrams(Box::new(Datagrams::new(socket)));
        (self.server.add(datagrams).unwrap(), post)
    }

    /// One step with the edges that are due.
    pub fn step(&mut self) {
        self.step_with(&[]);
    }

    /// The edges that a poll would announce now.
    pub fn take_marks(&self) -> Vec<Mark> {
        let far_ends = self.far_ends.iter();
        far_ends
            .filter_map(|far_end| far_end.borrow_mut().take_mark())
            .collect()
    }

    /// One step with the edges that are due, and these marks.
    pub fn step_with(&mut self, marks: &[Mark]) {
        let mut all = self.take_marks();
        all.extend(marks);
        self.step_with_only(&all);
    }

    /// One step with these marks and no others.
    pub fn step_with_only(&mut self, marks: &[Mark]) {
        let Server {
            reactor, shared, ..
        } = &mut self.server;
        reactor.step(self.now, marks.iter().copied(), shared);
        self.outcome = self.server.between_turns();
    }

    /// Steps until nothing is due any more; fails where that takes too long.
    #[track_caller]
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let marks = self.take_marks();
            // Where a real loop would wait for ever, nothing more happens here either.
            if marks.is_empty()
                && self.server.reactor.poll_timeout(self.now) != Some(Duration::ZERO)
            {
                return;
            }
            self.step_with_only(&marks);
        }
        panic!("the loop never comes to rest");
    }

    /// Calls of a source so far.
    pub fn calls(&self) -> u64 {
        self.server.reactor.stats().calls
    }

    pub fn stats(&self) -> &Stats {
        &self.server.shared.stats
    }

    pub fn closed(&self, cause: CloseCause) -> u64 {
        self.stats().closed[cause]
    }

    pub fn peers(&self) -> impl Iterator<Item = (Token, &Peer<Scripted>)> {
        self.server
            .reactor
            .sources()
            .filter_map(|(token, member)| match member {
                ServerSource::Peer(peer) => Some((token, peer)),
                _ => None,
            })
    }

    pub fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }
}
