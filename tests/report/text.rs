//! The text, the errors and the exit codes; and what the page contains, without a browser.

use crate::files::{Folder, made, real, text_of};
use crate::util::{Ended, Process, helloop, run_helloop};
use serde_json::json;
use std::io::Write;

#[track_caller]
fn report(arguments: &[&str]) -> Ended {
    run_helloop(&[&["report"], arguments].concat())
}

/// The output for these files.
#[track_caller]
fn shown(files: &[&str]) -> String {
    let ended = report(files);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    ended.stdout
}

#[track_caller]
fn row<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    line[name.len()..].split_whitespace().collect()
}

#[test]
fn two_runs_are_shown_side_by_side_with_ratio_and_spread() {
    let folder = Folder::new();
    let [before, after] = folder.two();
    let text = shown(&[&before, &after]);
    assert_eq!(
        row(&text, "messages/s"),
        ["10000", "±0%", "20000", "±0%", "2.00*"]
    );
    assert_eq!(row(&text, "p99 "), ["8ms", "±0%", "8.02ms", "±0%", "1.00"]);
    // A figure without figures of seconds has a ratio and no verdict.
    assert_eq!(row(&text, "max ").last().unwrap(), &"1.00");
    let words: Vec<&str> = text.split_whitespace().collect();
    let words = words.join(" ");
    let verdict = "B differs from A beyond the spread of the seconds: messages/s 2.00; within it: ";
    assert!(words.contains(verdict), "{text}");
    assert!(words.contains("p99 1.00"), "{text}");
    for line in text.lines().filter(|line| !line.contains('/')) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    // The same file twice does not differ from itself.
    let text = shown(&[&before, &before]);
    assert!(text.contains("B  does not differ from A beyond"), "{text}");
}

#[test]
fn other_settings_and_a_short_run_are_pointed_out() {
    let folder = Folder::new();
    let [before, _] = folder.two();
    let mut other = real();
    other["plan"]["clients"] = json!(5);
    // A later helloop may write more keys.
    other["a key of a later version"] = json!([1]);
    let short = folder.write("short.json", other.to_string());
    let text = shown(&[&before, &short]);
    let words: Vec<&str> = text.split_whitespace().collect();
    let words = words.join(" ");
    assert!(words.contains("B has too few seconds to tell"), "{text}");
    assert!(words.contains("Its settings differ: clients."), "{text}");
}

#[test]
fn eight_runs_fit_eighty_columns_and_nine_are_wrong_usage() {
    let folder = Folder::new();
    let [before, after] = folder.two();
    let mut files = vec![before.as_str(); 7];
    files.push(&after);
    let text = shown(&files);
    assert!(text.contains("H/A"), "{text}");
    for line in text.lines().filter(|line| !line.contains(&before)) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    files.push(&after);
    for files in [&files[..], &[]] {
        let ended = report(files);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
        assert!(ended.stderr.contains("Usage: helloop report"), "{ended:?}");
    }
}

/// One report is shown as `helloop stress` showed it.
#[test]
fn one_report_is_shown_as_it_was() {
    let folder = Folder::new();
    let json = folder.path("run.json");
    let flags = ["stress", "--spawn", "--clients", "3", "--messages", "300"];
    let ended = run_helloop(&[&flags[..], &["--json", json.to_str().unwrap()]].concat());
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(shown(&[json.to_str().unwrap()]), ended.stdout);
}

#[test]
fn a_hyphen_is_standard_input() {
    let folder = Folder::new();
    let [before, after] = folder.two();
    let piped = |files: &[&str], stdin: &[u8]| {
        let mut process = Process::start(helloop(&[&["report"], files].concat()));
        process.stdin.take().unwrap().write_all(stdin).unwrap();
        process.wait()
    };
    let ended = piped(&[&before, "-"], &std::fs::read(&after).unwrap());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let by_name = shown(&[&before, &after]);
    assert_eq!(
        row(&ended.stdout, "messages/s"),
        row(&by_name, "messages/s")
    );
    assert!(ended.stdout.contains("standard input"), "{}", ended.stdout);
    let ended = piped(&["-"], b"");
    assert_eq!(ended.code, Some(1));
    let error = "error: standard input is not JSON: ";
    assert!(ended.stderr.starts_with(error), "{}", ended.stderr);
}

