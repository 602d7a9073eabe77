//! The report as text.
//!
//! **Owns** its words and columns. **Must never touch** a figure. **Invariant**: an unknown value
//! is `n/a`; text from a server is in quotes, and was escaped before.

use super::schema::{LatencyReport, ProcessReport, Report, SloReport};
use std::fmt;

/// The longest bar, so that its line fits 80 columns.
const BAR_COLUMNS: usize = 40;

/// Seconds that are listed; those of a longer run are sampled evenly.
const LISTED_SECONDS: usize = 20;

/// The report as text, without a final line ending.
impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_plan(self, out)?;
        write_clients(self, out)?;
        write_messages(self, out)?;
        write_latency(self, out)?;
        write_seconds(self, out)?;
        write_processes(self, out)?;
        write_verdict(self, out)
    }
}

fn write_plan(report: &Report, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let plan = &report.plan;
    let clients = plan.clients;
    write!(out, "load       {clients} clients")?;
    if plan.active < clients {
        write!(out, ", {} of them talking", plan.active)?;
    }
    write!(out, ", {}", plan.transport)?;
    if let Some(framing) = plan.framing {
        write!(out, ", {framing} framing")?;
    }
    write!(
        out,
        ", to {}, from {}",
        plan.to,
        count(plan.sources, "address", "addresses")
    )?;
    match plan.rate {
        None => write!(
            out,
            "\n           closed loop: each sends when its reply is whole; {} in flight",
            plan.pipeline
        )?,
        Some(rate) => write!(
            out,
            "\n           open loop: {rate} messages a second by a schedule; latency counts from \
             when each was due"
        )?,
    }
    writeln!(out, "; {} bytes each", plan.message_bytes)
}

fn write_clients(report: &Report, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let clients = &report.clients;
    writeln!(
        out,
        "clients    {} requested, {} connected, {} greeted, {} answered; {} at once at most; {} lost",
        clients.requested,
        clients.connected,
        clients.greeted,
        clients.answered,
        clients.peak,
        clients.lost
    )?;
    for (cause, lost) in &clients.lost_by_cause {
        writeln!(out, "           lost, {cause}: {lost}")?;
    }
    let words = [
        ("the server said", &clients.busy_words),
        ("instead of the welcome", &clients.wrong_welcome),
        ("instead of the reply", &clients.wrong_bytes),
        ("the system said", &clients.first_error),
    ];
    for (what, words) in words {
        if let Some(words) = words {
            writeln!(out, "           {what}: \"{words}\"")?;
        }
    }
    let connects = &report.connects;
    writeln!(
        out,
        "connects   {:.0} a second; p50 {}, p99 {}, max {}",
        connects.per_second,
        time(connects.latency.p50_us),
        time(connects.latency.p99_us),
        time(connects.latency.max_us)
    )
}

fn write_messages(report: &Report, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let messages = &report.messages;
    writeln!(
        out,
        "messages   {} sent, {} answered, {} not, in {:.2} s: {:.0} a second",
        messages.sent,
        messages.answered,
        messages.unanswered,
        messages.seconds,
        messages.per_second
    )?;
    writeln!(
        out,
        "           {} out, {} in",
        bytes(messages.bytes_out as f64),
        bytes(messages.bytes_in as f64)
    )?;
    if let Some(datagrams) = &report.datagrams {
        writeln!(
            out,
            "datagrams  {} lost, {} late, {} doubled, {} wrong",
            datagrams.lost, datagrams.late, datagrams.doubled, datagrams.wrong
        )?;
    }
    if let Some(served) = report.served {
        writeln!(
            out,
            "fairness   the best-served client had {} answered, the worst-served {}",
            served.best, served.worst
        )?;
    }
    Ok(())
}

fn write_latency(report: &Report, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(out, "latency    {}", percentiles(&report.latency))?;
    let buckets = &report.distribution;
    let largest = buckets.iter().map(|bucket| bucket.count).max();
    let (largest, samples) = (largest.unwrap_or(0).max(1), report.latency.samples.max(1));
    for bucket in buckets {
        let count = bucket.count as f64;
        let columns = (count / largest as f64 * BAR_COLUMNS as f64).round() as usize;
        // A bucket that is not empty has a bar.
        let columns = columns.max(usize::from(bucket.count > 0));
        writeln!(
            out,
            "  {:>8} {:<BAR_COLUMNS$} {:>6.2}%  {}",
            format!("<{}", time(Some(bucket.to_us))),
            "#".repeat(columns),
            count * 100.0 / samples as f64,
            bucket.count
        )?;
    }
    Ok(())
}

/// The percentiles on one line.
#[must_use]
pub(super) fn percentiles(latency: &LatencyReport) -> String {
    let columns = [
        ("min", latency.min_us),
        ("p50", latency.p50_us),
        ("p90", latency.p90_us),
        ("p99", latency.p99_us),
        ("p99.9", latency.p99_9_us),
        ("max", latency.max_us),
    ];
    columns
        .map(|(name, value)| format!("{name} {}", time(value)))
        .join("  ")
}

