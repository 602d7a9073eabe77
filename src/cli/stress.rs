//! `helloop stress`.
//!
//! **Owns** the flags of the load generator, where its reports go, and the server that it may start.
//! **Must never touch** a client. **Invariant**: standard output receives one report and nothing
//! else.

use super::serve::{FramingName, reserved_descriptors};
use super::values::{between, duration, nonzero_duration, positive};
use super::{Failure, print_line, stdout_columns, to_json};
use crate::net::system;
use crate::stress::check;
use crate::stress::child::SpawnedServer;
use crate::stress::connect::SourceAddresses;
use crate::stress::counters::{Counters, LossCause};
use crate::stress::plan::{Length, MAX_PIPELINED_MESSAGES, Plan, Transport};
use crate::stress::report::text::Text;
use crate::stress::report::{NamedRun, Report, html, json_schema};
use crate::stress::signals::{EXIT_INTERRUPTED, Interrupt};
use crate::stress::slo::Slo;
use crate::stress::{self, Shared, progress::Progress};
use anstream::{AutoStream, ColorChoice};
use clap::Args;
use log::{info, warn};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU64;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Stress a server with very many clients, and say whether to believe the figures.
///
/// Clients connect, are welcomed, and keep talking; every byte of every reply is checked. Ctrl-C
/// ends the run and reports what there is; a second one ends the program at once.
///
/// Exit codes: 0 all as asked; 1 could not start; 2 wrong usage; 3 an --slo was missed; 4 the load
/// was not what was asked for (fewer clients, lost clients, wrong bytes, a missed --rate); 130
/// interrupted.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    helloop stress --spawn --clients 10k                       # one command shows it all\n  \
    helloop stress --clients 1000 --rate 20k --slo 'p99<5ms'   # by a schedule\n  \
    helloop stress --clients 19000 --active 100 --json run.json --html run.html\n  \
    helloop stress --udp --clients 100                         # datagrams\n  \
    helloop stress --check --clients 50000                     # can this machine do it?\n  \
    helloop stress --spawn --clients 500 -- --delay 1s         # flags for the server")]
pub(super) struct Stress {
    /// The server.
    #[arg(
        long,
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:9999",
        help_heading = "Server"
    )]
    to: String,
    /// Start a server for the run; its flags may follow behind `--`.
    ///
    /// It is a process of its own, at a free port, and drained after the run.
    #[arg(long, conflicts_with = "to", help_heading = "Server")]
    spawn: bool,
    /// Clients that connect.
    #[arg(long, value_name = "N", default_value = "100",
          value_parser = |text: &str| between::<u32>(text, 1, 10_000_000), help_heading = "Load")]
    clients: u32,
    /// Clients that talk; the others stay connected, idle [default: all]
    #[arg(long, value_name = "K", value_parser = |text: &str| between::<u32>(text, 0, u32::MAX.into()),
          help_heading = "Load")]
    active: Option<u32>,
    /// How long to measure.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = nonzero_duration,
          help_heading = "Load")]
    duration: Duration,
    /// How many messages to measure, instead of how long.
    #[arg(long, value_name = "M", value_parser = positive, conflicts_with = "duration",
          help_heading = "Load")]
    messages: Option<u64>,
    /// How long to talk before anything counts.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration,
          help_heading = "Load")]
    warmup: Duration,
    /// Open loop: so many messages a second, by a schedule [default: closed]
    ///
    /// Of all clients together. A latency then counts from when its message was due, sent or
    /// not. In the closed loop each client sends when its reply is whole.
    #[arg(long, value_name = "R", value_parser = rate, help_heading = "Load")]
    rate: Option<NonZeroU64>,
    /// Connects a second [default: as fast as clients are greeted]
    #[arg(long, value_name = "R", value_parser = rate, help_heading = "Load")]
    connect_rate: Option<NonZeroU64>,
    /// The longest wait for a reply [default: 10s; with --udp 1s]
    ///
    /// For the connection and the welcome too.
    #[arg(long, value_name = "TIME", value_parser = nonzero_duration, help_heading = "Load")]
    timeout: Option<Duration>,
    /// Addresses to connect from [default: loopback's to loopback, else one]
    ///
    /// Addresses of this machine, a thousand clients each, as in 10.0.0.16/28: one address has
    /// some 28,000 ports for one server. The default to a loopback server on Linux is
    /// 127.0.0.0/8; else the system chooses.
    #[arg(long, value_name = "CIDR", help_heading = "Load")]
    source: Option<SourceAddresses>,

    /// The bytes of each name.
    ///
    /// With --udp the last 8 are its number.
    #[arg(long, value_name = "SIZE", default_value = "16",
          value_parser = |text: &str| between::<usize>(text, 0, 65_536), help_heading = "Messages")]
    size: usize,
    /// The name to send, in place of so many bytes.
    ///
    /// With --udp a number is put behind it.
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with = "size",
        help_heading = "Messages"
    )]
    name: Option<OsString>,
    /// What a message is.
    ///
    /// The server's must be the same; one of --spawn gets it.
    #[arg(long, value_enum, default_value_t, help_heading = "Messages")]
    framing: FramingName,
    /// Messages a client has in flight; needs line framing.
    ///
    /// In the closed loop so many are sent at once; in the open loop so many may wait for their
    /// replies.
    #[arg(long, value_name = "P", default_value = "1",
          value_parser = |text: &str| between::<u32>(text, 1, MAX_PIPELINED_MESSAGES.into()),
          help_heading = "Messages")]
    pipeline: u32,
    /// Send datagrams, a socket for each client.
    ///
    /// Lost, late, doubled and wrong ones are told apart.
    #[arg(long, conflicts_with_all = ["framing", "pipeline"], help_heading = "Messages")]
    udp: bool,

    /// Only say whether this machine can do it.
    #[arg(long, help_heading = "Report")]
    check: bool,
    /// An objective, as in 'p99<5ms'; repeatable.
    ///
    /// About p50, p99.9 and the like, min, mean, max, rate (messages a second) or, with --udp,
    /// loss (percent): 'max<1s', 'rate>10000', 'loss<0.1'. One that is missed is exit code 3.
    #[arg(long = "slo", value_name = "SLO", help_heading = "Report")]
    slos: Vec<Slo>,
    /// Write the report as JSON; - is standard output.
    ///
    /// There it takes the place of the text.
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    json: Option<PathBuf>,
    /// Print the JSON Schema of the JSON report, without a run.
    #[arg(long, help_heading = "Report")]
    json_schema: bool,
    /// Write the report as a page for a browser; - likewise.
    ///
    /// One file that needs no network.
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    html: Option<PathBuf>,

    /// Flags of `helloop serve`, for --spawn.
    #[arg(last = true, value_name = "SERVE-FLAGS", requires = "spawn")]
    serve_flags: Vec<String>,
}

