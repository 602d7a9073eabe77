//! What is compared: the cases, the contenders, and the goals.
//!
//! **Owns** every number that says how much is sent, and how good is good enough.

use crate::process::Server;
use crate::{epoll, epoll_udp, growth, memory, storm, tasks};
use helloop::net::bind;
use helloop::protocol::greeting::Framing;
use std::fmt;

/// What the clients of a case do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Traffic {
    /// Connected clients, of which `active` talk, evenly spread among the others: `lines` messages
    /// each in one write.
    Tcp {
        framing: Framing,
        clients: usize,
        active: usize,
        lines: usize,
    },
    /// Clients that connect, are welcomed, and leave; so many at once.
    Visits { at_once: usize },
    /// Clients that all connect at the same moment.
    Storm { clients: usize },
    /// Clients that come, one a burst, and stay without a word.
    Guests,
    /// Clients that send one datagram each.
    Udp { clients: usize },
}

/// One comparison.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) traffic: Traffic,
    /// Bursts in one slice. A slice is some 30 ms of the server's time: long beside one wake-up,
    /// short beside whatever else the machine does.
    pub(crate) bursts: usize,
    pub(crate) peers: &'static [Peer],
    pub(crate) goals: &'static [Goal],
}

/// This server's cost over a peer's, at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) peer: Peer,
    pub(crate) at_most: f64,
}

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// This server.
    Helloop,
    /// The hand-written epoll loop: the limit.
    Epoll,
    /// The same loop in a second process: how far is it from itself?
    EpollAgain,
    /// tokio's current_thread runtime, a task a client.
    Tokio,
    /// `helloop serve --model threads`.
    Threads,
}

const ALL: &[Peer] = &[
    Peer::Helloop,
    Peer::Epoll,
    Peer::EpollAgain,
    Peer::Tokio,
    Peer::Threads,
];
/// A thread for each of very many clients is more than many systems allow.
const LOOPS: &[Peer] = &[Peer::Helloop, Peer::Epoll, Peer::EpollAgain, Peer::Tokio];

const fn goals(of_epoll: f64, of_tokio: f64) -> [Goal; 2] {
    [
        Goal {
            peer: Peer::Epoll,
            at_most: of_epoll,
        },
        Goal {
            peer: Peer::Tokio,
            at_most: of_tokio,
        },
    ]
}

pub(crate) const fn chunks(clients: usize, active: usize) -> Traffic {
    Traffic::Tcp {
        framing: Framing::Chunk,
        clients,
        active,
        lines: 1,
    }
}

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "chunk-100",
        about: "TCP, chunk framing, 100 clients, 1 message in flight each",
        traffic: chunks(100, 100),
        bursts: 60,
        peers: ALL,
        goals: &goals(1.03, 1.0),
    },
    Case {
        name: "chunk-5000",
        about: "TCP, chunk framing, 5,000 clients, 1 message in flight each",
        traffic: chunks(5_000, 5_000),
        bursts: 1,
        peers: ALL,
        goals: &goals(1.03, 1.0),
    },
    Case {
        name: "idle-19000",
        about: "TCP, chunk framing, 19,000 clients connected, of which 100 talk",
        traffic: chunks(19_000, 100),
        bursts: 60,
        peers: LOOPS,
        goals: &goals(1.03, 1.0),
    },
    Case {
        name: "lines",
        about: "TCP, line framing, 50 clients, 64 lines at once each",
        traffic: Traffic::Tcp {
            framing: Framing::Line,
            clients: 50,
            active: 50,
            lines: 64,
        },
        bursts: 60,
        peers: ALL,
        goals: &goals(1.05, 0.9),
    },
    Case {
        name: "udp",
        about: "UDP, 200 clients, 1 datagram in flight each",
        traffic: Traffic::Udp { clients: 200 },
        bursts: 60,
        peers: ALL,
        goals: &goals(1.03, 1.0),
    },
    Case {
        name: "accept",
        about: "TCP, clients that connect, are welcomed and leave, 64 at once",
        traffic: Traffic::Visits { at_once: 64 },
        bursts: 30,
        peers: LOOPS,
        goals: &goals(1.05, 1.0),
    },
];

impl Case {
    /// The case of that name.
    pub(crate) fn named(name: &str) -> &'static Self {
        CASES
            .iter()
            .chain([&storm::CASE, &memory::CASE])
            .chain(&growth::CASES)
            .find(|case| case.name == name)
            .expect("a case's name")
    }

    pub(crate) fn framing(&self) -> Framing {
        match self.traffic {
            Traffic::Tcp { framing, .. } => framing,
            _ => Framing::Chunk,
        }
    }
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Helloop => "helloop",
            Self::Epoll => "epoll",
            Self::EpollAgain => "epoll-again",
            Self::Tokio => "tokio",
            Self::Threads => "threads",
        }
    }

    /// The peer of that name.
    pub(crate) fn named(name: &str) -> Self {
        ALL.iter()
            .copied()
            .find(|peer| peer.name() == name)
            .expect("a peer's name")
    }

    /// Starts the peer for `case`: a binary of this package, or this bench under another role.
    pub(crate) fn start(self, case: &Case) -> Server {
        self.start_with(case, &[])
    }

    /// As [`start`](Self::start); `flags` are for this server's command line.
    pub(crate) fn start_with(self, case: &Case, flags: &[&str]) -> Server {
        let framing = match case.framing() {
            Framing::Chunk => "chunk",
            Framing::Line => "line",
        };
        let helloop = [
            "serve",
            "--quiet",
            "--listen",
            "127.0.0.1:0",
            "--framing",
            framing,
        ];
        match self {
            Self::Helloop => Server::start(
                env!("CARGO_BIN_EXE_helloop"),
                &[&helloop[..], flags].concat(),
            ),
            Self::Threads => Server::start(
                env!("CARGO_BIN_EXE_helloop"),
                &[&helloop[..], &["--model", "threads"]].concat(),
            ),
            Self::Epoll | Self::EpollAgain | Self::Tokio => {
                let bench = std::env::current_exe().expect("the path of this bench");
                Server::start(&bench, &["as-server", self.name(), case.name])
            }
        }
    }

    /// Serves `case` in this process, for ever.
    pub(crate) fn serve(self, case: &Case) {
        let bound = bind::bind(&bind::Options {
            listen: vec!["127.0.0.1:0".to_owned()],
            udp: true,
            backlog: match self {
                // What its own `bind` asks for.
                Self::Tokio => 1_024,
                _ => 4_096,
            },
            reuse_port: false,
            keepalive: Some(std::time::Duration::from_secs(300)),
        });
        let [sockets] = <[_; 1]>::try_from(bound.expect("a free port")).expect("one address");
        sockets
            .set_nonblocking()
            .expect("sockets that do not block");
        println!("listening on {sockets}");
        let udp = sockets.udp.expect("a UDP socket beside the TCP one");
        match (self, case.traffic) {
            (Self::Tokio, _) => tasks::serve(sockets.tcp, udp, case.framing()),
            (_, Traffic::Udp { .. }) => epoll_udp::serve(&udp),
            _ => epoll::serve(&sockets.tcp, case.framing()),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}
