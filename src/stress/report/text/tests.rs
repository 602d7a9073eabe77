//! What the lines of the report say.

use super::*;

#[test]
fn an_objective_shows_the_measured_value() {
    let cases = [
        ("p99<5ms", Some(3_200.0), true, "p99<5ms: met (3.20ms)"),
        ("p99<5ms", Some(7_100.0), false, "p99<5ms: missed (7.10ms)"),
        (
            "rate>10000",
            Some(9_999.4),
            false,
            "rate>10000: missed (9999/s)",
        ),
        ("loss<1%", Some(0.25), true, "loss<1%: met (0.250%)"),
        (
            "p99.9<5ms",
            None,
            false,
            "p99.9<5ms: missed (too few samples to tell)",
        ),
    ];
    for (slo, measured, met, words) in cases {
        let slo = slo.to_owned();
        let slo = SloReport {
            slo,
            measured,
            met,
            ..SloReport::default()
        };
        assert_eq!(objective(&slo), words);
    }
}

#[test]
fn flags_are_shown_as_they_are_typed() {
    let flags = ["--delay", "1m 30s", "--x=\u{1b}[2J", ""].map(str::to_owned);
    assert_eq!(command_line(&flags), "--delay '1m 30s' '--x=\\u{1b}[2J' ''");
}
