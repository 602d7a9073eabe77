//! Fuzz target: service level objectives. One that is accepted is finite, is shown as it was
//! written, and is an objective again when read from there; a rejected one is shown safely.

use helloop::testing::stress::{Metric, Slo};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    match text.parse::<Slo>() {
        Ok(slo) => {
            let shown = slo.to_string();
            assert!(!shown.contains(char::is_control) && !shown.contains(' '));
            assert_eq!(shown.parse(), Ok(slo.clone()));
            if let Metric::Quantile(quantile) = slo.metric {
                assert!(0.0 < quantile && quantile < 1.0);
            }
            // The limit is finite and not negative.
            let is_upper = shown.contains('<');
            assert_eq!(slo.is_met_by(-1.0), is_upper);
            assert_eq!(slo.is_met_by(f64::INFINITY), !is_upper);
            assert!(!slo.is_met_by(f64::NAN));
        }
        Err(error) => assert!(!error.contains(char::is_control) && error.contains("p99<5ms")),
    }
}
