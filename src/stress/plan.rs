//! What is asked of a run, and the bytes that it is made of.
//!
//! **Owns** the [`Plan`], which rules out what cannot be, and the [`Script`]: the one message
//! that all clients send and the one reply that all expect. **Must never touch** a socket or a
//! clock. **Invariant**: a client's whole state is how far it is in the shared script.

use super::connect::SourceAddresses;
use crate::protocol::greeting::{
    self, Framing, MAX_CHUNK_BYTES, MAX_DATAGRAM_BYTES, MAX_LINE_BYTES,
};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::Duration;

/// How the clients talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A connection each.
    Tcp(Framing),
    /// A UDP socket each.
    Udp,
}

/// How long the measured part lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So long.
    Time(Duration),
    /// Until so many messages, of all clients together, were answered.
    Messages(u64),
}

/// The most messages that one client may have in flight. Their replies must fit what a server
/// keeps for a client that has not read yet.
pub const MAX_PIPELINED_MESSAGES: u32 = 1_024;

/// The digits behind each datagram's name, by which a reply is matched to it.
pub const NUMBER_BYTES: usize = 8;

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub to: SocketAddr,
    /// How the clients talk.
    pub transport: Transport,
    /// Clients that connect.
    pub clients: u32,
    /// Of these, how many talk; the others stay connected.
    pub active: u32,
    /// How long the measured part is.
    pub length: Length,
    /// How long the clients talk before anything counts.
    pub warmup: Duration,
    /// Messages that a client has in flight.
    pub pipeline: u32,
    /// Messages a second of all clients together, by a schedule (open loop); `None`: each
    /// client sends when its replies are whole (closed loop).
    pub rate: Option<NonZeroU64>,
    /// Connects a second; `None`: as fast as they are greeted.
    pub connect_rate: Option<NonZeroU64>,
    /// The longest wait for a connection, for the welcome and for each reply.
    pub timeout: Duration,
    /// What each client says.
    pub name: Vec<u8>,
    /// Where the clients connect from.
    pub sources: SourceAddresses,
}

impl Plan {
    /// Whether the plan can be carried out by any machine.
    ///
    /// # Errors
    ///
    /// What contradicts itself or the protocol, in words for the person who asked for it.
    pub fn check(&self) -> Result<(), String> {
        if self.active > self.clients {
            return Err(format!(
                "--active {} is more than --clients {}",
                self.active, self.clients
            ));
        }
        let lines = self.transport == Transport::Tcp(Framing::Line);
        if self.pipeline > 1 && !lines {
            return Err(
                "--pipeline needs --framing line: elsewhere nothing keeps two messages apart"
                    .to_owned(),
            );
        }
        self.check_name()
    }

    fn check_name(&self) -> Result<(), String> {
        let (least, most) = match self.transport {
            // An empty chunk cannot be sent: it would be no chunk.
            Transport::Tcp(Framing::Chunk) => (1, MAX_CHUNK_BYTES),
            Transport::Tcp(Framing::Line) => (0, MAX_LINE_BYTES),
            Transport::Udp => (NUMBER_BYTES, MAX_DATAGRAM_BYTES),
        };
        let length = self.name.len();
        if length < least || length > most {
            let transport = match self.transport {
                Transport::Tcp(Framing::Chunk) => "chunk framing",
                Transport::Tcp(Framing::Line) => "line framing",
                Transport::Udp => "a datagram (the last 8 bytes are its number)",
            };
            return Err(format!(
                "a name of {length} bytes does not fit {transport}: {least} to {most} bytes do"
            ));
        }
        if self.name.contains(&b'\n') || self.name.ends_with(b"\r") {
            return Err("the name must not contain a line ending".to_owned());
        }
        if self.transport != Transport::Udp && self.name == b"exit" {
            return Err("the name `exit` ends a conversation: choose another".to_owned());
        }
        Ok(())
    }
}

/// The bytes of a run, shared by all clients.
#[derive(Debug)]
pub struct Script {
    /// What the server says first.
    pub welcome: &'static [u8],
    /// One message; of UDP, with its number all zeros.
    pub message: Vec<u8>,
    /// As many messages as one client may have in flight.
    pub batch: Vec<u8>,
    /// The reply to one message.
    pub reply: Vec<u8>,
}

impl Script {
    /// The script of `plan`.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let mut name = plan.name.clone();
        let (welcome, ending) = match plan.transport {
            Transport::Tcp(framing @ Framing::Chunk) => (framing.welcome(), &b""[..]),
            Transport::Tcp(framing @ Framing::Line) => (framing.welcome(), &b"\n"[..]),
            Transport::Udp => {
                let number = name.len().saturating_sub(NUMBER_BYTES);
                name[number..].fill(b'0');
                (&b""[..], &b""[..])
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
        }
    }

    #[test]
    fn contradictions_are_told() {
        type Change = fn(&mut Plan);
        let cases: &[(Change, &str)] = &[
            (|plan| plan.active = 2, "--active 2"),
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
            let told = plan.check().expect_err(words);
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn the_script_is_the_protocol() {
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
