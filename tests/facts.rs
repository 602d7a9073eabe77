//! What the README says beside its commands, held to the code: the picture of the turn, the
//! limits and their defaults, the exit codes, the causes, the links. The keys of the JSON form
//! are with the load's tests.

mod util;

use helloop::stress::counters::Counters;
use helloop::stress::report::exit;
use helloop::stress::signals::EXIT_INTERRUPTED;
use std::collections::BTreeSet;
use std::path::Path;
use util::{readme, run_helloop};

#[test]
fn the_turn_is_drawn_as_in_the_documentation() {
    let map = include_str!("../src/lib.rs");
    let lines: Vec<&str> = map
        .lines()
        .filter_map(|line| line.strip_prefix("//! "))
        .collect();
    let picture = &readme::blocks_in("text")[0].text;
    for line in picture.lines() {
        assert!(lines.contains(&line), "{line:?} is not in src/lib.rs");
    }
}

/// `| limit | flag | default |`.
#[test]
fn the_limits_have_the_defaults_of_the_help() {
    let help = run_helloop(&["serve", "-h"]).stdout;
    for row in readme::table(&["limit", "flag", "default"]) {
        let [limit, flag, default] = row.as_slice() else {
            panic!("{row:?}");
        };
        let Some(flag) = readme::quoted(flag).first().copied() else {
            assert_eq!(limit, "bytes kept for one client");
            assert_eq!(flag, "a constant, 256 KiB");
            const { assert!(helloop::server::sources::peer::MAX_PEER_BYTES <= 256 << 10) };
            continue;
        };
        let line = help.lines().find(|line| line.contains(&format!("{flag} ")));
        let line = line.unwrap_or_else(|| panic!("no {flag} in {help}"));
        let default = if default == "off" { "0s" } else { default };
        assert!(line.contains(&format!("[default: {default}]")), "{line}");
    }
}

#[test]
fn the_exit_codes_are_those_of_the_load_and_of_its_help() {
    let told = readme::between("**Exit codes**: ", ".\n\n").replace('\n', " ");
    let help = run_helloop(&["stress", "--help"]).stdout.replace('\n', " ");
    let told_by_help = help.split_once("Exit codes: ").unwrap().1;
    let told_by_help = told_by_help.split_once(". ").unwrap().0;
    let codes = |text: &str| -> BTreeSet<u8> {
        let clauses = text.split("; ");
        let first = clauses.filter_map(|clause| clause.split_whitespace().next()?.parse().ok());
        first.collect()
    };
    const WRONG_USAGE: u8 = 2; // clap's own
    let all = [
        exit::OK,
        exit::NOT_STARTED,
        WRONG_USAGE,
        exit::SLO_MISSED,
        exit::NOT_ACHIEVED,
        EXIT_INTERRUPTED,
    ];
    assert_eq!(codes(&told), all.into());
    assert_eq!(codes(told_by_help), all.into());
}

#[test]
fn the_causes_are_those_that_are_counted() {
    let told = readme::between("The causes in `lost_by_cause` are ", ".");
    let told: BTreeSet<_> = readme::quoted(told).into_iter().collect();
    let causes = Counters::default().lost.into_iter();
    assert_eq!(told, causes.map(|(cause, _)| cause.name()).collect());
}

/// Each heading that is linked to is there, and so is each file, small enough to be fetched.
#[test]
fn links_lead_somewhere() {
    const MAX_PICTURE_BYTES: u64 = 100 * 1_024;
    let anchors: BTreeSet<String> = readme::TEXT
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words.replace(
                |letter: char| !letter.is_alphanumeric() && letter != ' ',
                "",
            );
            kept.replace(' ', "-")
        })
        .collect();
    let links = readme::TEXT.split("](").skip(1);
    for link in links.map(|rest| rest.split(')').next().unwrap()) {
        if let Some(anchor) = link.strip_prefix('#') {
            assert!(anchors.contains(anchor), "#{anchor} is none of {anchors:?}");
        } else {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(link);
            let picture = std::fs::metadata(path).expect(link);
            assert!(picture.len() < MAX_PICTURE_BYTES, "{link}");
        }
    }
    for name in readme::quoted(readme::TEXT) {
        let source = ["src/", "tests/", "benches/"];
        if source.iter().any(|folder| name.starts_with(folder)) {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
            assert!(path.exists(), "{name} is not there");
        }
    }
}
