//! Fuzz target: the recordings that `helloop show` reads. Whatever is in the file, what is printed
//! cannot control the terminal, and what was read can be written and read again.

use crate::input::Input;
use helloop::testing::observe::{Filter, TokenFilter, show};
use helloop::testing::trace;

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let filter = match input.byte() & 3 {
        1 => Filter {
            turn: Some(1),
            token: None,
        },
        2 => Filter {
            turn: None,
            token: Some(TokenFilter {
                key: 1,
                generation: Some(0),
            }),
        },
        _ => Filter::default(),
    };
    let mut out = Vec::new();
    let shown = show(input.0, filter, &mut out);
    let out = String::from_utf8(out).unwrap();
    for line in out.lines() {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    if let Err(error) = shown {
        let error = error.to_string();
        assert!(!error.contains(char::is_control), "{error:?}");
    }
    if let Ok(events) = trace::read(input.0) {
        for event in events {
            let written = serde_json::to_string(&event).unwrap();
            let again: trace::Event = serde_json::from_str(&written).unwrap();
            assert_eq!((again.name, again.tid), (event.name, event.tid));
        }
    }
}
