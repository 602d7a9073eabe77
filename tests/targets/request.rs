//! Fuzz target: the head of an observer's request. It is accepted or rejected however reads divide
//! it, and the connection is kept open only if the next request can be found.

use crate::input::{expand, pieces};
use helloop::testing::observe::http::{After, Request, Status, parse};

pub(crate) fn run(bytes: &[u8]) {
    let Some((&seed, text)) = bytes.split_first() else {
        return;
    };
    let text = expand(text);
    let whole = parse(&text);
    let mut arrived = 0;
    let mut first: Result<Option<Request>, Status> = Ok(None);
    for piece in pieces(seed, &text) {
        arrived += piece.len();
        first = parse(&text[..arrived]);
        if first != Ok(None) {
            break;
        }
    }
    // A long head is rejected before the rest of it arrives.
    if whole != Ok(None) || first.is_ok() {
        assert_eq!(
            first.clone().ok(),
            whole.clone().ok(),
            "{first:?} {whole:?}"
        );
    }
    if let Ok(Some(request)) = whole {
        check(&request, &text[..request.length]);
    }
}

/// What the accepted head means, read in a simpler way.
fn check(request: &Request, head: &[u8]) {
    assert!(head.ends_with(b"\n\n") || head.ends_with(b"\n\r\n"));
    let path = &request.path;
    // Bytes beyond ASCII are accepted: a path is only compared, and never shown.
    assert!(!path.contains(['?', '#', ' ']) && !path.contains(|c: char| c.is_ascii_control()));
    let mut lines = head
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty());
    let is_1_1 = lines.next().unwrap_or_default().ends_with(b" HTTP/1.1");
    let (mut hosts, mut says_close, mut has_body) = (0, false, false);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').unwrap();
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        match name.to_ascii_lowercase().as_slice() {
            b"host" => hosts += 1,
            b"transfer-encoding" => has_body = true,
            b"content-length" => has_body |= value != b"0",
            b"connection" => {
                let value = value.to_ascii_lowercase();
                let mut options = value.split(|byte| *byte == b',');
                says_close |= options.any(|option| option.trim_ascii() == b"close");
            }
            _ => {}
        }
    }
    assert!(!is_1_1 || hosts == 1);
    let is_kept = is_1_1 && !says_close && !has_body;
    assert_eq!(request.after == After::KeepAlive, is_kept);
}
