//! The report as an HTML page.
//!
//! **Owns** the page: text, style and charts in one file. **Must never touch** the network: the
//! page refers to no other file, so that it can be archived and sent. **Invariant**: all text
//! that is not a constant of this program is escaped.

use super::schema::{Report, SecondReport};
use super::text::{percentiles, time};
use std::fmt::{self, Write as _};

/// The size of a chart in the units of its view box, which the browser scales to the page.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 200.0;

/// Margins of a chart, for labels.
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 20.0;
const TOP: f64 = 10.0;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;\
    padding:0 1rem;color:#222;background:#fff}h2{font-size:1.1rem;margin:2rem 0 .5rem}\
    svg{width:100%;height:auto}text{font:11px system-ui,sans-serif;fill:#555}\
    .bar{fill:#37c}.line{fill:none;stroke:#37c;stroke-width:2}.axis{stroke:#999}\
    .warm{fill:#eee}pre{background:#f6f6f6;padding:1rem;overflow-x:auto}\
    .good{color:#161}.bad{color:#b00}\
    @media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}text{fill:#aaa}\
    pre{background:#222}.bar{fill:#69f}.line{stroke:#69f}.warm{fill:#2a2a2a}.good{color:#6c6}\
    .bad{color:#f77}}";

/// The page.
#[must_use]
pub(crate) fn render(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = write_page(report, &mut page);
    page
}

fn write_page(report: &Report, out: &mut String) -> fmt::Result {
    let plan = &report.plan;
    let title = escape(&format!(
        "helloop: {} clients, {}, {} loop, to {}",
        plan.clients, plan.transport, plan.kind, plan.to
    ));
    let good = report.verdict.achieved && !report.verdict.limited_by_client;
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n\
         <p class=\"{}\">{}</p>",
        if good { "good" } else { "bad" },
        escape(&verdict(report))
    )?;
    write_distribution(report, out)?;
    let seconds = &report.seconds;
    write_series(
        out,
        "Messages a second",
        seconds,
        |second| Some(second.per_second),
        whole,
    )?;
    write_series(
        out,
        "p99 of each second",
        seconds,
        |second| second.p99_us,
        |us| time(Some(us)),
    )?;
    write_series(
        out,
        "Clients connected",
        seconds,
        |second| Some(second.connected.into()),
        whole,
    )?;
    writeln!(
        out,
        "<h2>The whole report</h2>\n<pre>{}</pre>\n</html>",
        escape(&report.to_string())
    )
}

fn verdict(report: &Report) -> String {
    let mut words = vec![report.verdict.words.clone()];
    words.extend(report.verdict.shortcomings.iter().cloned());
    if report.interrupted {
        words.push("interrupted".to_owned());
    }
    words.join("; ")
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

fn write_distribution(report: &Report, out: &mut String) -> fmt::Result {
    let buckets = &report.distribution;
    let largest = buckets.iter().map(|bucket| bucket.count).max();
    let largest = largest.unwrap_or(0).max(1) as f64;
    writeln!(
        out,
        "<h2>Latency</h2>\n<p>{}</p>",
        percentiles(&report.latency)
    )?;
    open_chart(out, "How many messages took how long")?;
    let step = (WIDTH - LEFT) / buckets.len().max(1) as f64;
    for (number, bucket) in buckets.iter().enumerate() {
        let (x, y) = (
            LEFT + number as f64 * step,
            y(bucket.count as f64 / largest),
        );
        let (from, to) = (time(Some(bucket.from_us)), time(Some(bucket.to_us)));
        writeln!(
            out,
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\">\
             <title>{from} to {to}: {}</title></rect>\
             <text x=\"{x:.1}\" y=\"{:.1}\">{from}</text>",
            x + 1.0,
            step - 2.0,
            HEIGHT - BOTTOM - y,
            bucket.count,
            HEIGHT - 5.0
        )?;
    }
    close_chart(out, &whole(largest))
}

/// A figure over time as a line; the part before the measured seconds is grey.
fn write_series(
    out: &mut String,
    title: &str,
    seconds: &[SecondReport],
    value: impl Fn(&SecondReport) -> Option<f64>,
    label: impl Fn(f64) -> String,
) -> fmt::Result {
    let end = seconds.last().map_or(1.0, |second| second.at_seconds);
    let max = seconds.iter().filter_map(&value).fold(0.0, f64::max);
    let scale = if max > 0.0 { max } else { 1.0 };
    let x = |at: f64| LEFT + at / end * (WIDTH - LEFT);
    writeln!(out, "<h2>{title}</h2>")?;
    open_chart(out, title)?;
    let warmup = seconds.iter().rfind(|second| !second.measured);
    writeln!(
        out,
        "<rect class=\"warm\" x=\"{LEFT}\" y=\"0\" width=\"{:.1}\" height=\"{:.1}\">\
         <title>connecting and warming up</title></rect>",
        warmup.map_or(0.0, |second| x(second.at_seconds) - LEFT),
        HEIGHT - BOTTOM
    )?;
    write!(out, "<polyline class=\"line\" points=\"")?;
    for second in seconds {
        if let Some(value) = value(second) {
            write!(out, "{:.1},{:.1} ", x(second.at_seconds), y(value / scale))?;
        }
    }
    writeln!(
        out,
        "\"/>\n<text x=\"{LEFT}\" y=\"{0:.1}\">0s</text>\
         <text x=\"{WIDTH}\" y=\"{0:.1}\" text-anchor=\"end\">{end:.0}s</text>",
        HEIGHT - 5.0
    )?;
    close_chart(out, &label(max))
}

/// The vertical position of a value, given as a share of the largest.
fn y(share: f64) -> f64 {
    HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)
}

fn open_chart(out: &mut String, label: &str) -> fmt::Result {
    writeln!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label}\">"
    )
}

/// Draws the axes; `max` labels the top of the vertical one.
fn close_chart(out: &mut String, max: &str) -> fmt::Result {
    let base = HEIGHT - BOTTOM;
    writeln!(
        out,
        "<path class=\"axis\" d=\"M{LEFT} 0V{base}H{WIDTH}\" fill=\"none\"/>\
         <text x=\"{0}\" y=\"14\" text-anchor=\"end\">{max}</text>\
         <text x=\"{0}\" y=\"{base}\" text-anchor=\"end\">0</text>\n</svg>",
        LEFT - 6.0
    )
}

/// Escapes text for HTML. Some of it comes from a server.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escape("<b>&\""), "&lt;b&gt;&amp;&quot;");
    }
}