fn write_seconds(report: &Report, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let seconds = report.seconds.iter();
    let measured: Vec<_> = seconds.filter(|second| second.measured).collect();
    if measured.is_empty() {
        return Ok(());
    }
    let step = measured.len().div_ceil(LISTED_SECONDS);
    writeln!(out, "seconds    messages a second, p99, clients connected")?;
    for second in measured.iter().step_by(step) {
        writeln!(
            out,
            "  {:>7.1}s {:>12.0} {:>10} {:>8}",
            second.at_seconds,
            second.per_second,
            time(second.p99_us),
            second.connected
        )?;
    }
    Ok(())
}

fn write_processes(report: &Report, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    match &report.server {
        Some(server) => writeln!(out, "server     {}", process(server))?,
        None => writeln!(out, "server     n/a: its process is not known here")?,
    }
    let load = &report.load;
    match &load.process {
        Some(own) => writeln!(out, "this load  {}", process(own))?,
        None => writeln!(out, "this load  n/a")?,
    }
    write!(
        out,
        "           its loop came {} late on average, {} at most",
        time(Some(load.loop_lag_mean_us)),
        time(Some(load.loop_lag_max_us))
    )?;
    if report.plan.rate.is_some() {
        write!(
            out,
            "; behind its schedule {} on average, {} at most",
            time(Some(load.behind_mean_us)),
            time(Some(load.behind_max_us))
        )?;
    }
    writeln!(out)
}

fn process(process: &ProcessReport) -> String {
    format!(
        "{:.0}% of a processor, {} a message; {} resident, {} a client; {}, {} context switches",
        process.cpu_share * 100.0,
        time(process.cpu_us_per_message),
        bytes(process.resident_bytes as f64),
        process
            .bytes_per_client
            .map_or_else(|| "n/a".to_owned(), bytes),
        count(process.threads, "thread", "threads"),
        process.context_switches
    )
}

fn write_verdict(report: &Report, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    for slo in &report.slos {
        let met = match (slo.met, slo.measured) {
            (true, _) => "met",
            (false, Some(_)) => "MISSED",
            (false, None) => "MISSED: too few samples to tell",
        };
        writeln!(out, "slo        {}: {met}", slo.slo)?;
    }
    for shortcoming in &report.verdict.shortcomings {
        writeln!(out, "NOT ACHIEVED: {shortcoming}")?;
    }
    if report.interrupted {
        writeln!(out, "INTERRUPTED: this is what there was")?;
    }
    write!(out, "verdict    {}", report.verdict.words)
}

/// The measured value of an objective, in the unit of its metric.
#[must_use]
pub(in crate::stress) fn slo_value(slo: &SloReport) -> String {
    match (&slo.slo, slo.measured) {
        (_, None) => "too few samples".to_owned(),
        (text, Some(value)) if text.starts_with("loss") => format!("{value:.3}%"),
        (text, Some(value)) if text.starts_with("rate") => format!("{value:.0}/s"),
        (_, value) => time(value),
    }
}

/// The number with its unit: `1 address`, `2 addresses`.
#[must_use]
pub(in crate::stress) fn count(number: impl Into<u64>, one: &str, many: &str) -> String {
    let number = number.into();
    let unit = if number == 1 { one } else { many };
    format!("{number} {unit}")
}

/// A time with three significant digits.
#[must_use]
pub(in crate::stress) fn time(microseconds: Option<f64>) -> String {
    let Some(value) = microseconds else {
        return "n/a".to_owned();
    };
    let (value, unit) = match value {
        value if value < 1.0 => (value * 1e3, "ns"),
        value if value < 1e3 => (value, "us"),
        value if value < 1e6 => (value / 1e3, "ms"),
        value => (value / 1e6, "s"),
    };
    format!("{}{unit}", three_digits(value))
}

/// A size with three significant digits.
#[must_use]
pub(in crate::stress) fn bytes(value: f64) -> String {
    let (value, unit) = match value {
        value if value < 10_000.0 => return format!("{value:.0} B"),
        value if value < 1_048_576.0 => (value / 1_024.0, "KiB"),
        value if value < 1_073_741_824.0 => (value / 1_048_576.0, "MiB"),
        value => (value / 1_073_741_824.0, "GiB"),
    };
    format!("{} {unit}", three_digits(value))
}

fn three_digits(value: f64) -> String {
    let digits = match value {
        value if value >= 100.0 || value == value.trunc() => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_three_digits_and_a_unit() {
        let times = [0.25, 1.0, 20.5, 999.0, 1_500.0, 2e6].map(|value| time(Some(value)));
        assert_eq!(times, ["250ns", "1us", "20.5us", "999us", "1.50ms", "2s"]);
        assert_eq!(time(None), "n/a");
        let sizes = [0.0, 48.0, 10_240.0, 1.5 * 1_048_576.0].map(bytes);
        assert_eq!(sizes, ["0 B", "48 B", "10 KiB", "1.50 MiB"]);
    }
}
