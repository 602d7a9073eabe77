//! `helloop serve`.
//!
//! **Owns** the flags of the server and their defaults. **Must never touch** how the server works.
//! **Invariant**: each flag has an environment variable `HELLOOP_*`; the flag takes precedence.

use super::destination::announce;
use super::observe::{self, ObserveFlags, page_line};
use super::usage::{given_as, is_typed};
use super::values::{
    address, between, bytes, bytes_between, duration, keepalive, line_timeout, nonzero_duration,
    positive, switch,
};
use super::{Failure, print_last_line};
use crate::net::bind::{self, Bound};
use crate::net::system::{self, MORE_DESCRIPTORS};
use crate::observe::requests::OBSERVER_DESCRIPTORS;
use crate::protocol::greeting::{Framing, MAX_DATAGRAM_BYTES};
use crate::server::sources::peer::MAX_PEER_BYTES;
use crate::server::sources::stdin;
use crate::server::{
    DRAIN_BYTES_PER_CLIENT, DrainLimit, Outcome, REFUSALS_AT_ONCE, Server, Settings, Summary,
    threads,
};
use crate::units::count;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, ValueEnum};
use log::{error, info, warn};
use std::time::Duration;

/// Serve greetings over TCP and UDP until a signal (the default).
///
/// Ctrl-C, SIGTERM and SIGHUP drain the server: it accepts the connections already under way and no
/// later ones, answers what has arrived (at most 128 KiB per client), sends all outstanding replies
/// and exits. A second signal ends it at once. SIGHUP stays ignored under nohup. SIGUSR1 logs all
/// counters; SIGUSR2 saves the recording (see --record). Windows has only Ctrl-C and Ctrl-Break:
/// there, /metrics (see --observe) has the counters, and the recording is saved at the end.
///
/// Every flag except -v and -q has an environment variable; the flag takes precedence.
///
/// Exit codes: 0 drained; 1 cannot serve, cannot save the recording, or the drain hit a limit with
/// replies outstanding; 2 wrong usage; 129, 130 or 143 ended by a second SIGHUP, Ctrl-C or
/// SIGTERM.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    helloop serve --delay 1s -v             # the tutorial's pause, with a log\n  \
    helloop serve --listen 0.0.0.0:9999 --listen '[::]:9999'\n  \
    helloop serve --observe 127.0.0.1:9998  # watch the loop in a browser\n  \
    helloop serve --record loop.json        # record it for `helloop show`\n  \
    helloop serve --idle-timeout 1m --max-clients-per-address 100")]
