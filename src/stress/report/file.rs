//! Reads reports that `helloop stress --json` wrote.
//!
//! **Owns** the limits within which a file is read. **Must never touch** the file system: it reads
//! from an open file. **Invariant**: any bytes are a report or an error that says what they are, in
//! bounded memory.

mod limits;

use super::Report;
use super::schema::SCHEMA_VERSION;
use crate::protocol::escape::excerpt;
use limits::Limits;
use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny};
use serde_json::Value;
use std::io::{self, Read};

/// A larger file is refused. A run of a day has 86,400 seconds of some 300 bytes.
const MAX_FILE_BYTES: u64 = 32 * 1_024 * 1_024;

/// Why a file is not read. Each text follows the name of the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The system reports an error.
    #[error("cannot be read: {0}")]
    Failed(#[from] io::Error),
    /// It has more than [`MAX_FILE_BYTES`].
    #[error("is larger than 32 MiB, which no report is")]
    TooLarge,
    /// It is not JSON.
    #[error("is not JSON: {0}")]
    NotJson(String),
    /// It is JSON with more entries or longer text than a report has.
    #[error("is not a report: it has {0}")]
    OverLimit(String),
    /// It is JSON without the keys of a report.
    #[error("is not a report: `helloop stress --json FILE` writes one")]
    NotAReport,
    /// It is a report of another version.
    #[error(
        "is a report of version {0}, and this helloop reads version {SCHEMA_VERSION}: repeat the \
         run, or use the helloop that wrote it"
    )]
    OtherVersion(String),
    /// It claims to be a report of this version.
    #[error("is a damaged report: {0}")]
    Damaged(String),
}

/// What a report of any version has.
#[derive(Deserialize)]
struct Head {
    schema_version: Option<Value>,
    verdict: Option<IgnoredAny>,
}

/// Reads one report.
///
/// # Errors
///
/// What the file is instead.
pub(crate) fn read(file: impl Read) -> Result<Report, ReadError> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ReadError::TooLarge);
    }
    // Messages of the parser quote the file.
    let words = |error: serde_json::Error| excerpt(error.to_string().as_bytes());
    // Before anything is kept: an entry of two bytes would take 24 in memory, and a line on the screen.
    let mut parser = serde_json::Deserializer::from_slice(&bytes);
    let walked = Limits::default().deserialize(&mut parser);
    walked.and_then(|()| parser.end()).map_err(|error| {
        if error.is_data() {
            ReadError::OverLimit(words(error))
        } else {
            ReadError::NotJson(words(error))
        }
    })?;
    let head: Head = serde_json::from_slice(&bytes).map_err(|_| ReadError::NotAReport)?;
    match (head.schema_version, head.verdict) {
        (Some(version), Some(_)) if version == SCHEMA_VERSION => {
            serde_json::from_slice(&bytes).map_err(|error| ReadError::Damaged(words(error)))
        }
        (Some(Value::Number(version)), Some(_)) => {
            Err(ReadError::OtherVersion(version.to_string()))
        }
        _ => Err(ReadError::NotAReport),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn error_of(bytes: &[u8]) -> String {
        read(bytes).expect_err("not a report").to_string()
    }

    #[test]
    fn what_is_no_report_is_named() {
        for (bytes, words) in [
            (&b""[..], "is not JSON: EOF"),
            (b"PNG", "is not JSON: expected value"),
            (b"{\"schema_version\":2", "is not JSON: EOF"),
            (b"\xff\xfe", "is not JSON"),
            (b"[]", "is not a report"),
            (b"7", "is not a report"),
            (b"{}", "is not a report"),
            (b"{\"schema_version\":2,\"tables\":[]}", "is not a report"),
            (
                b"{\"schema_version\":\"2\",\"verdict\":0}",
                "is not a report",
            ),
            (b"{\"schema_version\":1,\"verdict\":{}}", "version 1, and"),
            (
                b"{\"schema_version\":3,\"verdict\":{}}",
                "reads version 2: repeat the run",
            ),
            (
                b"{\"schema_version\":2,\"verdict\":{}}",
                "is a damaged report: missing field",
            ),
        ] {
            let error = error_of(bytes);
            assert!(error.contains(words), "{error}");
        }
        let deep = "[".repeat(100_000);
        assert!(error_of(deep.as_bytes()).contains("not JSON: recursion limit"));
    }

    #[test]
    fn an_error_quotes_no_more_than_an_excerpt() {
        let long = "x".repeat(10_000);
        let text = format!(
            r#"{{"schema_version":2,"helloop_version":"","started":"","command":[],
            "machine":{{"system":"","kernel":"","architecture":"","cpu_model":null,"cpus":1}},
            "plan":{{"to":"","transport":"{long}"}},"verdict":{{}}}}"#
        );
        let error = error_of(text.as_bytes());
        assert!(error.contains("unknown variant `xxx"), "{error}");
        assert!(error.len() < 300, "{error}");
    }

    #[test]
    fn a_file_without_an_end_is_refused() {
        assert!(matches!(read(io::repeat(b' ')), Err(ReadError::TooLarge)));
    }

    #[test]
    fn no_message_carries_what_a_terminal_would_obey() {
        let bytes = b"{\"schema_version\":2,\"verdict\":{\"achieved\":\"\x1b[2J\"}}";
        assert!(!error_of(bytes).contains('\x1b'));
        let bytes = br#"{"schema_version":2,"verdict":{},"helloop_version":[],"plan":"\u001b[2J"}"#;
        assert!(!error_of(bytes).contains('\x1b'));
    }
}
