//! The files of a report: complete, or as they were.

use crate::util::{Ended, HELLOOP, helloop, refusing_port, run};
use std::fs;
use std::process::Command;

const SPAWNED: [&str; 7] = [
    "stress",
    "--spawn",
    "--clients",
    "1",
    "--messages",
    "9",
    "--warmup=0s",
];

#[test]
fn a_report_replaces_an_earlier_one_when_it_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let [json, html] = ["run.json", "run.html"].map(|name| folder.path().join(name));
    let files = [
        "--json",
        json.to_str().unwrap(),
        "--html",
        html.to_str().unwrap(),
    ];
    for path in [&json, &html] {
        fs::write(path, "an earlier report").unwrap();
    }
    let (_bound, to) = refusing_port();
    let to = to.to_string();
    let failing = ["stress", "--to", &to, "--duration", "1s"];
    for (start, code) in [(&failing[..], 1), (&["stress", "--name", "exit"], 2)] {
        let ended = run(helloop(&[start, &files].concat()));
        assert_eq!(ended.code, Some(code), "{ended:?}");
        for path in [&json, &html] {
            assert_eq!(fs::read_to_string(path).unwrap(), "an earlier report");
        }
    }
    let ended = run(helloop(&[&SPAWNED[..], &files].concat()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report = fs::read_to_string(&json).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&report).is_ok());
    assert!(fs::read_to_string(&html).unwrap().contains("</html>"));
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        2,
        "a part is left"
    );
}

/// The run does not start.
#[test]
fn a_folder_that_cannot_be_written_is_found_before_the_run() {
    for path in ["/no/such/folder/run.json", "/dev/null/run.json"] {
        let ended = run(helloop(&[&SPAWNED[..], &["--json", path]].concat()));
        assert_failed(&ended, path);
        assert_eq!(ended.stdout, "");
    }
}

#[cfg(unix)] // a shell limits the size of files
#[test]
fn on_a_full_disk_the_text_report_still_comes() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("run.json");
    fs::write(&json, "an earlier report").unwrap();
    let json = json.to_str().unwrap();
    let mut shell = Command::new("sh");
    // The error is EFBIG in place of ENOSPC.
    shell.args([
        "-c",
        "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"",
        HELLOOP,
    ]);
    shell
        .args(SPAWNED)
        .args(["--json", json, "--slo", "max<1ns"]);
    let ended = run(shell);
    assert!(ended.stdout.contains("latency") && ended.stdout.contains("verdict"));
    // It takes precedence over the objective that was missed.
    assert_failed(&ended, json);
    assert_eq!(fs::read_to_string(json).unwrap(), "an earlier report");
    // On a device that is full, too.
    if cfg!(target_os = "linux") {
        let ended = run(helloop(&[&SPAWNED[..], &["--html", "/dev/full"]].concat()));
        assert!(ended.stdout.contains("verdict"));
        assert_failed(&ended, "/dev/full");
    }
}

/// Exit code 1, and one error line that names the file.
#[track_caller]
fn assert_failed(ended: &Ended, path: &str) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let errors = ended.stderr.lines();
    let errors: Vec<&str> = errors.filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{ended:?}");
    assert!(
        errors[0].contains(&format!("cannot write {path}: ")),
        "{ended:?}"
    );
}
