//! The cases, the peers and the goals, as data.
//!
//! **Owns** every number that says how much is sent, and how good is good enough.
//! **Must never touch** a socket or a process.

use helloop::protocol::greeting::Framing;
use std::fmt;

/// What the clients of a case do. Each variant is one burst.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Traffic {
    /// Of the connected clients, `active` send `lines` messages each, in one write. The active
    /// clients are spread evenly among the others.
    Tcp {
        framing: Framing,
        clients: usize,
        active: usize,
        lines: usize,
    },
    /// Clients connect, read the welcome, and disconnect.
    Visits { at_once: usize },
    /// All clients connect at the same moment.
    Storm { clients: usize },
    /// One more client connects, and stays idle.
    Idle,
    /// Clients send one datagram each.
    Udp { clients: usize },
}

/// One comparison.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) traffic: Traffic,
    /// Bursts per slice. A slice takes about 30 ms of the server's time: much longer than a
    /// wakeup, much shorter than other activity on the machine.
    pub(crate) bursts: usize,
    pub(crate) peers: &'static [Peer],
    pub(crate) goals: &'static [Goal],
}

/// The highest acceptable ratio of this server's cost to a peer's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) peer: Peer,
    pub(crate) at_most: f64,
}

/// A server under comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// This server.
    Helloop,
    /// The hand-written epoll loop: the lower bound.
    Epoll,
    /// The same loop in a second process. Its ratio to the first is the measurement's spread.
    EpollAgain,
    /// tokio's current_thread runtime, one task per client.
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
/// Without [`Peer::Threads`]: many systems do not allow that many threads.
const EVENT_LOOPS: &[Peer] = &[Peer::Helloop, Peer::Epoll, Peer::EpollAgain, Peer::Tokio];
/// Without an A/A comparison, for what is measured once per server.
const DISTINCT: &[Peer] = &[Peer::Helloop, Peer::Epoll, Peer::Tokio];

const fn goals(epoll: f64, tokio: f64) -> [Goal; 2] {
    [
        Goal {
            peer: Peer::Epoll,
            at_most: epoll,
        },
        Goal {
            peer: Peer::Tokio,
            at_most: tokio,
        },
    ]
}

const fn chunks(clients: usize, active: usize) -> Traffic {
    Traffic::Tcp {
        framing: Framing::Chunk,
        clients,
        active,
        lines: 1,
    }
}

/// The cases that are compared by CPU time.
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
        about: "TCP, chunk framing, 19,000 clients connected, 100 of them active",
        traffic: chunks(19_000, 100),
        bursts: 60,
        peers: EVENT_LOOPS,
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
        about: "TCP, clients connect, read the welcome and leave, 64 at once",
        traffic: Traffic::Visits { at_once: 64 },
        bursts: 30,
        peers: EVENT_LOOPS,
        goals: &goals(1.05, 1.0),
    },
];

/// The server's descriptors must suffice where the hard limit is 20,000.
pub(crate) const STORM_CLIENTS: usize = 19_000;

/// See `storm`.
pub(crate) const STORM: Case = Case {
    name: "storm",
    about: "19,000 clients connect at once, and each waits for its welcome",
    traffic: Traffic::Storm {
        clients: STORM_CLIENTS,
    },
    bursts: 1,
    peers: DISTINCT,
    goals: &[],
};

/// See `memory`.
pub(crate) const MEMORY: Case = Case {
    name: "memory",
    about: "resident memory per idle client, from 1,000 to 19,000 clients",
    traffic: Traffic::Idle,
    bursts: 0,
    peers: DISTINCT,
    goals: &[],
};

const fn growth(name: &'static str, clients: usize, active: usize, bursts: usize) -> Case {
    Case {
        name,
        about: "helloop alone, with more and more clients connected",
        traffic: chunks(clients, active),
        bursts,
        peers: &[Peer::Helloop],
        goals: &[],
    }
}

/// See `growth`: the same sizes with 100 active clients, and with one.
pub(crate) const GROWTH: [Case; 6] = [
    growth("growth-100", 100, 100, 60),
    growth("growth-5000", 5_000, 100, 60),
    growth("growth-19000", 19_000, 100, 60),
    growth("growth-100-one", 100, 1, 2_000),
    growth("growth-5000-one", 5_000, 1, 2_000),
    growth("growth-19000-one", 19_000, 1, 2_000),
];

impl Case {
    /// The case of that name.
    pub(crate) fn named(name: &str) -> &'static Self {
        CASES
            .iter()
            .chain([&STORM, &MEMORY])
            .chain(&GROWTH)
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
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}