/// Messages or connects per second.
fn rate(text: &str) -> Result<NonZeroU64, String> {
    between(text, 1, u64::MAX)
}

impl Stress {
    /// Checks that the flags are consistent. The error is a message for the user.
    pub(super) fn check_usage(&self) -> Result<(), String> {
        // The check does not depend on the address.
        let plan = self.plan(SocketAddr::from(([127, 0, 0, 1], 0)));
        plan.check()?;
        self.slos.iter().try_for_each(|slo| slo.check(&plan))
    }

    pub(super) fn run(&self) -> Result<u8, Failure> {
        if self.json_schema {
            print_line(to_json(&json_schema())?)?;
            return Ok(0);
        }
        let descriptors = system::raise_descriptor_limit();
        let interrupt = Interrupt::default();
        let to = if self.spawn {
            SocketAddr::from(([127, 0, 0, 1], 0))
        } else {
            resolve(&self.to)?
        };
        let mut plan = self.plan(to);
        let server_reserve = plan.server_flags.as_deref().map(reserved_descriptors);
        let findings = check::check(&plan, descriptors, server_reserve);
        if self.check {
            print_line(&findings)?;
            return Ok(u8::from(!findings.obstacles.is_empty()));
        }
        for warning in &findings.warnings {
            warn!("{warning}");
        }
        if !findings.obstacles.is_empty() {
            return Err(Failure::new(findings.obstacles.join("; ")));
        }
        // Opened before the run, so that a file that cannot be written does not lose a report.
        let files = self.open_files()?;
        interrupt.install().map_err(Failure::new)?;
        let spawned = self.start_server(&interrupt)?;
        let pid = match &spawned {
            Some(server) => {
                plan.to = server.address;
                Some(server.id())
            }
            None => local_server(&plan),
        };
        let progress = Progress::start();
        let mut show = |shared: &Shared, now| progress.show("", shared, now);
        let run = stress::run(plan, pid, &interrupt, &mut show)
            .map_err(|error| Failure::new(format_args!("cannot start: {error}")))?;
        interrupt.end_at_next_signal();
        progress.finish();
        if all_refused(&run.shared.counters) {
            return Err(Failure::new(format_args!(
                "no server listens at {to}: start one (`helloop serve --listen {to}`), or use \
                 --spawn to start one for the run"
            )));
        }
        let code = write_reports(&Report::new(&run, &self.slos), files)?;
        // Only logged: how the server ends does not change what was measured.
        let is_interrupted = || run.shared.interrupted;
        match spawned.map(|server| server.stop(&is_interrupted)) {
            Some(Ok(summary)) => info!("the server, with the warm-up: {summary}"),
            Some(Err(error)) => warn!("{error}"),
            None => {}
        }
        Ok(code)
    }

