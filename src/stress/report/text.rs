//! The report as text.
//!
//! **Owns** its words, columns and colours. **Must never touch** a figure. **Invariant**: an unknown
//! value is `n/a`; text from a server is in quotes, and was escaped before. Without a width nothing is
//! folded, so that a file or a pipe has one line per fact.

use super::fold::{Lines, Tone};
use super::schema::{LatencyReport, Messages, PlanReport, ProcessReport, Report, SloReport};
use crate::units::{bytes, count, time};
use std::fmt;

/// The longest bar of the histogram.
const BAR_COLUMNS: usize = 40;

/// The columns of the histogram beside the bar: indentation, bound, share and a count of 10 digits.
const HISTOGRAM_COLUMNS: usize = 31;

/// Seconds that are listed; those of a longer run are sampled evenly.
const LISTED_SECONDS: usize = 20;

/// The report as text for a file or a pipe, without a final line ending.
impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Text {
            report: self,
            columns: None,
            coloured: false,
        };
        text.fmt(out)
    }
}

/// The report as text, without a final line ending.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    /// The report.
    pub report: &'a Report,
    /// The width to fold the lines to; `None`: they are not folded.
    pub columns: Option<usize>,
    /// Whether the verdict and the objectives are coloured.
    pub coloured: bool,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        let mut lines = Lines::default();
        add_plan(&report.plan, &mut lines);
        add_clients(report, &mut lines);
        if report.plan.active > 0 {
            add_messages(report, &mut lines);
            add_latency(report, self.columns, &mut lines);
        }
        add_seconds(report, &mut lines);
        add_processes(report, &mut lines);
        add_verdict(report, &mut lines);
        lines.write(self.columns, self.coloured, out)
    }
}

fn add_plan(plan: &PlanReport, lines: &mut Lines) {
    let active = match plan.active {
        active if active == plan.clients => String::new(),
        0 => ", all idle".to_owned(),
        active => format!(", {active} of them send"),
    };
    let framing = plan
        .framing
        .map_or_else(String::new, |framing| format!(", {framing} framing"));
    lines.add(
        "load",
        format!(
            "{}{active}, {}{framing}, to {}, from {}",
            count(plan.clients, "client", "clients"),
            plan.transport,
            plan.to,
            count(plan.sources, "source address", "source addresses")
        ),
    );
    if plan.active > 0 {
        let kind = match plan.rate {
            None => format!(
                "closed loop: a client sends when its last reply is complete; {} in flight per \
                 client",
                plan.pipeline
            ),
            Some(rate) => format!(
                "open loop: {rate} messages/s on a schedule; latency counts from when a message is \
                 due"
            ),
        };
        let size = count(plan.message_bytes as u64, "byte", "bytes");
        lines.more(format!("{kind}; {size} per message"));
    }
    if let Some(flags) = &plan.server_flags {
        lines.more(format!("server flags: {}", command_line(flags)));
    }
}