#[test]
fn a_file_that_is_not_a_report_is_one_clear_line() {
    let folder = Folder::new();
    let [good, _] = folder.two();
    let mut old = real();
    old["schema_version"] = json!(1);
    let mut damaged = real();
    damaged["plan"]["transport"] = json!("\u{1b}[2J");
    let mut endless = real();
    endless["verdict"]["shortcomings"] = json!(vec![""; 1_001]);
    let table = [
        (folder.path("absent.json"), "cannot open "),
        (folder.path("."), "cannot be read: Is a directory"),
        (folder.write("a", "").into(), "is not JSON: EOF"),
        (
            folder.write("b", "<html>").into(),
            "is not JSON: expected value",
        ),
        (
            folder.write("c", "{\"tables\":[]}").into(),
            "is not a report",
        ),
        (
            folder.write("d", old.to_string()).into(),
            "is a report of version 1, and this helloop reads version 2",
        ),
        (
            folder.write("e", damaged.to_string()).into(),
            "is a damaged report: unknown variant `\\u{1b}[2J`",
        ),
        (
            folder
                .write("f", &made(1.0, 1.0).to_string()[..2_000])
                .into(),
            "is not JSON: EOF",
        ),
        ("/dev/zero".into(), "is larger than 32 MiB"),
        (
            folder.write("g", endless.to_string()).into(),
            "is not a report: it has a list of more than 1000 entries",
        ),
    ];
    for (path, words) in table {
        let html = text_of(&folder.path("page.html"));
        let ended = report(&[&good, &text_of(&path), "--html", &html]);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(1), ""),
            "{ended:?}"
        );
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(ended.stderr.starts_with("error: "), "{ended:?}");
        assert!(ended.stderr.contains(words), "no {words:?} in {ended:?}");
        assert!(!ended.stderr.contains('\x1b'), "{ended:?}");
        assert!(!folder.path("page.html").exists());
    }
    let ended = report(&[&good, "--html", "/nowhere/page.html"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("cannot write /nowhere/page.html"),
        "{ended:?}"
    );
}

/// What a server said, what a file is called and what a file says is text, wherever it is shown.
#[test]
fn nothing_from_a_file_reaches_the_terminal_or_the_page_unescaped() {
    const HOSTILE: &str = "</script><script>alert(1)</script><img src=x>\u{1b}[2J\u{202e}";
    let mut hostile = made(1e4, 1e3);
    for pointer in [
        "/clients/wrong_welcome",
        "/clients/first_error",
        "/verdict/words",
        "/started",
    ] {
        *hostile.pointer_mut(pointer).unwrap() = json!(HOSTILE);
    }
    hostile["command"] = json!(["helloop", HOSTILE]);
    hostile["plan"]["to"] = json!(HOSTILE);
    hostile["machine"]["kernel"] = json!(HOSTILE);
    hostile["slos"][0]["slo"] = json!(HOSTILE);
    hostile["latency"]["histogram"]["encoded"] = json!(HOSTILE);
    let folder = Folder::new();
    // A name cannot contain a slash.
    let name = "<script><img src=x>\u{1b}[2J.json";
    let file = folder.write(name, hostile.to_string());
    assert!(
        file.as_bytes().contains(&0x1b)
            && folder
                .path(name)
                .as_os_str()
                .as_encoded_bytes()
                .contains(&b'<')
    );
    for files in [vec![&*file], vec![&*file, &*file]] {
        let text = shown(&files);
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
        let page = shown(&[&files[..], &["--html", "-"]].concat());
        assert!(!page.contains(['\u{1b}', '\u{202e}']));
        let page = page.to_lowercase();
        // The data, uPlot and the page's own script.
        assert_eq!(page.matches("<script").count(), 3);
        assert_eq!(page.matches("</script").count(), 3);
        assert_eq!(page.matches("<img").count(), 0);
    }
}

/// The policy of the page forbids all requests, and its own parts make none.
#[test]
fn the_page_refers_to_nothing_outside() {
    let folder = Folder::new();
    let [before, after] = folder.two();
    let page = shown(&[&before, &after, "--html", "-"]);
    let policy = "content=\"default-src 'none'; script-src 'unsafe-inline'; \
                  style-src 'unsafe-inline'; img-src data:\"";
    assert!(page.contains(policy));
    for reference in [
        "src=", "href=", "url(", "@import", "http:", "fetch(", "import(",
    ] {
        assert!(!page.contains(reference), "{reference}");
    }
    assert!(page.contains("Copyright (c) 2022 Leon Sorokin"));
    assert_eq!(page.matches("<figure").count(), 6);
}
