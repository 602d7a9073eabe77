//! `helloop stress`.
//!
//! **Owns** the flags of the load generator, where its reports go, and the server that it may start.
//! **Must never touch** a client. **Invariant**: standard output receives one report and nothing
//! else.

use super::destination::{self, Destination, Layout, print_lines};
use super::serve::{FramingName, reserved_descriptors};
use super::values::{address, between, duration, nonzero_duration, positive};
use super::{Failure, print_line, to_json};
use crate::net::system;
use crate::stress::check;
use crate::stress::child::SpawnedServer;
use crate::stress::connect::SourceAddresses;
use crate::stress::find_rate::RateSearch;
use crate::stress::plan::{Length, MAX_PIPELINED_MESSAGES, Plan, Transport};
use crate::stress::report::text::Text;
use crate::stress::report::{NamedRun, Report, html, json_schema};
use crate::stress::signals::{EXIT_INTERRUPTED, Interrupt};
use crate::stress::slo::Slo;
use crate::stress::{self, Shared, progress::Progress};
use clap::Args;
use log::{info, warn};
use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

/// Load-test a server, and report whether to believe the figures.
///
/// Clients connect, read the welcome and keep sending names; every byte of every reply is checked.
/// Ctrl-C ends the run and reports what was measured so far; a second one ends the program at once.
///
/// Exit codes: 0 the load ran as requested; 1 could not start, or could not write a report, whatever
/// the load showed; 2 wrong usage; 3 an --slo was missed; 4 the load was not as requested (fewer
/// clients, lost clients, wrong bytes, a missed --rate); 130 interrupted.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    helloop stress --spawn --clients 10k                # start a server, load it\n  \
    helloop stress --clients 1000 --rate 20k --slo 'p99<5ms'\n  \
    helloop stress --active 100 --clients 19000 --html run.html\n  \
    helloop stress --udp --clients 100                  # datagrams\n  \
    helloop stress --check --clients 50000              # can this machine do it?\n  \
    helloop stress --spawn --clients 500 -- --delay 1s  # flags for the server")]
