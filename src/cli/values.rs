//! Durations, sizes and counts as users write them.
//!
//! **Owns** the parsing of single values. **Must never touch** the meaning of a flag.
//! **Invariant**: an invalid value is rejected with an example of a valid one or with the limit.

use std::fmt::Display;
use std::time::Duration;

/// `250ms`, `1s`, `1m 30s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; a duration is written as in 250ms, 1s or 5m"))
}

/// A duration longer than zero.
pub(super) fn nonzero_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be more than 0s".to_owned()),
        duration => Ok(duration),
    }
}

/// The time after which TCP keepalive closes a client, or zero. The kernel counts whole seconds and
/// Linux at most 32,767 of them (tcp(7)).
pub(super) fn keepalive(text: &str) -> Result<Duration, String> {
    const MAX: Duration = Duration::from_secs(32_767);
    match duration(text)? {
        time if time > MAX => Err("must be at most 32767s".to_owned()),
        time if !time.is_zero() && time < Duration::from_secs(1) => {
            Err("must be at least 1s, or 0s for never".to_owned())
        }
        time => Ok(time),
    }
}

/// The time that a line may take, or zero. It is measured in 32 bits of milliseconds.
pub(super) fn line_timeout(text: &str) -> Result<Duration, String> {
    const MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
    match duration(text)? {
        time if time > MAX => Err("must be at most 30d".to_owned()),
        time => Ok(time),
    }
}

/// `10000`, `10k`, `64KiB`: decimal and binary prefixes. A fraction must come to a whole number, as
/// that of `1.5k` does: [`parse_size`] would round it.
pub(super) fn count(text: &str) -> Result<u64, String> {
    let wrong = |why: &dyn Display| format!("{why}; written as in 1024, 10k or 64KiB");
    let parse = |text: &str| parse_size::parse_size(text).map_err(|error| wrong(&error));
    let rounded = parse(text)?;
    let Some((whole, fraction)) = text.split_once('.') else {
        return Ok(rounded);
    };
    // The digits of an exponent are not part of the fraction.
    let before_exponent = fraction.split(['e', 'E']).next().unwrap_or_default();
    let digits = before_exponent.bytes().filter(u8::is_ascii_digit).count();
    let shifted = parse(&[whole, fraction].concat())?;
    let divisor = u32::try_from(digits)
        .ok()
        .and_then(|digits| 10u64.checked_pow(digits));
    match divisor {
        Some(divisor) if shifted % divisor == 0 => Ok(shifted / divisor),
        _ => Err(wrong(&"a whole number is needed")),
    }
}

/// A count of at least 1.
pub(super) fn positive(text: &str) -> Result<u64, String> {
    between(text, 1, u64::MAX)
}

/// A count from `min` to `max`, which must fit the type.
pub(super) fn between<T: TryFrom<u64>>(text: &str, min: u64, max: u64) -> Result<T, String> {
    let value = count(text)?;
    if value < min {
        return Err(format!("must be at least {min}"));
    }
    let value = T::try_from(value).ok().filter(|_| value <= max);
    value.ok_or_else(|| format!("must be at most {max}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_parsed_as_users_write_them() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(count("10k"), Ok(10_000));
        assert_eq!(count("64KiB"), Ok(65_536));
        assert_eq!(count("64MiB"), Ok(64 << 20));
        assert_eq!(between("7", 1, 7), Ok(7));
    }

    #[test]
    fn a_fraction_is_exact_or_rejected() {
        for (text, value) in [
            ("1.5k", 1_500),
            ("2.0", 2),
            ("0.5KiB", 512),
            ("1.25e3", 1_250),
        ] {
            assert_eq!(count(text), Ok(value), "{text}");
        }
        for text in [
            "0.5",
            "1.5",
            "1.0005k",
            "0.3KiB",
            "99.99",
            "0.00000000000000000000005",
        ] {
            let error = count(text).expect_err(text);
            assert!(
                error.starts_with("a whole number is needed"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn an_invalid_value_is_rejected_with_an_example() {
        for text in ["", "1", "-1s", "1x", "99999999999999999999s"] {
            assert!(
                duration(text).is_err_and(|message| message.contains("250ms")),
                "{text}"
            );
        }
        assert!(nonzero_duration("0ms").is_err());
        assert!(keepalive("1ms").is_err() && keepalive("32768s").is_err());
        assert_eq!(keepalive("0s"), Ok(Duration::ZERO));
        for text in ["", "x", "-1", "99999999999999999999", "64KiBs"] {
            assert!(
                count(text).is_err_and(|message| message.contains("64KiB")),
                "{text}"
            );
        }
        assert!(positive("0").is_err() && between::<u32>("8", 1, 7).is_err());
    }
}
