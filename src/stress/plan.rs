//! What a run is asked to do, and the bytes that it exchanges.
//!
//! **Owns** the [`Plan`] with its validity rules, and the [`Script`]: the one message that all
//! clients send, and the one reply that all expect. **Must never touch** a socket or a clock.
//! **Invariant**: all clients share one script, so the state of a client is its position in it.

use super::connect::SourceAddresses;
use crate::protocol::greeting::{
    self, Framing, MAX_CHUNK_BYTES, MAX_DATAGRAM_BYTES, MAX_LINE_BYTES,
};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::Duration;

/// What carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// One connection per client.
    Tcp(Framing),
    /// One UDP socket per client.
    Udp,
}

/// The length of the measured part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// A time.
    Time(Duration),
    /// A number of answered messages, of all clients together.
    Messages(u64),
}

/// The most messages that one client may have in flight. A server must be able to buffer their
/// replies for a client that does not read yet.
pub(crate) const MAX_PIPELINED_MESSAGES: u32 = 1_024;

/// Hexadecimal digits of the sequence number that ends each datagram's name. The reply repeats
/// it, and is matched to its datagram by it.
pub(crate) const NUMBER_BYTES: usize = 8;

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The server's address.
    pub to: SocketAddr,
    /// What carries the messages.
    pub transport: Transport,
    /// Clients that connect.
    pub clients: u32,
    /// Of these, clients that send messages; the others stay idle.
    pub active: u32,
    /// The length of the measured part.
    pub length: Length,
    /// The warm-up: clients send messages, and nothing is counted.
    pub warmup: Duration,
    /// The most messages in flight per client.
    pub pipeline: u32,
    /// Open loop: messages per second of all clients together, by a schedule. `None` is the
    /// closed loop: a client sends again once its replies are complete.
    pub rate: Option<NonZeroU64>,
    /// Connects per second; `None`: the next client connects once an earlier one is welcomed.
    pub connect_rate: Option<NonZeroU64>,
    /// The timeout of a connect, of the welcome and of each reply.
    pub timeout: Duration,
    /// The name that each client sends.
    pub name: Vec<u8>,
    /// The addresses that clients connect from.
    pub sources: SourceAddresses,
    /// The flags of the server that is started for the run; `None`: it is already running.
    pub server_flags: Option<Vec<String>>,
}

impl Plan {
    /// Checks that the plan is valid, whatever the machine.
    ///
    /// # Errors
    ///
    /// What contradicts itself or the protocol, as a message for the user.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Self {
            active, clients, ..
        } = self;
        if active > clients {
            return Err(format!(
                "--active {active} is more than --clients {clients}"
            ));
        }
        if *active == 0 && matches!(self.length, Length::Messages(_)) {
            return Err("--messages needs a client that sends, and --active is 0".to_owned());
        }
        if *active == 0 && self.rate.is_some() {
            return Err("--rate needs a client that sends, and --active is 0".to_owned());
        }
        if self.pipeline > 1 && self.transport != Transport::Tcp(Framing::Line) {
            return Err(
                "--pipeline needs --framing line: nothing else separates two messages".to_owned(),
            );
        }
        self.check_name()
    }

    fn check_name(&self) -> Result<(), String> {
        let (transport, min, max) = match self.transport {
            // There is no empty chunk: a write of no bytes sends nothing.
            Transport::Tcp(Framing::Chunk) => ("in chunk framing", 1, MAX_CHUNK_BYTES),
            Transport::Tcp(Framing::Line) => ("in line framing", 0, MAX_LINE_BYTES),
            Transport::Udp => (
                "over UDP, where its last 8 bytes are a sequence number,",
                NUMBER_BYTES,
                MAX_DATAGRAM_BYTES,
            ),
        };
        let length = self.name.len();
        if !(min..=max).contains(&length) {
            return Err(format!(
                "the length of the name is {length}: {transport} it must have {min} to {max} bytes"
            ));
        }
        if self.name.contains(&b'\n') || self.name.ends_with(b"\r") {
            return Err("the name must not contain a line ending".to_owned());
        }
        if self.transport != Transport::Udp && self.name == b"exit" {
            return Err("the name `exit` ends the conversation: use another name".to_owned());
        }
        Ok(())
    }
}

