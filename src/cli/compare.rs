//! `helloop compare`.
//!
//! **Owns** the flags of the command. **Must never touch** a run. **Invariant**: a model that
//! cannot hold the clients is a row of the table, not a failure.

use super::destination::{Destination, Layout, print_lines};
use super::serve::reserved_descriptors;
use super::values::{between, nonzero_duration};
use super::{Failure, to_json};
use crate::net::system;
use crate::protocol::greeting::Framing;
use crate::stress::check;
use crate::stress::compare::Comparison;
use crate::stress::connect::SourceAddresses;
use crate::stress::plan::{Length, Plan, Transport};
use crate::stress::progress::Progress;
use crate::stress::signals::{EXIT_INTERRUPTED, Interrupt};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Compare the event loop with a thread per client.
///
/// Each run starts a server of its own, under the same load. The models alternate, round by round,
/// first without a delay, then with one. Reports medians side by side, with their spread.
///
/// Exit codes: 0 compared, even if a model cannot hold the clients (its row says so); 1 could not
/// start; 2 wrong usage; 130 interrupted.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    helloop compare                                         # some 90 seconds\n  \
    helloop compare --clients 200 --duration 3s --rounds 1  # a first look\n  \
    helloop compare --clients 5000 --duration 10s --rounds 5")]
pub(super) struct Compare {
    /// Clients per run.
    #[arg(long, value_name = "N", default_value = "1000",
          value_parser = |text: &str| between::<u32>(text, 1, 10_000_000))]
    clients: u32,
    /// Measured time per run.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = nonzero_duration)]
    duration: Duration,
    /// Runs per model and delay.
    #[arg(long, value_name = "N", default_value = "3",
          value_parser = |text: &str| between::<u32>(text, 1, 1_000))]
    rounds: u32,
    /// Delay per reply in the second table.
    ///
    /// The tutorial's server sleeps for 1s.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = nonzero_duration)]
    delay: Duration,
    /// Write the figures as JSON; - for stdout.
    ///
    /// On standard output they replace the tables.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How long clients send before the measurement begins: the default of `stress`.
const WARMUP: Duration = Duration::from_secs(1);

/// The timeout of a reply, in addition to the delay: the default of `stress`.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The length of a name, in bytes: the default of `stress`.
const NAME_BYTES: usize = 16;

impl Compare {
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let descriptors = system::raise_descriptor_limit();
        let to = SocketAddr::from(([127, 0, 0, 1], 0));
        let plan = Plan {
            to,
            transport: Transport::Tcp(Framing::Chunk),
            clients: self.clients,
            active: self.clients,
            length: Length::Time(self.duration),
            warmup: WARMUP,
            pipeline: 1,
            rate: None,
            connect_rate: None,
            timeout: self.delay.saturating_add(TIMEOUT),
            name: vec![b'x'; NAME_BYTES],
            sources: SourceAddresses::default_for(to),
            server_flags: None,
        };
        let findings = check::check(&plan, descriptors, Some(reserved_descriptors(&[])));
        if !findings.obstacles.is_empty() {
            return Err(Failure::new(findings.obstacles.join("; ")));
        }
        let json = Destination::prepare(self.json.as_deref())?;
        let interrupt = Interrupt::default();
        interrupt.install().map_err(Failure::new)?;
        let progress = Progress::start();
        let comparison = Comparison::new(
            &plan,
            &[Duration::ZERO, self.delay],
            self.rounds,
            &interrupt,
            &mut |run, shared, now| progress.show_run(run, shared, now),
        )
        .map_err(|error| Failure::new(format_args!("cannot start: {error}")))?;
        interrupt.end_at_next_signal();
        progress.finish();
        let text_wanted = !json.is_stdout();
        let written = to_json(&comparison).and_then(|data| json.write(|| data));
        if text_wanted {
            print_lines(&comparison.lines(Layout::of_stdout().columns))?;
        }
        written?;
        Ok(if comparison.interrupted {
            EXIT_INTERRUPTED
        } else {
            0
        })
    }
}