    fn plan(&self, to: SocketAddr) -> Plan {
        let transport = if self.udp {
            Transport::Udp
        } else {
            Transport::Tcp(self.framing.into())
        };
        let default_timeout = Duration::from_secs(if self.udp { 1 } else { 10 });
        Plan {
            to,
            transport,
            clients: self.clients,
            active: self.active.unwrap_or(self.clients),
            length: self
                .messages
                .map_or(Length::Time(self.duration), Length::Messages),
            warmup: self.warmup,
            pipeline: self.pipeline,
            rate: self.rate,
            connect_rate: self.connect_rate,
            timeout: self.timeout.unwrap_or(default_timeout),
            name: self.message_name(),
            sources: self
                .source
                .unwrap_or_else(|| SourceAddresses::default_for(to)),
            server_flags: self.server_flags(),
        }
    }

    fn message_name(&self) -> Vec<u8> {
        let number: &[u8] = if self.udp { b"00000000" } else { b"" };
        match &self.name {
            Some(name) => [name.as_bytes(), number].concat(),
            None => vec![b'x'; self.size],
        }
    }

    /// The flags of the server of `--spawn`.
    fn server_flags(&self) -> Option<Vec<String>> {
        let mut flags = self.spawn.then(|| self.serve_flags.clone())?;
        if !flags.iter().any(|flag| flag.starts_with("--framing")) {
            let framing = match self.framing {
                FramingName::Chunk => "chunk",
                FramingName::Line => "line",
            };
            flags.push(format!("--framing={framing}"));
        }
        Some(flags)
    }

    fn start_server(&self, interrupt: &Interrupt) -> Result<Option<SpawnedServer>, Failure> {
        let Some(flags) = self.server_flags() else {
            return Ok(None);
        };
        match SpawnedServer::start(&flags, interrupt) {
            Ok(server) => Ok(Some(server)),
            Err(error) => Err(Failure {
                message: error.to_string(),
                code: match error.kind() {
                    io::ErrorKind::Interrupted => EXIT_INTERRUPTED,
                    _ => 1,
                },
            }),
        }
    }

    fn open_files(&self) -> Result<Files, Failure> {
        let open = |path: &Option<PathBuf>| match path {
            Some(path) if path.as_os_str() == "-" => Ok(Output::Stdout),
            Some(path) => match File::create(path) {
                Ok(file) => Ok(Output::File(file, path.clone())),
                Err(error) => Err(cannot_write(path, &error)),
            },
            None => Ok(Output::None),
        };
        Ok(Files {
            json: open(&self.json)?,
            html: open(&self.html)?,
        })
    }
}

/// The destination of one format of the report.
#[derive(Debug)]
enum Output {
    /// Not wanted.
    None,
    /// Standard output, instead of the text report.
    Stdout,
    /// A file.
    File(File, PathBuf),
}

impl Output {
    /// Writes the contents, which are generated only if they are wanted.
    fn write(self, contents: impl FnOnce() -> String) -> Result<(), Failure> {
        match self {
            Self::None => Ok(()),
            Self::Stdout => print_line(contents()).map(drop),
            Self::File(mut file, path) => {
                writeln!(file, "{}", contents()).map_err(|error| cannot_write(&path, &error))
            }
        }
    }
}

#[derive(Debug)]
struct Files {
    json: Output,
    html: Output,
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format_args!("cannot write {}: {error}", path.display()))
}

fn write_reports(report: &Report, files: Files) -> Result<u8, Failure> {
    let is_stdout = |output: &Output| matches!(output, Output::Stdout);
    let text_wanted = !is_stdout(&files.json) && !is_stdout(&files.html);
    let json = to_json(report)?;
    files.json.write(|| json)?;
    files
        .html
        .write(|| html::render(&[NamedRun::unnamed(report.clone())]))?;
    if text_wanted {
        print_line(Text {
            report,
            columns: stdout_columns(),
            coloured: AutoStream::choice(&io::stdout()) != ColorChoice::Never,
        })?;
    }
    Ok(report.exit_code)
}

/// Whether every connect was refused.
fn all_refused(counters: &Counters) -> bool {
    let refused = counters.lost[LossCause::Refused];
    counters.answered_once == 0 && refused > 0 && refused == counters.all_lost()
}

/// The process that listens at a loopback address, to measure it. Any other address may be on
/// another machine.
fn local_server(plan: &Plan) -> Option<u32> {
    let findable = plan.to.ip().is_loopback() && plan.transport != Transport::Udp;
    findable
        .then(|| system::listening_process(plan.to))
        .flatten()
}

fn resolve(name: &str) -> Result<SocketAddr, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        Failure::new(format_args!(
            "cannot resolve {}: {why}; --to takes ADDRESS:PORT, as in 127.0.0.1:9999",
            name.escape_debug()
        ))
    };
    let mut addresses = name.to_socket_addrs().map_err(|error| failed(&error))?;
    addresses
        .next()
        .ok_or_else(|| failed(&"the host has no address"))
}