/// The bytes of a run, shared by all clients.
#[derive(Debug)]
pub(crate) struct Script {
    /// What the server sends first; empty over UDP.
    pub welcome: &'static [u8],
    /// One message; over UDP, with the sequence number zero.
    pub message: Vec<u8>,
    /// As many messages as one client may have in flight.
    pub batch: Vec<u8>,
    /// The reply to one message.
    pub reply: Vec<u8>,
}

impl Script {
    /// The script of `plan`.
    #[must_use]
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut name = plan.name.clone();
        let (welcome, ending): (_, &[u8]) = match plan.transport {
            Transport::Tcp(framing @ Framing::Chunk) => (framing.welcome(), b""),
            Transport::Tcp(framing @ Framing::Line) => (framing.welcome(), b"\n"),
            Transport::Udp => {
                let number = name.len().saturating_sub(NUMBER_BYTES);
                name[number..].fill(b'0');
                (&b""[..], b"")
            }
        };
        let mut reply = Vec::new();
        greeting::greet(&name, ending, &mut reply);
        let message = [&name, ending].concat();
        Self {
            welcome,
            batch: message.repeat(plan.pipeline as usize),
            message,
            reply,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::stress) fn plan() -> Plan {
        Plan {
            to: SocketAddr::from(([127, 0, 0, 1], 9_999)),
            transport: Transport::Tcp(Framing::Line),
            clients: 1,
            active: 1,
            length: Length::Time(Duration::from_secs(1)),
            warmup: Duration::ZERO,
            pipeline: 1,
            rate: None,
            connect_rate: None,
            timeout: Duration::from_secs(5),
            name: b"Michael".to_vec(),
            sources: SourceAddresses::default(),
            server_flags: None,
        }
    }

    #[test]
    fn contradictions_are_rejected() {
        type Change = fn(&mut Plan);
        let cases: &[(Change, &str)] = &[
            (|plan| plan.active = 2, "--active 2"),
            (
                |plan| {
                    plan.active = 0;
                    plan.length = Length::Messages(5);
                },
                "--messages needs",
            ),
            (
                |plan| {
                    plan.active = 0;
                    plan.rate = NonZeroU64::new(5);
                },
                "--rate needs",
            ),
            (
                |plan| {
                    plan.transport = Transport::Tcp(Framing::Chunk);
                    plan.pipeline = 2;
                },
                "--framing line",
            ),
            (|plan| plan.name = b"exit".to_vec(), "exit"),
            (|plan| plan.name = b"a\nb".to_vec(), "line ending"),
            (|plan| plan.name = b"a\r".to_vec(), "line ending"),
            (|plan| plan.name = vec![b'a'; 65_537], "0 to 65536"),
            (
                |plan| {
                    plan.transport = Transport::Tcp(Framing::Chunk);
                    plan.name.clear();
                },
                "1 to 1024",
            ),
            (|plan| plan.transport = Transport::Udp, "8 to 65499"),
        ];
        assert_eq!(plan().check(), Ok(()));
        for (change, words) in cases {
            let mut plan = plan();
            change(&mut plan);
            let error = plan.check().expect_err(words);
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn the_script_follows_the_protocol() {
        let mut plan = plan();
        plan.pipeline = 2;
        let script = Script::new(&plan);
        assert_eq!(script.welcome, b"Welcome!\n");
        assert_eq!(script.batch, b"Michael\nMichael\n");
        assert_eq!(script.reply, b"Hello, Michael!\n");
        plan.transport = Transport::Udp;
        plan.name = b"abcdefghijk".to_vec();
        let script = Script::new(&plan);
        assert_eq!(script.message, b"abc00000000");
        assert_eq!(script.reply, b"Hello, abc00000000!");
    }
}
