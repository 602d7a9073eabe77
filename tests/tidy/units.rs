//! Constants that are quantities, and the units in their names.

use crate::source::{Constant, Source};

/// What quantities are counted or measured in: one of these words is in the name. A time is a
/// `Duration`, which has its unit in its value.
const UNITS: &[&str] = &[
    // Measures.
    "BYTES",
    "COLUMNS",
    "DIGITS",
    "FACTOR",
    "MS",
    "NANOSECONDS",
    "PIXELS",
    "RATIO",
    "SECONDS",
    "SHARE",
    "US",
    // Counts of what is on the network.
    "ACCEPTS",
    "ADDRESSES",
    "CLIENTS",
    "CONNECTIONS",
    "CONNECTS",
    "CONVERSATIONS",
    "DATAGRAMS",
    "DESCRIPTORS",
    "HEADERS",
    "MESSAGES",
    "OBSERVERS",
    "PORTS",
    "READS",
    "REDIRECTS",
    "REFUSALS",
    "REPLIES",
    "REQUESTS",
    // Counts of what is in the loop.
    "CALLS",
    "ENTRIES",
    "EVENTS",
    "SLOTS",
    "SOURCES",
    "SPAWNS",
    "STEPS",
    "TURNS",
    // Counts of anything else.
    "BUFFERS",
    "BURSTS",
    "CELLS",
    "COUNTS",
    "LANES",
    "LINES",
    "NAMES",
    "PHASES",
    "POINTS",
    "REEXPORTS",
    "ROUNDS",
    "ROWS",
    "RUNS",
    "SAMPLES",
    "SLICES",
    "TRIES",
];

/// Words of numbers that identify something.
const IDENTIFIERS: &[&str] = &["CPU", "EXIT", "MODE", "PORT", "STATUS", "TRACK", "VERSION"];

/// More numbers that are not quantities, or have no unit.
const NOT_QUANTITIES: &[(&str, &str)] = &[
    ("LISTENER", "the event data of the listener"),
    ("PROCESS", "the process id in a trace"),
    ("CUT", "a byte with a meaning in fuzz input"),
    ("RUN", "a byte with a meaning in fuzz input"),
    ("SAME_TURN", "a bit with a meaning in fuzz input"),
    ("OK", "an exit code"),
    ("NOT_STARTED", "an exit code"),
    ("SLO_MISSED", "an exit code"),
    ("NOT_ACHIEVED", "an exit code"),
    ("WRONG_USAGE", "an exit code"),
];

/// The quantities that do not name their unit.
pub(crate) fn without_unit(sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in sources {
        for Constant { name, line, kind } in source.constants() {
            let mut words = name.split('_');
            let is_clear = words.any(|word| UNITS.contains(&word) || IDENTIFIERS.contains(&word));
            let is_excepted = NOT_QUANTITIES.iter().any(|(listed, _)| *listed == name);
            if is_number(&kind) && !is_clear && !is_excepted {
                broken.push(format!("{}:{line}: {name}: {kind}", source.path));
            }
        }
    }
    broken
}

/// A number, or an array or tuple of numbers. A slice of bytes is a text.
fn is_number(kind: &str) -> bool {
    const NUMBERS: [&str; 12] = [
        "u8", "u16", "u32", "u64", "u128", "usize", "i32", "i64", "i128", "isize", "f32", "f64",
    ];
    let kind = kind.trim_start_matches(['[', '(']);
    let (kind, _) = kind.split_once(';').unwrap_or((kind, ""));
    let mut kinds = kind.trim_end_matches([')', ']']).split(", ");
    kinds.all(|kind| NUMBERS.contains(&kind))
}
