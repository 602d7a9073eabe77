//! `show` with files that no server has recorded: damaged, wrong or made to harm. Each ends in one
//! clear error or in a ladder, in bounded memory, and controls no terminal.

mod util;

use helloop::testing::observe::{Filter, show};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use util::{Process, helloop, run};

/// What `show` may allocate at once, whatever the file: an event of 64 KiB, parsed, many times over.
const MAX_BYTES: u64 = 8 << 20;

/// The longest error: one that a person reads.
const MAX_ERROR_COLUMNS: usize = 400;

/// What `show` prints, and its error. Fails if it takes much memory, or if a byte of it could
/// control a terminal.
fn shown(input: impl Read) -> (String, Option<String>) {
    let mut out = Vec::new();
    let mut result = Ok(());
    let input = input.take(u64::MAX);
    let allocated = allocation_counter::measure(|| {
        result = show(input, Filter::default(), &mut out);
    });
    let text = String::from_utf8(out).expect("text");
    let output_bytes = 4 * text.len() as u64;
    assert!(
        allocated.bytes_max < MAX_BYTES + output_bytes,
        "{allocated:?}"
    );
    assert!(!text.replace('\n', "").contains(char::is_control));
    let longest = text.lines().map(str::len).max().unwrap_or_default();
    assert!(longest < 500, "a line of {longest} bytes");
    let error = result.err().map(|error| error.to_string());
    if let Some(error) = &error {
        assert!(!error.contains(char::is_control), "{error:?}");
        assert!(error.chars().count() < MAX_ERROR_COLUMNS, "{error}");
    }
    (text, error)
}

/// A recording of one event, which a table below changes.
fn wait() -> Value {
    json!({"name": "wait", "ph": "X", "ts": 0.0, "pid": 1, "tid": 0, "cat": "wait",
           "args": {"timeout_us": 5.0}})
}

/// The recording with one key of its event changed.
fn changed(key: &str, value: Value) -> String {
    let mut event = wait();
    event[key] = value;
    json!({"traceEvents": [event]}).to_string()
}

/// Text that repeats forever.
fn endless(start: &str, repeated: &'static str) -> impl Read {
    let forever = std::iter::repeat(repeated.as_bytes()).flatten().copied();
    io::Cursor::new(start.to_owned()).chain(Bytes(forever))
}

struct Bytes<I>(I);

impl<I: Iterator<Item = u8>> Read for Bytes<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let filled = buffer.iter_mut().zip(&mut self.0);
        Ok(filled.map(|(to, from)| *to = from).count())
    }
}