pub(super) struct Stress {
    /// Server address.
    #[arg(
        long,
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:9999",
        value_parser = address,
        help_heading = "Server"
    )]
    to: String,
    /// Start a server for the run; its flags follow --.
    ///
    /// It runs as a separate process on a free port, and is drained after the run.
    #[arg(long, conflicts_with = "to", help_heading = "Server")]
    spawn: bool,
    /// Clients to connect.
    #[arg(long, value_name = "N", default_value = "100",
          value_parser = |text: &str| between::<u32>(text, 1, 10_000_000), help_heading = "Load")]
    clients: u32,
    /// Clients that send; others stay idle [default: all]
    #[arg(long, value_name = "K", value_parser = |text: &str| between::<u32>(text, 0, u32::MAX.into()),
          help_heading = "Load")]
    active: Option<u32>,
    /// Measured time.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = nonzero_duration,
          help_heading = "Load")]
    duration: Duration,
    /// Messages to measure, instead of --duration.
    #[arg(long, value_name = "M", value_parser = positive, conflicts_with = "duration",
          help_heading = "Load")]
    messages: Option<u64>,
    /// Time under load before the measurement.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration,
          help_heading = "Load")]
    warmup: Duration,
    /// Open loop: messages per second [default: closed]
    ///
    /// Of all clients together, on a schedule. Latency then counts from when a message was due,
    /// sent or not. In a closed loop, each client sends when its last reply is complete.
    #[arg(long, value_name = "R", value_parser = rate, help_heading = "Load")]
    rate: Option<NonZeroU64>,
    /// Find the highest rate that meets every --slo.
    ///
    /// Runs in the open loop, in steps: four times the rate until one is missed, then bisection
    /// to within 5%. Each step measures for --duration, or longer if a percentile needs more
    /// samples. A rate that is missed is tried once more. Needs --slo; excludes --rate, --messages,
    /// --check and --html.
    #[arg(long, conflicts_with_all = ["rate", "messages", "check", "html"], help_heading = "Load")]
    find_rate: bool,
    /// Connects per second [default: no limit]
    ///
    /// Without a limit, clients connect as fast as the server greets them.
    #[arg(long, value_name = "R", value_parser = rate, help_heading = "Load")]
    connect_rate: Option<NonZeroU64>,
    /// Timeout of a reply [default: 10s; with --udp 1s]
    ///
    /// Also of the connect and of the welcome.
    #[arg(long, value_name = "TIME", value_parser = nonzero_duration, help_heading = "Load")]
    timeout: Option<Duration>,
    /// Source addresses, such as 10.0.0.16/28
    ///
    /// Addresses of this machine, used by 1,000 clients each: one address has only some 28,000
    /// ports per server. The default is 127.0.0.0/8 if the server is on loopback (Linux only);
    /// otherwise the system chooses one address.
    #[arg(long, value_name = "CIDR", help_heading = "Load")]
    source: Option<SourceAddresses>,

    /// Bytes per name.
    ///
    /// With --udp, the last 8 are a sequence number.
    #[arg(long, value_name = "SIZE", default_value = "16",
          value_parser = |text: &str| between::<usize>(text, 0, 65_536), help_heading = "Messages")]
    size: usize,
    /// Name to send, instead of --size bytes.
    ///
    /// With --udp, a sequence number of 8 digits is appended.
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with = "size",
        help_heading = "Messages"
    )]
    name: Option<OsString>,
    /// What delimits a message.
    ///
    /// Must match the server's; --spawn passes it on.
    #[arg(
        long,
        value_enum,
        value_name = "chunk|line",
        default_value_t,
        help_heading = "Messages"
    )]
    framing: FramingName,
    /// Messages in flight per client.
    ///
    /// More than 1 requires --framing line. In a closed loop, each client sends this many at once; in
    /// an open loop, this many may be unanswered.
    #[arg(long, value_name = "P", default_value = "1",
          value_parser = |text: &str| between::<u32>(text, 1, MAX_PIPELINED_MESSAGES.into()),
          help_heading = "Messages")]
    pipeline: u32,
    /// Send datagrams, from one socket per client.
    ///
    /// Counts lost, late, duplicate and wrong replies.
    #[arg(long, conflicts_with_all = ["framing", "pipeline"], help_heading = "Messages")]
    udp: bool,

    /// Only check that this machine can run the load.
    #[arg(long, help_heading = "Report")]
    check: bool,
    /// Objective, such as 'p99<5ms'; repeatable.
    ///
    /// On a percentile (p50, p99.9), min, mean, max, rate (messages per second) or, with --udp, loss
    /// (percent): 'max<1s', 'rate>10000', 'loss<0.1'. The exit code is 3 if one is missed.
    #[arg(long = "slo", value_name = "SLO", help_heading = "Report")]
    slos: Vec<Slo>,
    /// Write the report as JSON; - for stdout.
    ///
    /// On standard output it replaces the text report. An earlier file is replaced when the run has
    /// ended, and kept if it cannot start.
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    json: Option<PathBuf>,
    /// Print the JSON Schema of the JSON report, and exit.
    #[arg(long, help_heading = "Report")]
    json_schema: bool,
    /// Write the report as HTML; - for stdout.
    ///
    /// One self-contained file. On standard output it replaces the text report.
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
        let is_listen = |flag: &String| flag == "--listen" || flag.starts_with("--listen=");
        if self.serve_flags.iter().any(is_listen) {
            return Err(
                "--listen after -- cannot be used with --spawn, whose server listens on a free port: \
                 start a server there, and give --to ADDR:PORT instead"
                    .to_owned(),
            );
        }
        if self.find_rate {
            RateSearch::check(&self.slos)?;
        }
        // The check does not depend on the address.
        let plan = self.plan(SocketAddr::from(([127, 0, 0, 1], 0)));
        plan.check()?;
        self.slos.iter().try_for_each(|slo| slo.check(&plan))?;
        destination::check(self.json.as_deref(), self.html.as_deref())
    }

    /// The arguments of the server of --spawn, if it is given.
    pub(super) fn server_arguments(&self) -> Option<Vec<String>> {
        let command = ["helloop", "serve"].map(ToOwned::to_owned);
        Some([&command[..], &self.server_flags()?].concat())
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
        let files = self.prepare_files()?;
        interrupt.install().map_err(Failure::new)?;
        let spawned = self.start_server(&interrupt)?;
        let pid = match &spawned {
            Some(server) => {
                plan.to = server.address;
                Some(server.id())
            }
            None => local_server(&plan),
        };
        if self.find_rate {
            return self.find(&plan, pid, spawned, &interrupt, files.json);
        }
        let progress = Progress::start();
        let mut show = |shared: &Shared, now| progress.show("", shared, now);
        let run = stress::run(plan, pid, &interrupt, &mut show)
            .map_err(|error| Failure::new(format_args!("cannot start: {error}")))?;
        interrupt.end_at_next_signal();
        progress.finish();
        if run.shared.counters.all_refused() {
            return Err(no_server(to));
        }
        let code = write_reports(&Report::new(&run, &self.slos), files);
        // Only logged: how the server ends does not change what was measured.
        let is_interrupted = || run.shared.interrupted;
        match spawned.map(|server| server.stop(&is_interrupted)) {
            Some(Ok(summary)) => info!("the server, with the warm-up: {summary}"),
            Some(Err(error)) => warn!("{error}"),
            None => {}
        }
        code
    }

    /// Searches for the highest rate that meets the objectives, with one server for all steps.
    fn find(
        &self,
        plan: &Plan,
        pid: Option<u32>,
        spawned: Option<SpawnedServer>,
        interrupt: &Interrupt,
        json: Destination,
    ) -> Result<u8, Failure> {
        let progress = Progress::start();
        let found = RateSearch::new(
            plan,
            &self.slos,
            pid,
            interrupt,
            &mut |step, shared, now| {
                progress.show(&format!("{step}: "), shared, now);
            },
        )
        .map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => no_server(plan.to),
            _ => Failure::new(format_args!("cannot start: {error}")),
        })?;
        interrupt.end_at_next_signal();
        progress.finish();
        let text_wanted = !json.is_stdout();
        let written = to_json(&found).and_then(|data| json.write(|| data));
        if text_wanted {
            print_lines(&found.lines())?;
        }
        written?;
        drop(spawned);
        Ok(found.exit_code)
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
            Some(name) => [name.as_encoded_bytes(), number].concat(),
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

    /// Checks before the run that each file can be written, so that no report is lost.
    fn prepare_files(&self) -> Result<Files, Failure> {
        Ok(Files {
            json: Destination::prepare(self.json.as_deref())?,
            html: Destination::prepare(self.html.as_deref())?,
        })
    }
}

#[derive(Debug)]
struct Files {
    json: Destination,
    html: Destination,
}

/// Writes every format of the report, even if another cannot be written, and returns the exit code.
/// A report that is missing takes precedence over what the load showed: a script that reads the file
/// must not take an earlier report for this one.
fn write_reports(report: &Report, files: Files) -> Result<u8, Failure> {
    let text_wanted = !files.json.is_stdout() && !files.html.is_stdout();
    let json = to_json(report).and_then(|json| files.json.write(|| json));
    let page = || html::render(&[NamedRun::unnamed(report.clone())]);
    let html = files.html.write(page);
    let text = match text_wanted {
        true => print_report(report),
        false => Ok(()),
    };
    destination::all([json, html, text]).map(|()| report.exit_code)
}

fn print_report(report: &Report) -> Result<(), Failure> {
    let Layout { columns, coloured } = Layout::of_stdout();
    print_line(Text {
        report,
        columns,
        coloured,
    })
    .map(drop)
}

fn no_server(to: SocketAddr) -> Failure {
    Failure::new(format_args!(
        "no server listens at {to}: start one (`helloop serve --listen {to}`), or use --spawn to start \
         one for the run"
    ))
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
