//! Durations, sizes and counts as people write them.
//!
//! **Owns** the reading of single values. **Must never touch** a flag's meaning.
//! **Invariant**: what does not fit its type is refused with an example of what does.

use std::time::Duration;

/// `250ms`, `1s`, `1m 30s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; a duration is written as in 250ms, 1s or 5m"))
}

/// A duration that is more than nothing.
pub(super) fn some_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be more than 0s".to_owned()),
        duration => Ok(duration),
    }
}

/// A silence after which the kernel asks: whole seconds, as far as Linux counts them (tcp(7)).
pub(super) fn keepalive(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(32_767);
    match duration(text)? {
        time if time > LONGEST => Err("must be at most 32767s".to_owned()),
        time if !time.is_zero() && time < Duration::from_secs(1) => {
            Err("must be at least 1s, or 0s for never".to_owned())
        }
        time => Ok(time),
    }
}

/// `10000`, `10k`, `64KiB`: decimal and binary prefixes.
pub(super) fn count(text: &str) -> Result<u64, String> {
    parse_size::parse_size(text)
        .map_err(|error| format!("{error}; written as in 1024, 10k or 64KiB"))
}

/// A count of at least one.
pub(super) fn positive(text: &str) -> Result<u64, String> {
    between(text, 1, u64::MAX)
}

/// A count from `least` to `most`.
pub(super) fn between(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let value = count(text)?;
    if value < least {
        return Err(format!("must be at least {least}"));
    }
    if value > most {
        return Err(format!("must be at most {most}"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_people_write_them() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(count("10k"), Ok(10_000));
        assert_eq!(count("64KiB"), Ok(65_536));
        assert_eq!(count("64MiB"), Ok(64 << 20));
        assert_eq!(between("7", 1, 7), Ok(7));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_an_example() {
        for text in ["", "1", "-1s", "1x", "99999999999999999999s"] {
            assert!(
                duration(text).is_err_and(|words| words.contains("250ms")),
                "{text}"
            );
        }
        assert!(some_duration("0ms").is_err());
        assert!(keepalive("1ms").is_err() && keepalive("32768s").is_err());
        assert_eq!(keepalive("0s"), Ok(Duration::ZERO));
        for text in ["", "x", "-1", "99999999999999999999", "64KiBs"] {
            assert!(
                count(text).is_err_and(|words| words.contains("64KiB")),
                "{text}"
            );
        }
        assert!(positive("0").is_err() && between("8", 1, 7).is_err());
    }
}