/// Files that are no recordings, and words of their errors.
fn hostile_files() -> Vec<(String, &'static str)> {
    let deep = "[".repeat(1 << 20);
    let deep_args = format!("{{\"traceEvents\":[{{\"args\":{}", "{\"a\":".repeat(10_000));
    vec![
        (String::new(), "is empty"),
        ("\u{feff}{}".to_owned(), "is not JSON: line 1, column 1"),
        (
            "hello".to_owned(),
            "is not JSON: line 1, column 1: expected value",
        ),
        (
            "5".to_owned(),
            "line 1, column 1 has a value of the wrong kind",
        ),
        ("[]".to_owned(), "has a value of the wrong kind"),
        ("{}".to_owned(), "has no `traceEvents`"),
        (r#"{"traceEvents":5}"#.to_owned(), "wrong kind"),
        (
            r#"{"traceEvents":[5]}"#.to_owned(),
            "event 1 (line 1, column 18) has a value of the wrong kind",
        ),
        (r#"{"traceEvents":[]}"#.to_owned(), "without events"),
        (
            r#"{"traceEvents":[],"traceEvents":[]}"#.to_owned(),
            "has `traceEvents` twice",
        ),
        (r#"{"traceEvents":[]} {}"#.to_owned(), "trailing characters"),
        (
            r#"{"traceEvents":["#.to_owned(),
            "is incomplete: it ends in event 1 (line 1, column 16)",
        ),
        (r#"{"traceEvents":[{"name":"x"#.to_owned(), "is incomplete"),
        (
            r#"{"traceEvents":[{"name":"\ud800"}]}"#.to_owned(),
            "is not JSON",
        ),
        (deep.clone(), "wrong kind"),
        (format!("{{\"a\":{deep}"), "more than 65536 bytes"),
        (deep_args, "recursion limit"),
        (changed("ts", json!(-1.0)), "has an impossible time"),
        (changed("ts", json!(1e308)), "has an impossible time"),
        (changed("ts", Value::Null), "wrong kind"),
        (changed("dur", json!(-1.0)), "has an impossible time"),
        (changed("pid", json!(1e308)), "wrong kind"),
        (changed("tid", json!(-1)), "wrong kind"),
        (changed("ph", json!("Q")), "has the unknown value `Q`"),
        (changed("ph", json!("\u{1b}[2J")), "has the unknown value"),
        (changed("cat", json!("born")), "has no `token`"),
        (
            changed("cat", json!("q".repeat(60_000))),
            "has the unknown value",
        ),
        (changed("args", json!("x".repeat(60_000))), "wrong kind"),
        (changed("ts", json!("0")), "wrong kind"),
        (
            changed("name", json!("x".repeat(1 << 20))),
            "more than 65536 bytes",
        ),
        (
            changed("ts", json!(0.0)).replace("0.0", "1e999"),
            "number out of range",
        ),
    ]
}

#[test]
fn a_hostile_file_is_one_clear_error() {
    for (text, words) in hostile_files() {
        let (out, error) = shown(text.as_bytes());
        let start = text.chars().take(80).collect::<String>();
        let error = error.unwrap_or_else(|| panic!("{start} is shown as {out}"));
        assert!(error.contains(words), "{start}: {error}");
        assert_eq!(out, "", "{start}");
        for internal in [
            "struct", "variant", "field", "Event", "f64", "u32", "u64", "sequence",
        ] {
            let error = error.replace("traceEvents", "");
            assert!(!error.contains(internal), "{start}: {error}");
        }
    }
    let (_, error) = shown(&b"{\"traceEvents\":[{\"name\":\"\xff\xfe\"}]}"[..]);
    assert!(error.is_some_and(|error| error.contains("invalid unicode")));
}

#[test]
fn an_input_without_an_end_is_rejected_after_64_kib() {
    let event = wait().to_string();
    for (start, repeated) in [
        ("", " "),
        ("{\"", "a"),
        ("{\"a\":\"", "\\n"),
        ("{\"a\":[", "1,"),
        ("{\"a\":", "9"),
        ("{\"traceEvents\":[", "\t"),
        ("{\"traceEvents\":[{\"name\":\"", "x"),
        ("{\"traceEvents\":[{\"ts\":0.", "0"),
        ("{\"traceEvents\":[{", "\"a\":1,"),
        ("{\"traceEvents\":[{\"args\":[", "[],"),
        ("{\"traceEvents\":[]", " "),
    ] {
        let (_, error) = shown(endless(start, repeated));
        let error = error.expect("it never ends");
        assert!(error.contains("more than 65536 bytes"), "{start}: {error}");
    }
    // A fault after events is reported after them.
    let (out, error) = shown(endless(&format!("{{\"traceEvents\":[{event}"), " "));
    assert!(out.contains("up to 5µs"), "{out}");
    assert!(error.is_some_and(|error| error.contains("more than 65536")));
}

#[test]
fn a_long_recording_needs_no_memory() {
    const EVENTS: usize = 10_000;
    let event = changed("name", json!("x".repeat(1_000)));
    let event = event
        .strip_prefix("{\"traceEvents\":[")
        .and_then(|event| event.strip_suffix("]}"))
        .expect("one event");
    let events = std::iter::repeat_n(format!("{event},"), EVENTS);
    let bytes = events.flat_map(String::into_bytes);
    let input = io::Cursor::new("{\"traceEvents\":[")
        .chain(Bytes(bytes))
        .chain(io::Cursor::new(format!("{event}]}}")));
    let mut lines = Lines(0);
    let allocated = allocation_counter::measure(|| {
        show(input, Filter::default(), &mut lines).expect("a recording");
    });
    assert_eq!(lines.0, 1 + EVENTS + 1);
    assert!(allocated.bytes_max < 100_000, "{allocated:?}");
}

/// Counts lines.
struct Lines(usize);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.iter().filter(|byte| **byte == b'\n').count();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn strange_but_valid_recordings_are_shown() {
    for (key, value, words) in [
        ("ph", json!("M"), "up to 5µs"),
        ("ph", json!("C"), "up to 5µs"),
        ("ts", json!(1.844e16), "18440000000.000000"),
        ("args", json!({"timeout_us": null}), "forever"),
        ("args", json!({"timeout_us": -1e308}), "not at all"),
        ("args", json!({"timeout_us": 1e308}), "not at all"),
        ("args", json!({"timeout_us": 5e-324}), "not at all"),
        (
            "args",
            json!({"timeout_us": 1.8e25}),
            "up to 18000000000000000000s",
        ),
    ] {
        let (out, error) = shown(changed(key, value.clone()).as_bytes());
        assert_eq!(error, None, "{key} {value}");
        assert!(out.contains(words), "{key} {value}: {out}");
    }
}

#[cfg(unix)] // needs files in /dev
#[test]
fn the_command_fails_with_one_line() {
    for (file, words) in [
        ("/dev/zero", "is not JSON"),
        ("/dev/null", "is empty"),
        ("-", "standard input is empty"),
        ("/", "cannot be read"),
        ("/no\u{1b}/such", "cannot open /no\\u{1b}/such: "),
    ] {
        let ended = run(helloop(&["show", file]));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert_eq!(
            (ended.stdout.as_str(), ended.stderr.lines().count()),
            ("", 1)
        );
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
        assert!(!ended.stderr.contains('\u{1b}'));
    }
}

#[test]
fn a_turn_that_is_no_number_is_wrong_usage() {
    for turn in ["x", "-1", "1k"] {
        let ended = run(helloop(&[
            "show",
            "tests/three-clients.json",
            "--turn",
            turn,
        ]));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
        let error =
            format!("invalid value '{turn}' for '--turn <N>': must be a whole number from 0");
        assert!(ended.stderr.contains(&error), "{}", ended.stderr);
    }
}

#[test]
fn a_hyphen_is_standard_input() {
    let mut process = Process::start(helloop(&["show", "-"]));
    let mut stdin = process.stdin.take().unwrap();
    stdin.write_all(RECORDING.as_bytes()).unwrap();
    drop(stdin);
    let ended = process.wait();
    let file = run(helloop(&["show", "tests/three-clients.json"]));
    assert_eq!(ended, file);
    assert_eq!(ended.code, Some(0));
}

/// A recording of a server.
const RECORDING: &str = include_str!("three-clients.json");

/// What one value of a recording is replaced with.
fn hostile_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        Just(json!("#4294967295.4294967295")),
        Just(json!("readable+readable+closed")),
        Just(json!([[[]]])),
        Just(json!({"a": {}})),
    ]
}

/// All places in a value.
fn places(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, format!("{at}/{index}"), found);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                places(member, format!("{at}/{key}"), found);
            }
        }
        _ => {}
    }
    found.push(at);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_recording_with_other_values_is_shown_or_rejected(
        changes in prop::collection::vec((any::<Index>(), hostile_value()), 1..4),
    ) {
        let mut recording: Value = serde_json::from_str(RECORDING).expect("JSON");
        for (place, value) in changes {
            let mut found = Vec::new();
            places(&recording, String::new(), &mut found);
            let place = place.get(found.as_slice());
            *recording.pointer_mut(place).expect("a place") = value;
        }
        shown(recording.to_string().as_bytes());
    }

    #[test]
    fn a_recording_with_other_bytes_is_shown_or_rejected(
        changes in prop::collection::vec((any::<Index>(), 0usize..40, any::<Vec<u8>>()), 1..6),
    ) {
        let mut recording = RECORDING.as_bytes().to_vec();
        for (place, removed, inserted) in changes {
            let start = place.index(recording.len());
            let end = recording.len().min(start + removed);
            recording.splice(start..end, inserted);
        }
        shown(recording.as_slice());
    }

    #[test]
    fn a_recording_that_is_cut_off_is_an_error(length in 0..RECORDING.len() - 2) {
        let (_, error) = shown(&RECORDING.as_bytes()[..length]);
        prop_assert!(error.is_some());
    }
}
