//! Counts, times and sizes with their units, as reports and messages show them.
//!
//! **Owns** how many digits are shown. **Must never touch** a figure. **Invariant**: an unknown value
//! is `n/a`.

/// The number with its unit: `1 address`, `2 addresses`.
#[must_use]
pub(crate) fn count(number: impl Into<u64>, one: &str, many: &str) -> String {
    let number = number.into();
    let unit = if number == 1 { one } else { many };
    format!("{number} {unit}")
}

/// A time with three significant digits.
#[must_use]
pub(crate) fn time(microseconds: Option<f64>) -> String {
    let Some(value) = microseconds else {
        return "n/a".to_owned();
    };
    let (value, unit) = match value {
        value if value < 1.0 => (value * 1e3, "ns"),
        value if value < 1e3 => (value, "µs"),
        value if value < 1e6 => (value / 1e3, "ms"),
        value => (value / 1e6, "s"),
    };
    format!("{}{unit}", three_digits(value))
}

/// A size with three significant digits.
#[must_use]
pub(crate) fn bytes(value: f64) -> String {
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
        assert_eq!(times, ["250ns", "1µs", "20.5µs", "999µs", "1.50ms", "2s"]);
        assert_eq!(time(None), "n/a");
        let sizes = [0.0, 48.0, 10_240.0, 1.5 * 1_048_576.0].map(bytes);
        assert_eq!(sizes, ["0 B", "48 B", "10 KiB", "1.50 MiB"]);
    }
}
