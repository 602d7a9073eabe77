//! Phrases that a native speaker would not write, or that stand in for the standard term.
//!
//! Checked are README.md, the prose of Rust files, names in prose included, and the pages of the
//! observer and of a report (HTML, CSS, JavaScript).

use crate::source::{Prose, ProseKind, Source};

/// Each phrase, and what to write instead.
const PHRASES: &[(&str, &str)] = &[
    ("nobody", "no one; or name the client, observer or caller"),
    ("whoever", "name the subject"),
    ("for ever", "forever"),
    (
        "is told",
        "name the call: is passed, is notified, is reported to",
    ),
    (
        "are told",
        "name the call: are passed, are notified, are reported to",
    ),
    ("told by", "reported by, shown by"),
    ("behind it", "after it"),
    ("in vain", "without result; or say what did not happen"),
    ("who waits", "a waiting client"),
];

/// Not checked yet, and why.
const UNCHECKED: &[(&str, &str)] = &[
    ("src/guide.rs", "the guide is rewritten as a whole"),
    ("src/guide/", "the guide is rewritten as a whole"),
];

/// The phrases in comments, documentation and literals.
pub(crate) fn in_sources(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let starts_with = |start: &&str| source.path.starts_with(start);
        if UNCHECKED.iter().any(|(start, _)| starts_with(start)) {
            continue;
        }
        for Prose { line, text, .. } in paragraphs(&source.prose) {
            found.extend(in_text(&source.path, line, &text));
        }
    }
    found
}

/// Joins the lines of a comment, so that a phrase is found across a line break.
fn paragraphs(prose: &[Prose]) -> Vec<Prose> {
    let mut paragraphs: Vec<Prose> = Vec::new();
    for piece in prose {
        let text = match piece.kind {
            ProseKind::Literal => piece.text.replace("\\\n", "\n"),
            _ => piece.text.trim_start_matches(['/', '!']).to_owned(),
        };
        match paragraphs.last_mut() {
            Some(last)
                if piece.kind != ProseKind::Literal
                    && last.kind == piece.kind
                    && last.line + last.text.lines().count() == piece.line =>
            {
                last.text.push('\n');
                last.text.push_str(&text);
            }
            _ => paragraphs.push(Prose {
                text,
                ..piece.clone()
            }),
        }
    }
    paragraphs
}

/// The phrases in `text`, whose first line is number `first` of `path`.
pub(crate) fn in_text(path: &str, first: usize, text: &str) -> Vec<String> {
    let (mut words, mut lines) = (String::from(" "), vec![first]);
    for (line, text) in (first..).zip(text.lines()) {
        for word in text.split(|letter: char| !letter.is_alphanumeric()) {
            if !word.is_empty() {
                words.push_str(&word.to_lowercase());
                words.push(' ');
                lines.resize(words.len(), line);
            }
        }
    }
    let mut found = Vec::new();
    for (phrase, instead) in PHRASES {
        for (at, _) in words.match_indices(&format!(" {phrase} ")) {
            let line = lines[at + 1];
            found.push(format!("{path}:{line}: \"{phrase}\" (write: {instead})"));
        }
    }
    found
}
