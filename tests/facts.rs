//! Checks the README's facts against the code: the picture of the turn, the limits and their
//! defaults, the exit codes, the loss causes, the links. tests/stress/report.rs checks the keys of
//! the JSON report, and tests/readme.rs the commands.

mod util;

use helloop::testing::stress::Counters;
use helloop::testing::stress::EXIT_INTERRUPTED;
use helloop::testing::stress::exit;
use std::collections::BTreeSet;
use std::path::Path;
use util::{readme, run_helloop};

#[test]
fn the_picture_of_the_turn_is_the_one_in_the_documentation() {
    let documentation = include_str!("../src/lib.rs");
    let lines: Vec<&str> = documentation
        .lines()
        .filter_map(|line| line.strip_prefix("//! "))
        .collect();
    let picture = &readme::blocks_in("text")[0].text;
    for line in picture.lines() {
        assert!(lines.contains(&line), "{line:?} is not in src/lib.rs");
    }
}

/// Checks the table `| limit | flag | default |`.
#[test]
fn the_limits_have_the_defaults_that_the_help_shows() {
    let help = run_helloop(&["serve", "-h"]).stdout;
    for row in readme::table(&["limit", "flag", "default"]) {
        let [limit, flag, default] = row.as_slice() else {
            panic!("{row:?}");
        };
        let Some(flag) = readme::quoted(flag).first().copied() else {
            assert_eq!(limit, "buffered bytes per client");
            assert_eq!(flag, "fixed: 256 KiB");
            const { assert!(helloop::server::sources::peer::MAX_PEER_BYTES <= 256 << 10) };
            continue;
        };
        let line = help.lines().find(|line| line.contains(&format!("{flag} ")));
        let line = line.unwrap_or_else(|| panic!("no {flag} in {help}"));
        // A timeout is switched off by 0s, a limit by leaving it out.
        let is_timeout = line.contains("<TIME>");
        let default = if default == "off" && is_timeout {
            "0s"
        } else {
            default
        };
        assert!(line.contains(&format!("[default: {default}]")), "{line}");
    }
}

#[test]
fn the_exit_codes_match_the_code_and_the_help() {
    let listed = readme::between("**Exit codes**: ", ".\n\n").replace('\n', " ");
    let help = run_helloop(&["stress", "--help"]).stdout.replace('\n', " ");
    let listed_in_help = help.split_once("Exit codes: ").unwrap().1;
    let listed_in_help = listed_in_help.split_once(". ").unwrap().0;
    let codes = |text: &str| -> BTreeSet<u8> {
        let clauses = text.split("; ");
        let first = clauses.filter_map(|clause| clause.split_whitespace().next()?.parse().ok());
        first.collect()
    };
    const WRONG_USAGE: u8 = 2; // from clap
    let all = [
        exit::OK,
        exit::NOT_STARTED,
        WRONG_USAGE,
        exit::SLO_MISSED,
        exit::NOT_ACHIEVED,
        EXIT_INTERRUPTED,
    ];
    assert_eq!(codes(&listed), all.into());
    assert_eq!(codes(listed_in_help), all.into());
}

#[test]
fn the_loss_causes_are_the_ones_that_are_counted() {
    let listed = readme::between("The causes in `lost_by_cause` are ", ".");
    let listed: BTreeSet<_> = readme::quoted(listed).into_iter().collect();
    let causes = Counters::default().lost.into_iter();
    assert_eq!(listed, causes.map(|(cause, _)| cause.name()).collect());
}

/// Every linked heading and every named file exists, and pictures are small enough to download.
#[test]
fn every_link_has_a_target() {
    const MAX_PICTURE_BYTES: u64 = 100 * 1_024;
    let anchors: BTreeSet<String> = readme::TEXT
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words.replace(
                |character: char| !character.is_alphanumeric() && character != ' ',
                "",
            );
            kept.replace(' ', "-")
        })
        .collect();
    let links = readme::TEXT.split("](").skip(1);
    for link in links.map(|rest| rest.split(')').next().unwrap()) {
        if let Some(anchor) = link.strip_prefix('#') {
            assert!(
                anchors.contains(anchor),
                "#{anchor} is not among the headings {anchors:?}"
            );
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
            assert!(path.exists(), "{name} does not exist");
        }
    }
}
