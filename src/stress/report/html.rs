//! The report as an HTML page, of one run or of several.
//!
//! **Owns** the page: text, style and charts in one file. **Must never touch** the network: the
//! page refers to no other file, so that it can be archived and sent. **Invariant**: all text
//! that is not a constant of this program is escaped; the policy in the page forbids every request.
//!
//! The charts are drawn by uPlot (`uplot/`, with its licence) as `page.js` says. Without scripts
//! the page still has all figures.

use super::charts;
use super::figures::{self, Difference, NamedRun};
use super::schema::{Report, SecondReport};
use super::side_by_side::{describe, letter, ratio, spread, value};
use super::text::objective;
use crate::protocol::escape::escape as visible;
use crate::units::time;
use std::fmt::{self, Write as _};

/// What the page may do: run its own script and apply its own style, and nothing else.
const POLICY: &str =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:";

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const UPLOT: &str = include_str!("uplot/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("uplot/uPlot.min.css");
const UPLOT_LICENCE: &str = include_str!("uplot/LICENSE");

/// The seconds in the table of a run; those of a longer run are sampled evenly.
const LISTED_SECONDS: usize = 1_000;

/// The width of the text report in the page.
const TEXT_COLUMNS: usize = 80;

/// A chart: its id in `page.js`, its title, and what it shows.
const CHARTS: [(&str, &str, &str); 6] = [
    (
        "percentiles",
        "Latency by percentile",
        "From when a message was sent (closed loop) or due (open loop) to its reply. The curve ends \
         where fewer than 10 samples exceed it.",
    ),
    ("rate", "Messages per second", "Replies in each second."),
    (
        "latency",
        "Latency over time",
        "Of the replies in each second; a percentile that too few of them exceed has a gap.",
    ),
    ("clients", "Clients connected", "At the end of each second."),
    (
        "cpu",
        "CPU",
        "Of the server's process, where it is known, and of the load generator's: 100% is one full \
         CPU.",
    ),
    (
        "lag",
        "Event-loop lag of the load generator",
        "How late its loop ran its ticks. Latencies are this uncertain.",
    ),
];

/// The page.
#[must_use]
pub(crate) fn render(runs: &[NamedRun]) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = write_page(runs, &mut page);
    page
}

fn write_page(runs: &[NamedRun], out: &mut String) -> fmt::Result {
    let title = match runs {
        [run] => one_title(&run.report),
        runs => format!("helloop stress: {} runs side by side", runs.len()),
    };
    let title = escape_html(&title);
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>\n{UPLOT_STYLE}\n{STYLE}</style>\n</head>\n<body>\n\
         <main>\n<h1>{title}</h1>"
    )?;
    for (number, run) in runs.iter().enumerate() {
        write_summary(number, run, runs.len(), out)?;
    }
    if runs.len() > 1 {
        write_comparison(runs, out)?;
    }
    writeln!(
        out,
        "<p class=\"hint\">Point at a chart: the crosshair is at the same second in all charts over \
         time. Drag to zoom, double-click to zoom out. Grey: connecting and warming up, before \
         anything counts.</p>\n<noscript><p>The charts need JavaScript. All figures are below.</p>\
         </noscript>"
    )?;
    for (id, title, note) in CHARTS {
        writeln!(
            out,
            "<figure id=\"{id}\"><figcaption><h2>{title}</h2><p>{note}</p>\
             <ul class=\"legend\"></ul></figcaption>\
             <div class=\"chart\" role=\"img\" aria-label=\"{title}\"></div></figure>"
        )?;
    }
    for (number, run) in runs.iter().enumerate() {
        write_report(number, run, runs.len(), out)?;
    }
    writeln!(
        out,
        "<details><summary>Licence of uPlot, which draws the charts</summary>\n<pre tabindex=\"0\" \
         role=\"region\" aria-label=\"licence\">{}</pre>\
         </details>\n</main>\n\
         <script type=\"application/json\" id=\"data\">{}</script>\n\
         <script>\n{UPLOT}\n</script>\n<script>\n{SCRIPT}</script>\n</body>\n</html>",
        escape_html(UPLOT_LICENCE),
        charts::json(runs)
    )
}

fn one_title(report: &Report) -> String {
    let plan = &report.plan;
    format!(
        "helloop stress: {} clients, {}, {} loop, to {}",
        plan.clients, plan.transport, plan.kind, plan.to
    )
}

/// `A: ` where there are several runs.
fn prefix(number: usize, runs: usize) -> String {
    if runs > 1 {
        format!("{}: ", letter(number))
    } else {
        String::new()
    }
}

fn write_summary(number: usize, run: &NamedRun, runs: usize, out: &mut String) -> fmt::Result {
    let report = &run.report;
    let good = report.verdict.achieved && !report.verdict.limited_by_client && !report.interrupted;
    let mut lines = describe(report);
    let verdict = lines.pop().unwrap_or_default();
    writeln!(out, "<section>")?;
    if runs > 1 {
        writeln!(
            out,
            "<h2 class=\"run-{number}\">{}{}</h2>",
            prefix(number, runs),
            escape_html(&run.name)
        )?;
    }
    writeln!(
        out,
        "<p class=\"verdict {}\">{}</p>",
        if good { "good" } else { "bad" },
        escape_html(&verdict)
    )?;
    for slo in &report.slos {
        writeln!(
            out,
            "<p class=\"{}\">Objective {}</p>",
            if slo.met { "good" } else { "bad" },
            escape_html(&objective(slo))
        )?;
    }
    writeln!(out, "<p>{}</p>", escape_html(&lines.join("; ")))?;
    writeln!(
        out,
        "<p><code>{}</code></p>\n</section>",
        escape_html(&report.command.join(" "))
    )
}

