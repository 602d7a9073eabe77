//! What the guide promises: each step fits on a screen, and each test that it names exists.

use std::fs;
use std::path::{Path, PathBuf};

/// Visible lines of a step's program: a screen of server, and a few lines of its clients.
const MAX_VISIBLE_LINES: usize = 60;

/// The Rust files in this folder of the crate, and below.
fn rust_files(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The lines of the file's module documentation.
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
    for path in rust_files("src/guide") {
        if !path.to_str().unwrap().contains("/step") {
            continue;
        }
        steps += 1;
        let docs = docs(&path);
        let fences: Vec<usize> = (0..docs.len())
            .filter(|&line| docs[line].starts_with("```"))
            .collect();
        assert_eq!(fences.len(), 2, "{path:?}: not one program");
        let program = &docs[fences[0] + 1..fences[1]];
        let is_visible = |line: &&String| !line.starts_with("# ") && *line != "#";
        let visible = program.iter().filter(is_visible).count();
        assert!(visible <= MAX_VISIBLE_LINES, "{path:?}: {visible} lines");
        assert!(docs.iter().any(|line| line == "# What still goes wrong"));
    }
    assert_eq!(steps, 6);
}

/// In the docs, a name in backticks with at least three underscores is a test's.
#[test]
fn every_test_that_the_docs_name_exists() {
    let code: String = ["tests", "src"]
        .into_iter()
        .flat_map(rust_files)
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let mut checked = 0;
    for path in rust_files("src") {
        let docs = docs(&path).join("\n");
        for name in docs.split('`').skip(1).step_by(2) {
            let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if is_name && name.matches('_').count() >= 3 && name.contains(char::is_lowercase) {
                let exists = code.contains(&format!("fn {name}("));
                assert!(exists, "{path:?} names a test that does not exist: {name}");
                checked += 1;
            }
        }
    }
    assert!(checked > 30, "only {checked} names found");
}