pub(super) struct Serve {
    /// Listen address.
    ///
    /// Repeatable. ADDR is an IPv4 address, an IPv6 address in brackets or a host name. Port 0
    /// picks a free port. On a host with several addresses, list each one instead of 0.0.0.0:
    /// otherwise UDP replies may carry a different source address than the client used.
    #[arg(
        long,
        env = "HELLOOP_LISTEN",
        value_name = "ADDR:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:9999",
        value_parser = address,
        help_heading = "Listening"
    )]
    listen: Vec<String>,
    /// Serve TCP only.
    #[arg(long, env = "HELLOOP_NO_UDP", action = ArgAction::SetTrue,
          value_parser = switch, help_heading = "Listening")]
    no_udp: bool,
    /// Accept backlog per socket.
    ///
    /// The number of connections that may wait to be accepted. The system may cut it to a lower
    /// limit (net.core.somaxconn on Linux); the log then says so.
    #[arg(long, env = "HELLOOP_BACKLOG", value_name = "N", default_value = "4096",
          value_parser = |text: &str| between::<u32>(text, 1, i32::MAX as u64),
          help_heading = "Listening")]
    backlog: u32,
    /// Share the ports with other processes.
    ///
    /// Sets SO_REUSEPORT. Every process on the port needs this flag; on Linux, the kernel
    /// distributes new clients among them. Not supported on Windows.
    #[arg(long, env = "HELLOOP_REUSE_PORT", action = ArgAction::SetTrue,
          value_parser = switch, help_heading = "Listening")]
    reuse_port: bool,

    /// What delimits a TCP message.
    ///
    /// A datagram is always one message.
    #[arg(
        long,
        env = "HELLOOP_FRAMING",
        value_enum,
        value_name = "chunk|line",
        default_value_t,
        help_heading = "Protocol"
    )]
    framing: FramingName,
    /// Delay before each reply.
    ///
    /// The tutorial's sleep, without blocking: only the client that sent the message waits. Messages
    /// that arrive in one read share one delay. Replies over UDP are never delayed.
    #[arg(long, env = "HELLOOP_DELAY", value_name = "TIME", default_value = "0s",
          value_parser = duration, help_heading = "Protocol")]
    delay: Duration,
    /// Longest datagram answered.
    ///
    /// 1 to 65499 bytes. Longer datagrams are dropped and counted.
    #[arg(long, env = "HELLOOP_MAX_DATAGRAM", value_name = "SIZE", default_value = "1024",
          value_parser = |text: &str| bytes_between(text, 1, MAX_DATAGRAM_BYTES),
          help_heading = "Protocol")]
    max_datagram: usize,

    /// Concurrent clients [default: by ulimit -n]
    ///
    /// Any further client is sent `Busy: ...` instead of the welcome, and its connection is closed.
    /// The default is the limit on file descriptors less a reserve. If N is above what that limit
    /// allows, no client reads Busy: those above it wait in the accept backlog.
    #[arg(long, env = "HELLOOP_MAX_CLIENTS", value_name = "N", value_parser = positive,
          help_heading = "Limits")]
    max_clients: Option<u64>,
    /// Clients per source address [default: off]
    ///
    /// Per IPv4 address or IPv6 /64. Any further client is sent `Busy: ...`, so that one host cannot
    /// occupy every slot. Do not set it behind a proxy, where all clients share one address.
    #[arg(long, env = "HELLOOP_MAX_CLIENTS_PER_ADDRESS", value_name = "N",
          value_parser = |text: &str| between::<u32>(text, 1, u32::MAX.into()),
          help_heading = "Limits")]
    max_clients_per_address: Option<u32>,
    /// Memory for buffered bytes.
    ///
    /// Of all clients together; at least 256KiB. Above the limit, the server stops reading from
    /// clients with buffered bytes, and closes those that have made no progress for longest: the
    /// oldest unfinished line, the oldest unread reply. For more than 255MiB, raise
    /// vm.max_map_count on Linux.
    #[arg(long, env = "HELLOOP_MAX_BUFFERED", value_name = "SIZE", default_value = "64MiB",
          value_parser = |text: &str| bytes_between(text, MAX_PEER_BYTES, usize::MAX),
          help_heading = "Limits")]
    max_buffered: usize,
    /// Idle timeout; 0s: none.
    ///
    /// Closes a client that has sent nothing for this long. Without it, idle clients keep their
    /// slots forever: set it on a public server.
    #[arg(long, env = "HELLOOP_IDLE_TIMEOUT", value_name = "TIME", default_value = "0s",
          value_parser = duration, help_heading = "Limits")]
    idle_timeout: Duration,
    /// Timeout for a line; 0s: none.
    ///
    /// Closes a client that has begun a line and not ended it for this long, however steadily it
    /// sends. The time does not run while a reply is delayed or unread. Requires --framing line.
    #[arg(long, env = "HELLOOP_LINE_TIMEOUT", value_name = "TIME", default_value = "30s",
          value_parser = line_timeout, help_heading = "Limits")]
    line_timeout: Duration,
    /// Timeout for unread replies.
    ///
    /// Closes a client if replies are queued and its socket has taken none of them for this long.
    #[arg(long, env = "HELLOOP_WRITE_TIMEOUT", value_name = "TIME", default_value = "30s",
          value_parser = nonzero_duration, help_heading = "Limits")]
    write_timeout: Duration,
    /// TCP keepalive; 0s: off.
    ///
    /// Closes a client that has vanished about this long after its last packet. The system sends the
    /// first probe after half of the time, then up to four more. On Linux, unacknowledged
    /// replies have the same limit (TCP_USER_TIMEOUT).
    #[arg(long, env = "HELLOOP_KEEPALIVE", value_name = "TIME", default_value = "300s",
          value_parser = keepalive, help_heading = "Limits")]
    keepalive: Duration,
    /// Time limit for a drain.
    ///
    /// Clients with replies outstanding after this time are cut off, and the exit code is 1.
    #[arg(long, env = "HELLOOP_DRAIN_TIMEOUT", value_name = "TIME", default_value = "10s",
          value_parser = duration, help_heading = "Limits")]
    drain_timeout: Duration,

    #[command(flatten)]
    observe: ObserveFlags,

    /// Concurrency model.
    ///
    /// `threads` is the tutorial's thread per client, for comparison. It supports the flags under
    /// Listening (without --reuse-port) and Protocol, --max-clients-per-address, --keepalive and
    /// --drain-timeout.
    #[arg(
        long,
        env = "HELLOOP_MODEL",
        value_enum,
        value_name = "reactor|threads",
        default_value_t,
        help_heading = "Model"
    )]
    model: Model,

    /// End at once at EOF on standard input, and drain when a byte arrives: for a parent process that
    /// must leave no server behind.
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

