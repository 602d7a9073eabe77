//! The JSON form of the report, and the files that reports are written to.

use crate::faulty::{answer, serving};
use crate::util::readme;
use crate::{SHORT, run, spawned};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;

/// The parts of the JSON form in README.md, each a JSON pointer and its keys: `slos[]` is
/// `/slos/0`, and `top` is the whole report.
fn keys_of_the_readme() -> Vec<(String, BTreeSet<&'static str>)> {
    let rows = readme::between("| part | keys |\n| --- | --- |\n", "\n\n").lines();
    rows.map(|row| {
        let (part, keys) = row.trim_matches('|').split_once(" | ").expect("two cells");
        let part = readme::quoted(part)
            .first()
            .map_or_else(String::new, |name| {
                format!("/{}", name.replace('.', "/").replace("[]", "/0"))
            });
        // A remark in parentheses is about the key before it.
        let pieces = keys.split('(').enumerate();
        let outside = pieces.map(|(index, piece)| match index {
            0 => piece,
            _ => piece.split_once(')').expect("a closing parenthesis").1,
        });
        (part, outside.flat_map(readme::quoted).collect())
    })
    .collect()
}

#[test]
#[cfg_attr(
    any(not(target_os = "linux"), feature = "portable"),
    ignore = "process figures need Linux"
)]
fn the_json_form_has_the_keys_of_the_readme() {
    let flags = "--udp --clients 5 --duration 500ms --slo max<60s";
    let (ended, report) = spawned(flags);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(report["schema_version"], 2);
    let parts = keys_of_the_readme();
    assert_eq!(parts.len(), 16);
    for (part, keys) in parts {
        let found = report.pointer(&part).and_then(Value::as_object);
        let found = found.unwrap_or_else(|| panic!("no {part} in {report:#}"));
        let found: BTreeSet<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(found, keys, "{part}");
    }
}

#[test]
fn reports_are_written_to_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let [json, html] = ["run.json", "run.html"].map(|name| folder.path().join(name));
    let files = format!("--json {} --html {}", json.display(), html.display());
    let server = serving(|number, mut stream| {
        let welcome: &[u8] = if number == 0 { b"<b>&" } else { b"Welcome!" };
        let _ = stream.write_all(welcome);
        while answer(&mut stream) {}
    });
    let ended = run(&format!("--to {server} {SHORT} {files}"));
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    assert!(
        ended.stdout.contains("instead of the welcome: \"<b>&\""),
        "{ended:#?}"
    );
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(report["clients"]["wrong_welcome"], "<b>&");
    let page = std::fs::read_to_string(html).unwrap();
    assert_eq!(page.matches("<svg").count(), 4);
    assert!(page.contains("&lt;b&gt;&amp;") && !page.contains("<b>"));
    // The page works offline, and opening it sends no request.
    for reference in [
        "http:", "https:", "src=", "href=", "url(", "@import", "<script",
    ] {
        assert!(!page.contains(reference), "{reference}");
    }
    let flags = "--spawn --clients 1 --messages 5 --warmup 0s --json /nowhere/run.json";
    let ended = run(flags);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
}
