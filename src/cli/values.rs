//! Durations, sizes and counts as users write them.
//!
//! **Owns** the parsing of single values. **Must never touch** the meaning of a flag.
//! **Invariant**: an invalid value is rejected with an example of a valid one or with the limit.

use humantime::DurationError;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::time::Duration;

/// `HOST:PORT`, where HOST is an IPv4 address, an IPv6 address in brackets or a host name. Whether the
/// name has an address is not checked.
pub(super) fn address(text: &str) -> Result<String, String> {
    let example = "as in 127.0.0.1:9999, [::1]:9999 or localhost:9999";
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| format!("it has no port; an address is written HOST:PORT, {example}"))?;
    if !port.bytes().all(|byte| byte.is_ascii_digit()) || port.parse::<u16>().is_err() {
        return Err(format!(
            "the port must be a number from 0 to 65535, {example}"
        ));
    }
    let is_host = match host.starts_with('[') {
        true => text.parse::<SocketAddrV6>().is_ok(),
        false => host.split('.').all(is_label),
    };
    if !is_host {
        let hint = match host.parse::<Ipv6Addr>() {
            Ok(_) => "an IPv6 address needs brackets",
            Err(_) => "it has no valid host",
        };
        return Err(format!(
            "{hint}; an address is written HOST:PORT, {example}"
        ));
    }
    Ok(text.to_owned())
}

/// A part of a host name.
fn is_label(text: &str) -> bool {
    let is_allowed = |letter: char| letter.is_alphanumeric() || letter == '-' || letter == '_';
    !text.is_empty() && text.chars().all(is_allowed)
}

/// `250ms`, `1s`, `1m 30s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| {
        let why = match error {
            _ if text.starts_with('-') => "it is negative".to_owned(),
            DurationError::Empty => "it is empty".to_owned(),
            DurationError::NumberOverflow => "it is too long".to_owned(),
            DurationError::UnknownUnit { unit, .. } if unit.is_empty() => {
                "it has no unit".to_owned()
            }
            DurationError::UnknownUnit { unit, .. } => format!("`{unit}` is no unit of time"),
            _ => "it is not a number with a unit".to_owned(),
        };
        format!("{why}; a duration is written as in 250ms, 1s or 5m")
    })
}

/// A switch in an environment variable, where it needs a value; on the command line it has none.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err("must be true or false, 1 or 0, yes or no".to_owned()),
    }
}

/// The number of something, which has no unit and no prefix.
pub(super) fn number(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(number) if !text.starts_with('+') => Ok(number),
        _ if is_number(text) => Err(format!("must be at most {}", u64::MAX)),
        _ => Err("must be a whole number from 0, as in 7".to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
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
    let wrong = |why: &str| format!("{why}; written as in 1024, 10k or 64KiB");
    let parse = |digits: &str| {
        parse_size::parse_size(digits).map_err(|error| match error {
            _ if text.starts_with('-') => wrong("it is negative"),
            parse_size::Error::PosOverflow => wrong("it is too large"),
            _ if text.trim().is_empty() => wrong("it is empty"),
            _ => wrong("it is not a number with a known prefix or unit"),
        })
    };
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
        _ => Err(wrong("a whole number is needed")),
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

/// A number of bytes from `min` to `max`.
pub(super) fn bytes_between(text: &str, min: usize, max: usize) -> Result<usize, String> {
    let value = count(text)?;
    let value = usize::try_from(value).unwrap_or(usize::MAX);
    if value < min {
        return Err(format!("must be at least {}", bytes(min)));
    }
    if value > max {
        return Err(format!("must be at most {}", bytes(max)));
    }
    Ok(value)
}

/// A number of bytes as a user would write it.
pub(super) fn bytes(count: usize) -> String {
    match count {
        1 => "1 byte".to_owned(),
        _ if count.is_multiple_of(1_024) => format!("{}KiB", count / 1_024),
        _ => format!("{count} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for text in [
            "127.0.0.1:9999",
            "[::1]:0",
            "[fe80::1%1]:65535",
            "localhost:1",
            "a-b.example_c:80",
            "bücher.example:80",
        ] {
            assert_eq!(address(text).as_deref(), Ok(text));
        }
        for (text, words) in [
            ("127.0.0.1", "no port"),
            ("localhost", "no port"),
            ("", "no port"),
            ("127.0.0.1:99999", "0 to 65535"),
            ("127.0.0.1:65536", "0 to 65535"),
            ("127.0.0.1:port", "0 to 65535"),
            ("127.0.0.1:+1", "0 to 65535"),
            ("127.0.0.1:", "0 to 65535"),
            (":1", "no valid host"),
            (":1:2", "no valid host"),
            ("no..such..host:1", "no valid host"),
            ("a host:1", "no valid host"),
            ("[::1:9999", "no valid host"),
            ("[localhost]:1", "no valid host"),
            ("::1:9999", "needs brackets"),
        ] {
            let error = address(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
            assert!(error.contains("127.0.0.1:9999"), "{error}");
        }
    }

    #[test]
    fn a_limit_in_bytes_names_its_unit() {
        for (text, words) in [("0", "256KiB"), ("2048KiB", "at most 1048577 bytes")] {
            let error = bytes_between(text, 256 << 10, (1 << 20) + 1).expect_err(text);
            assert!(error.contains(words), "{error}");
        }
        assert!(bytes_between("0", 1, 9).is_err_and(|error| error.ends_with("1 byte")));
        assert_eq!(bytes_between("64KiB", 1, 65_536), Ok(65_536));
    }

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
    fn an_invalid_duration_is_explained_in_plain_words() {
        for (text, why) in [
            ("-1s", "it is negative"),
            ("-1", "it is negative"),
            ("", "it is empty"),
            ("5", "it has no unit"),
            ("5x", "`x` is no unit of time"),
            ("1s 5", "it has no unit"),
            ("s", "it is not a number with a unit"),
            ("1,5s", "it is not a number with a unit"),
            ("99999999999999999999s", "it is too long"),
        ] {
            let expected = format!("{why}; a duration is written as in 250ms, 1s or 5m");
            assert_eq!(duration(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn an_invalid_count_is_explained_in_plain_words() {
        for (text, why) in [
            ("-1", "it is negative"),
            ("", "it is empty"),
            (" ", "it is empty"),
            ("x", "it is not a number with a known prefix or unit"),
            ("1kilo", "it is not a number with a known prefix or unit"),
            ("999EiB", "it is too large"),
            ("99999999999999999999", "it is too large"),
            ("0.5", "a whole number is needed"),
        ] {
            let expected = format!("{why}; written as in 1024, 10k or 64KiB");
            assert_eq!(count(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_number_has_digits_alone() {
        assert_eq!((number("0"), number("7")), (Ok(0), Ok(7)));
        for text in ["", "x", "-1", "+1", "1k", "1.5"] {
            let error = number(text).expect_err(text);
            assert_eq!(error, "must be a whole number from 0, as in 7", "{text}");
        }
        assert!(number("18446744073709551616").is_err_and(|error| error.contains("at most")));
    }

    #[test]
    fn a_switch_is_on_or_off() {
        for (on, off) in [("true", "false"), ("1", "0"), ("yes", "no"), ("TRUE", "No")] {
            assert_eq!((switch(on), switch(off)), (Ok(true), Ok(false)));
        }
        for text in ["", "maybe", "2", "tru", " 1"] {
            let error = switch(text).expect_err(text);
            assert_eq!(error, "must be true or false, 1 or 0, yes or no", "{text}");
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