/// Arguments as a shell would take them, those with unusual characters in quotes.
fn command_line(arguments: &[String]) -> String {
    let is_plain = |character: char| character.is_ascii_graphic() && !"'\"\\$`".contains(character);
    let quoted = arguments.iter().map(|argument| {
        if !argument.is_empty() && argument.chars().all(is_plain) {
            argument.clone()
        } else {
            format!("'{}'", argument.escape_debug())
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn add_clients(report: &Report, lines: &mut Lines) {
    let clients = &report.clients;
    let is_udp = report.datagrams.is_some();
    // A UDP client is open at once, and no server welcomes it.
    let reached = if is_udp {
        format!("{} opened", clients.connected)
    } else {
        format!(
            "{} connected, {} greeted",
            clients.connected, clients.greeted
        )
    };
    lines.add(
        "clients",
        format!(
            "{} requested, {reached}, {} sent, {} answered; peak {}, {} lost",
            clients.requested, clients.sent, clients.answered, clients.peak, clients.lost
        ),
    );
    for (cause, lost) in &clients.lost_by_cause {
        lines.more(format!("lost, {cause}: {lost}"));
    }
    let words = [
        ("the server said", &clients.busy_words),
        ("instead of the welcome", &clients.wrong_welcome),
        ("instead of the reply", &clients.wrong_bytes),
        ("the system said", &clients.first_error),
    ];
    for (what, words) in words {
        if let Some(words) = words {
            lines.more(format!("{what}: \"{words}\""));
        }
    }
    let connects = &report.connects;
    if !is_udp {
        lines.add(
            "connects",
            format!(
                "{:.0}/s; p50 {}, p99 {}, max {}",
                connects.per_second,
                time(connects.latency.p50_us),
                time(connects.latency.p99_us),
                time(connects.latency.max_us)
            ),
        );
    }
}

fn add_messages(report: &Report, lines: &mut Lines) {
    let messages = &report.messages;
    let due = messages
        .due
        .map_or_else(String::new, |due| format!("{due} due, "));
    let never_sent = match messages.not_sent {
        0 => String::new(),
        not_sent => format!("{not_sent} never sent, "),
    };
    let in_flight = if report.interrupted {
        format!(", {} in flight", messages.in_flight)
    } else {
        String::new()
    };
    lines.add(
        "messages",
        format!(
            "{due}{} sent, {never_sent}{} answered, {}{in_flight}",
            messages.sent,
            messages.answered,
            unanswered(messages)
        ),
    );
    lines.more(format!(
        "{} sent, {} received{}",
        bytes(messages.bytes_out as f64),
        bytes(messages.bytes_in as f64),
        if messages.seconds == 0.0 {
            ", before anything was measured"
        } else if messages.warmup_replies > 0 {
            " since the warm-up, with the replies to its messages"
        } else {
            ""
        }
    ));
    lines.add("rate", rate(messages, report.plan.rate));
    if let Some(datagrams) = &report.datagrams {
        lines.add(
            "datagrams",
            format!(
                "{} lost, {} late, {} duplicate, {} wrong",
                datagrams.lost, datagrams.late, datagrams.duplicate, datagrams.wrong
            ),
        );
    }
    if let Some(served) = report.served.filter(|served| served.best > 0) {
        lines.add(
            "fairness",
            format!(
                "messages answered per client: {} at best, {} at worst",
                served.best, served.worst
            ),
        );
    }
}

fn unanswered(messages: &Messages) -> String {
    let lost = messages.unanswered.saturating_sub(messages.timed_out);
    let mut text = format!("{} unanswered", messages.unanswered);
    if messages.unanswered > 0 {
        text += &format!(
            " ({} timed out, {lost} lost with a client)",
            messages.timed_out
        );
    }
    text
}

fn rate(messages: &Messages, requested: Option<u64>) -> String {
    let Messages {
        per_second,
        replies,
        warmup_replies,
        seconds,
        ..
    } = messages;
    let achieved = match requested {
        None => format!("{per_second:.0}/s"),
        Some(requested) => format!(
            "{per_second:.0}/s achieved of {requested}/s requested ({:.1}%)",
            per_second * 100.0 / requested.max(1) as f64
        ),
    };
    // The others of the window are to measured messages.
    let later = (messages.answered + warmup_replies).saturating_sub(*replies);
    let mut apart = Vec::new();
    if *warmup_replies > 0 {
        apart.push(format!("{warmup_replies} of them to warm-up messages"));
    }
    if later > 0 {
        apart.push(format!("{later} more came after it"));
    }
    let apart = if apart.is_empty() {
        String::new()
    } else {
        format!(" ({})", apart.join("; "))
    };
    let replies = count(*replies, "reply", "replies");
    format!("{achieved}: {replies} in {seconds:.2}s{apart}")
}

fn add_latency(report: &Report, columns: Option<usize>, lines: &mut Lines) {
    let latency = &report.latency;
    lines.add("latency", named_times(&extremes(latency)));
    lines.more(named_times(&quantiles(latency)));
    let unanswered = latency.samples.saturating_sub(report.messages.answered);
    if unanswered > 0 {
        lines.more(format!(
            "{} with the time until the timeout",
            count(
                unanswered,
                "message without a reply is included",
                "messages without a reply are included"
            )
        ));
    }
    // Of the messages that were never sent, those behind one that timed out are samples.
    let stalled = unanswered.saturating_sub(report.messages.timed_out);
    let left_out = report.messages.not_sent.saturating_sub(stalled);
    if left_out > 0 {
        lines.more(format!(
            "{} not included",
            count(
                left_out,
                "message that was never sent is",
                "messages that were never sent are"
            )
        ));
    }
    let buckets = &report.distribution;
    let largest = buckets.iter().map(|bucket| bucket.count).max();
    let (largest, samples) = (largest.unwrap_or(0).max(1), latency.samples.max(1));
    let room = columns.map_or(BAR_COLUMNS, |columns| {
        columns
            .saturating_sub(HISTOGRAM_COLUMNS)
            .clamp(1, BAR_COLUMNS)
    });
    for bucket in buckets {
        let count = bucket.count as f64;
        let columns = (count / largest as f64 * room as f64).round() as usize;
        // A bucket that is not empty has a bar.
        let columns = columns.max(usize::from(bucket.count > 0));
        lines.row(format!(
            "  {:>8} {:<room$} {:>6.2}%  {}",
            format!("<{}", time(Some(bucket.to_us))),
            "#".repeat(columns),
            count * 100.0 / samples as f64,
            bucket.count
        ));
    }
}

fn extremes(latency: &LatencyReport) -> [(&'static str, Option<f64>); 3] {
    [
        ("min", latency.min_us),
        ("mean", latency.mean_us),
        ("max", latency.max_us),
    ]
}

fn quantiles(latency: &LatencyReport) -> [(&'static str, Option<f64>); 7] {
    [
        ("p50", latency.p50_us),
        ("p75", latency.p75_us),
        ("p90", latency.p90_us),
        ("p95", latency.p95_us),
        ("p99", latency.p99_us),
        ("p99.9", latency.p99_9_us),
        ("p99.99", latency.p99_99_us),
    ]
}

fn named_times(columns: &[(&str, Option<f64>)]) -> String {
    let columns = columns
        .iter()
        // A name and its value stay on one line.
        .map(|(name, value)| format!("{name}\u{a0}{}", time(*value)));
    columns.collect::<Vec<_>>().join("  ")
}

fn add_seconds(report: &Report, lines: &mut Lines) {
    let seconds = report.seconds.iter();
    let measured: Vec<_> = seconds.filter(|second| second.measured).collect();
    if measured.is_empty() {
        return;
    }
    let step = measured.len().div_ceil(LISTED_SECONDS);
    lines.add("seconds", "replies/s, p99, clients connected".to_owned());
    for second in measured.iter().step_by(step) {
        lines.row(format!(
            "  {:>7.1}s {:>9.0} {:>9} {:>8}",
            second.at_seconds,
            second.per_second,
            time(second.p99_us),
            second.connected
        ));
    }
}

fn add_processes(report: &Report, lines: &mut Lines) {
    let load = &report.load;
    let (server, own) = (report.server.as_ref(), load.process.as_ref());
    let unknown = match own {
        Some(_) => "n/a: its process is not known here",
        None => "n/a: this system does not report the CPU time and memory of a process",
    };
    lines.add("server", server.map_or_else(|| unknown.to_owned(), process));
    lines.add(
        "load generator",
        own.map_or_else(|| "n/a".to_owned(), process),
    );
    // Without a single late tick or message none was measured: a clock is never that exact.
    let lag = |mean, max| match max {
        0.0 => "n/a".to_owned(),
        _ => format!("mean {}, max {}", time(Some(mean)), time(Some(max))),
    };
    let mut lateness = format!(
        "event-loop lag: {}",
        lag(load.loop_lag_mean_us, load.loop_lag_max_us)
    );
    if report.plan.rate.is_some() {
        lateness += &format!(
            "; behind its schedule: {}",
            lag(load.behind_mean_us, load.behind_max_us)
        );
    }
    lines.more(lateness);
}

fn process(process: &ProcessReport) -> String {
    let per_client = process
        .bytes_per_client
        .map_or_else(|| "n/a".to_owned(), bytes);
    format!(
        "{:.0}% of one CPU, {} per message; {} resident, {per_client} per client; {}, {}",
        process.cpu_share * 100.0,
        time(process.cpu_us_per_message),
        bytes(process.resident_bytes as f64),
        count(process.threads, "thread", "threads"),
        count(
            process.context_switches,
            "context switch",
            "context switches"
        )
    )
}

fn add_verdict(report: &Report, lines: &mut Lines) {
    for slo in &report.slos {
        let tone = if slo.met { Tone::Good } else { Tone::Bad };
        lines.toned(tone, "slo", objective(slo));
    }
    for shortcoming in &report.verdict.shortcomings {
        lines.toned(Tone::Bad, "NOT ACHIEVED", shortcoming.clone());
    }
    let verdict = &report.verdict;
    let tone = match () {
        () if !verdict.shortcomings.is_empty() => Tone::Bad,
        () if verdict.limited_by_client || report.interrupted => Tone::Doubtful,
        () => Tone::Good,
    };
    lines.toned(tone, "verdict", verdict.words.clone());
}

/// The objective, whether it was met, and the measured value.
pub(in crate::stress) fn objective(slo: &SloReport) -> String {
    let name = slo.slo.split(['<', '>']).next();
    let measured = slo.measured.map(|value| match name {
        Some("rate") => format!("{value:.0}/s"),
        Some("loss") => format!("{value:.3}%"),
        _ => time(Some(value)),
    });
    let measured = measured.unwrap_or_else(|| "too few samples to tell".to_owned());
    let met = if slo.met { "met" } else { "missed" };
    format!("{}: {met} ({measured})", slo.slo)
}

#[cfg(test)]
mod tests;