/// The figures of all runs as a table.
fn write_comparison(runs: &[NamedRun], out: &mut String) -> fmt::Result {
    writeln!(
        out,
        "<h2 id=\"comparison\">Side by side</h2>\n<div class=\"scroll\" tabindex=\"0\" \
         role=\"region\" aria-labelledby=\"comparison\"><table><thead><tr><th scope=\"col\">figure</th>"
    )?;
    for number in 0..runs.len() {
        writeln!(out, "<th scope=\"col\">{}</th>", letter(number))?;
    }
    writeln!(out, "</tr></thead><tbody>")?;
    for row in figures::rows(runs) {
        write!(out, "<tr><th scope=\"row\">{}</th>", row.name)?;
        for cell in &row.cells {
            write!(out, "<td>{}", value(cell.value, row.unit))?;
            if let Some(spread) = spread(cell) {
                write!(out, " <small>{spread}</small>")?;
            }
            if let (Some(value), true) = (cell.ratio, cell.difference != Difference::Reference) {
                let words = match cell.difference {
                    Difference::BeyondSpread => "differs",
                    Difference::WithinSpread => "alike",
                    Difference::Reference | Difference::Unknown => "",
                };
                write!(out, "<br>×{} <small>{words}</small>", ratio(value))?;
            }
            write!(out, "</td>")?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(
        out,
        "</tbody></table></div>\n<p class=\"hint\">±: half the distance between the quartiles of the \
         figures of each second, in percent of their median. Below it the ratio to A: a figure \
         differs if the middle halves of the seconds do not overlap and their medians differ by 1% or \
         more.</p>"
    )
}

/// The whole report of a run as text, and its seconds as a table.
fn write_report(number: usize, run: &NamedRun, runs: usize, out: &mut String) -> fmt::Result {
    let (open, close) = match runs {
        1 => ("<h2>The whole report</h2>".to_owned(), ""),
        _ => {
            let name = escape_html(&run.name);
            let prefix = prefix(number, runs);
            (
                format!("<details><summary>{prefix}{name}: the whole report</summary>"),
                "</details>",
            )
        }
    };
    writeln!(
        out,
        "{open}\n<pre tabindex=\"0\" role=\"region\" aria-label=\"{}the whole report\">{}</pre>{close}",
        prefix(number, runs),
        escape_html(&run.text(Some(TEXT_COLUMNS)))
    )?;
    let seconds = &run.report.seconds;
    let step = seconds.len().div_ceil(LISTED_SECONDS).max(1);
    let listed = if step > 1 {
        format!("one second in {step}")
    } else {
        "every second".to_owned()
    };
    writeln!(
        out,
        "<details><summary>{}{listed} as a table</summary>\n<div class=\"scroll\" tabindex=\"0\" \
         role=\"region\" aria-label=\"{}seconds\"><table><thead><tr>",
        prefix(number, runs),
        prefix(number, runs)
    )?;
    for title in [
        "second",
        "messages/s",
        "p50",
        "p99",
        "p99.9",
        "clients",
        "server CPU",
        "load CPU",
        "load lag",
    ] {
        write!(out, "<th scope=\"col\">{title}</th>")?;
    }
    writeln!(out, "</tr></thead><tbody>")?;
    let began = charts::window_begin(seconds);
    for second in seconds.iter().step_by(step) {
        write_second(second, began, out)?;
    }
    writeln!(out, "</tbody></table></div></details>")
}

fn write_second(second: &SecondReport, began: f64, out: &mut String) -> fmt::Result {
    let share = |share: Option<f64>| value(share, figures::Unit::Share);
    writeln!(
        out,
        "<tr><td>{:.1}</td><td>{:.0}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
         <td>{}</td><td>{}</td></tr>",
        second.at_seconds - began,
        second.per_second,
        time(second.p50_us),
        time(second.p99_us),
        time(second.p99_9_us),
        second.connected,
        share(second.server_cpu_share),
        share(second.load_cpu_share),
        time(Some(second.loop_lag_max_us))
    )
}

/// Escapes text for HTML, line by line. Some of it comes from a server, or from a file that anyone
/// may have written: what reorders or hides text becomes visible too.
fn escape_html(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| visible(line.as_bytes())).collect();
    lines
        .join("\n")
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escape_html("<b>&\""), "&lt;b&gt;&amp;&quot;");
        assert_eq!(escape_html("a\n\u{202e}b\u{1b}"), "a\n\\u{202e}b\\u{1b}");
    }

    /// Nothing in the parts of the page ends the element that holds it.
    #[test]
    fn no_part_ends_its_element() {
        for part in [SCRIPT, UPLOT, STYLE, UPLOT_STYLE] {
            let part = part.to_lowercase();
            assert!(!part.contains("</s") && !part.contains("<!--"));
        }
    }
}
