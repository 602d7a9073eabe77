//! Checks the guide: each step fits on a screen, and every test that the docs name exists.

use std::fs;
use std::path::{Path, PathBuf};

/// Limit on the visible lines of a step's program, so that it fits on a screen.
const MAX_LINES: usize = 60;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            files.extend(self::files(path.to_str().unwrap()));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
    files
}

fn docs(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("//!"));
    lines
        .map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned())
        .collect()
}

#[test]
fn each_step_is_one_program_of_at_most_sixty_lines() {
    let mut steps = 0;
    for path in files("src/guide") {
        if !path.to_str().unwrap().contains("/step") {
            continue;
        }
        steps += 1;
        let docs = docs(&path);
        let fences: Vec<usize> = (0..docs.len())
            .filter(|&line| docs[line].starts_with("```"))
            .collect();
        assert_eq!(fences.len(), 2, "{path:?} has other than one program");
        let program = &docs[fences[0] + 1..fences[1]];
        let is_visible = |line: &&String| !line.starts_with("# ") && *line != "#";
        let visible = program.iter().filter(is_visible).count();
        assert!(
            visible <= MAX_LINES,
            "{path:?}: {visible} lines, over {MAX_LINES}"
        );
        assert!(docs.iter().any(|line| line == "# What still goes wrong"));
    }
    assert_eq!(steps, 6);
}

/// A name in backticks with at least three underscores is taken as the name of a test.
#[test]
fn every_test_that_the_docs_name_exists() {
    let code: String = ["tests", "src"]
        .iter()
        .flat_map(|folder| files(folder))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let mut named = 0;
    for path in files("src") {
        let docs = docs(&path).join("\n");
        for name in docs.split('`').skip(1).step_by(2) {
            let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if is_name && name.matches('_').count() >= 3 && name.contains(char::is_lowercase) {
                assert!(
                    code.contains(&format!("fn {name}(")),
                    "{path:?} names {name}, which does not exist"
                );
                named += 1;
            }
        }
    }
    assert!(named > 30, "found only {named}");
}