/// [`Framing`] on the command line.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum FramingName {
    /// Each read of up to 1,024 bytes is a message, as in the tutorial.
    #[default]
    Chunk,
    /// Each line, ended by LF or CRLF, is a message.
    Line,
}

impl From<FramingName> for Framing {
    fn from(name: FramingName) -> Self {
        match name {
            FramingName::Chunk => Self::Chunk,
            FramingName::Line => Self::Line,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Model {
    /// One thread with an event loop.
    #[default]
    Reactor,
    /// One thread per client.
    Threads,
}

/// The flags that `--model threads` supports.
const FLAGS_OF_THREADS: [&str; 10] = [
    "listen",
    "no-udp",
    "backlog",
    "framing",
    "delay",
    "max-datagram",
    "max-clients-per-address",
    "keepalive",
    "drain-timeout",
    "model",
];

/// File descriptors that are never available to clients. [`observe::descriptors`] has those of the
/// flags that make the loop observable.
const RESERVED_DESCRIPTORS: u64 = 3 // standard streams
    + 1 // poll
    + 2 // signals
    + 1 // log
    + REFUSALS_AT_ONCE;

/// The descriptors that a server with these flags, started for a run of the load, keeps from its
/// clients.
pub(super) fn reserved_descriptors(flags: &[String]) -> u64 {
    const TCP_AND_UDP_DESCRIPTORS: u64 = 2;
    let has = |name| flags.iter().any(|flag| flag.starts_with(name));
    let observers = if has("--observe") {
        OBSERVER_DESCRIPTORS
    } else {
        0
    };
    RESERVED_DESCRIPTORS + TCP_AND_UDP_DESCRIPTORS + observers + u64::from(has("--record"))
}

impl Serve {
    /// Checks that every given flag has an effect. The error is a message for the user.
    pub(super) fn check_usage(&self, given: &ArgMatches) -> Result<(), String> {
        self.observe.check_usage(&self.listen, given)?;
        self.check_model(given)?;
        if self.reuse_port && !system::CAN_SHARE_PORTS {
            return Err("--reuse-port is not supported on this system".to_owned());
        }
        if is_typed("line_timeout", given) && matches!(self.framing, FramingName::Chunk) {
            let reason = "--line-timeout has no effect on chunks: give --framing line too";
            return Err(reason.to_owned());
        }
        Ok(())
    }

    fn check_model(&self, given: &ArgMatches) -> Result<(), String> {
        if self.model == Model::Reactor {
            return Ok(());
        }
        let definition = Self::augment_args(clap::Command::new("serve"));
        let is_given = |flag: &clap::Arg| {
            let id = flag.get_id().as_str();
            let source = given.value_source(id);
            matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
                // A variable may set a switch to off, its default.
                && !matches!(given.try_get_one::<bool>(id), Ok(Some(false)))
        };
        let is_supported = |flag: &clap::Arg| {
            let name = flag.get_long();
            name.is_none_or(|name| FLAGS_OF_THREADS.contains(&name))
        };
        let mut unsupported = definition
            .get_arguments()
            .filter(|flag| is_given(flag) && !flag.is_hide_set() && !is_supported(flag));
        unsupported.next().map_or(Ok(()), |flag| {
            let flag = given_as(flag, given);
            let supported = FLAGS_OF_THREADS.join(", --");
            Err(format!(
                "--model threads does not support {flag}, only --{supported}"
            ))
        })
    }

    /// Binds, prints the addresses, and serves until a signal stops it.
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let descriptors = system::raise_descriptor_limit();
        let bound = bind::bind(&bind::Options {
            listen: self.listen.clone(),
            udp: !self.no_udp,
            backlog: self.backlog,
            reuse_port: self.reuse_port,
            keepalive: Some(self.keepalive).filter(|idle| !idle.is_zero()),
        })
        .map_err(Failure::new)?;
        let observe = self.observe.prepare()?;
        let capacity = client_capacity(descriptors, &bound, observe::descriptors(&observe));
        let settings = self.settings(descriptors, capacity);
        let lines = bound
            .iter()
            .map(|address| format!("listening on {address}"));
        let lines: Vec<String> = lines.chain(page_line(&observe)).collect();
        // Printed only once signals are handled, because a parent process may send one at once.
        let announce = || announce(&lines);
        let mut saved = Ok(());
        let (outcome, summary) = match self.model {
            Model::Reactor => {
                let max_clients = self.most_clients(capacity);
                let mut server = Server::new(bound, settings, observe).map_err(cannot_serve)?;
                if self.exit_with_stdin {
                    server.end_with_stdin().map_err(cannot_serve)?;
                }
                announce()?;
                info!(
                    "one thread serves up to {}",
                    count(max_clients, "client", "clients")
                );
                let outcome = server.run().map_err(cannot_serve)?;
                server.report();
                saved = server.save_recording();
                (outcome, server.summary())
            }
            Model::Threads => {
                let signals = threads::signals().map_err(cannot_serve)?;
                if self.exit_with_stdin {
                    stdin::watch_by_thread().map_err(cannot_serve)?;
                }
                announce()?;
                info!("one thread per client");
                threads::run(bound, settings, signals).map_err(cannot_serve)?
            }
        };
        print_last_line(summary)?;
        match outcome {
            Outcome::Drained => saved.map_err(Failure::new).map(|()| outcome.exit_code()),
            Outcome::CutOff(clients) => {
                if let Err(error) = saved {
                    error!("{error}");
                }
                Err(Failure {
                    message: self.cut_off(clients, &summary),
                    code: outcome.exit_code(),
                })
            }
        }
    }

    /// Why a drain left replies unsent: the limits that ran out, each with its clients.
    fn cut_off(&self, clients: u64, summary: &Summary) -> String {
        let limits: Vec<String> = summary
            .cut_off
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(limit, count)| format!("{} ({count})", self.limit(limit)))
            .collect();
        format!(
            "{} cut off with replies outstanding, by limit: {}",
            count(clients, "client", "clients"),
            limits.join(", ")
        )
    }

    fn limit(&self, limit: DrainLimit) -> String {
        match limit {
            DrainLimit::DrainTimeout => {
                let timeout = humantime::format_duration(self.drain_timeout);
                format!("--drain-timeout {timeout}")
            }
            DrainLimit::WriteTimeout => {
                let timeout = humantime::format_duration(self.write_timeout);
                format!("--write-timeout {timeout}")
            }
            DrainLimit::MaxBuffered => format!("--max-buffered {}", bytes(self.max_buffered)),
            DrainLimit::ClientBytes => {
                let most = DRAIN_BYTES_PER_CLIENT / 1_024;
                format!("{most} KiB read of one client")
            }
        }
    }

    /// The most clients that are served at once. If --max-clients is above what the descriptors allow,
    /// no client is refused, so the descriptors reserved for refusals go to clients too.
    fn most_clients(&self, capacity: u64) -> u64 {
        let with_reserve = capacity + REFUSALS_AT_ONCE;
        self.max_clients
            .map_or(capacity, |requested| requested.min(with_reserve))
    }

    fn settings(&self, descriptors: u64, capacity: u64) -> Settings {
        if let Some(requested) = self.max_clients.filter(|requested| *requested > capacity) {
            warn!(
                "--max-clients {requested} needs more than {descriptors} file descriptors, which \
                 allow {}; further clients wait in the accept backlog instead of reading Busy \
                 ({MORE_DESCRIPTORS})",
                count(self.most_clients(capacity), "client", "clients")
            );
        }
        Settings {
            framing: self.framing.into(),
            delay: self.delay,
            max_datagram: self.max_datagram,
            max_clients: self.max_clients.unwrap_or(capacity),
            max_clients_per_address: self.max_clients_per_address,
            max_buffered: self.max_buffered,
            idle_timeout: Some(self.idle_timeout).filter(|timeout| !timeout.is_zero()),
            line_timeout: Some(self.line_timeout).filter(|timeout| !timeout.is_zero()),
            write_timeout: self.write_timeout,
            drain_timeout: self.drain_timeout,
        }
    }
}

/// The number of clients that the file descriptors allow.
fn client_capacity(descriptors: u64, bound: &[Bound], observing: u64) -> u64 {
    let sockets: u64 = bound
        .iter()
        .map(|address| 1 + u64::from(address.udp.is_some()))
        .sum();
    let reserved = sockets + observing + RESERVED_DESCRIPTORS;
    if descriptors <= reserved {
        warn!(
            "only {descriptors} file descriptors, and {reserved} are reserved: clients and observers \
             will wait for each other; {MORE_DESCRIPTORS}"
        );
    }
    descriptors.saturating_sub(reserved).max(1)
}

fn cannot_serve(error: std::io::Error) -> Failure {
    Failure::new(format_args!("cannot serve: {error}"))
}
