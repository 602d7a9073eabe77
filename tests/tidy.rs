//! The house rules, checked.
//!
//! Each rule is a function from the sources to the places that break it. The tables next to the
//! rules say what is permitted, and why; changing a rule means changing a table.
//! `tests/tidy/broken.rs` shows that each rule finds what breaks it.
//!
//! `cargo test --test tidy -- --nocapture` prints the code lines too.

#[path = "tidy/broken.rs"]
mod broken;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/phrases.rs"]
mod phrases;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/systems.rs"]
mod systems;
#[path = "tidy/units.rs"]
mod units;

use imports::{Imports, Module};
use source::Source;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::iter;
use std::path::Path;

/// Files without **Owns**, **Must never touch** and **Invariant** in their header.
const WITHOUT_CONTRACT: [(&str, &str); 3] = [
    ("src/lib.rs", "the first page of the documentation"),
    ("src/main.rs", "calls the library and nothing else"),
    (
        "src/guide",
        "pages of the documentation, without code of their own",
    ),
];

/// What each module of the crate may import; the crate's root is not listed.
const MAY_IMPORT: [(&str, &[&str]); 14] = [
    ("system", &[]),
    ("reactor", &[]),
    ("protocol", &["system"]),
    ("net", &["reactor", "protocol"]),
    ("file", &["protocol", "system"]),
    ("client", &["file", "net", "protocol", "system"]),
    ("observe", &["file", "net", "protocol", "reactor"]),
    ("output", &["system"]),
    (
        "server",
        &[
            "observe", "output", "net", "protocol", "reactor", "system", "units",
        ],
    ),
    (
        "stress",
        &["net", "output", "protocol", "reactor", "system", "units"],
    ),
    (
        "cli",
        &[
            "client", "file", "observe", "output", "server", "stress", "net", "protocol",
            "reactor", "system", "units",
        ],
    ),
    ("guide", &[]),
    ("units", &[]),
    ("testing", &["client", "observe", "stress", "net"]),
];

/// Modules whose imports are not followed in the search for circles.
const MAY_CLOSE_A_CIRCLE: [(&str, &str); 1] = [(
    "client::error",
    "the one error type holds the faults of its siblings, which return it",
)];

/// A function fits on one screen.
const MAX_FUNCTION_LINES: usize = 70;

/// A file has one subject.
const MAX_FILE_LINES: usize = 450;

/// What a reader must know of the server: the loop, and one client from accept to close.
const READING_PATH: [&str; 7] = [
    "src/reactor.rs",
    "src/reactor/",
    "src/net/stream.rs",
    "src/protocol/greeting.rs",
    "src/server/sources/peer.rs",
    "src/server/sources/peer/",
    "src/server/sources/listener.rs",
];

/// At most so many code lines on the [`READING_PATH`]: what it has today. It may shrink; a new
/// feature belongs elsewhere.
const READING_PATH_LINES: usize = 1_727;

/// All Rust files under `folders`.
fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry of the folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                let path = path.strip_prefix(root).expect("a path in the package");
                sources.push(Source::new(path.to_str().expect("a plain name"), &text));
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    let tests: Vec<String> = sources.iter().flat_map(Source::test_paths).collect();
    for source in &mut sources {
        let below = |test: &String| source.path.strip_prefix(test.as_str());
        if tests
            .iter()
            .filter_map(below)
            .any(|rest| rest.starts_with(['.', '/']))
        {
            source.mark_as_test();
        }
    }
    sources
}

/// Fails with all places that break a rule.
fn assert_none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n  {}\n", broken.join("\n  "));
}

fn without_header(sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in sources {
        let header = source.header();
        if header.is_empty() || header.starts_with("**") {
            broken.push(format!("{}: does not say what it is", source.path));
        }
        let mut excepted = WITHOUT_CONTRACT.iter();
        if source.is_test || excepted.any(|(start, _)| source.path.starts_with(start)) {
            continue;
        }
        for part in ["**Owns**", "**Must never touch**", "**Invariant**"] {
            if !header.contains(part) {
                broken.push(format!("{}: no {part}", source.path));
            }
        }
    }
    broken
}

#[test]
fn every_module_says_what_it_is_and_what_it_owns() {
    assert_none(
        &without_header(&sources(&["src"])),
        "a module's header says what it is, then **Owns**, **Must never touch**, **Invariant**",
    );
}

fn upward_imports(edges: &[(&Module, Module)], may_import: &[(&str, &[&str])]) -> Vec<String> {
    let mut broken = Vec::new();
    for (from, to) in edges {
        let (Some(above), Some(below)) = (from.first(), to.first()) else {
            continue;
        };
        let row = may_import.iter().find(|(name, _)| name == above);
        let is_permitted = row.is_some_and(|(_, names)| names.contains(&below.as_str()));
        if above != below && !is_permitted {
            broken.push(format!("{} imports {}", from.join("::"), to.join("::")));
        }
    }
    broken
}

/// The shortest circles among the modules of one folder. Imports between a module and its own
/// submodules do not count: they are two halves of one thing.
fn circles(edges: &[(&Module, Module)]) -> Vec<String> {
    let mut imports: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    for (from, to) in edges {
        let common = from.iter().zip(to).take_while(|(one, other)| one == other);
        let depth = common.count() + 1;
        let closes_a_circle = MAY_CLOSE_A_CIRCLE
            .iter()
            .any(|(name, _)| *name == from.join("::"));
        if depth <= from.len() && depth <= to.len() && !closes_a_circle {
            imports
                .entry(&from[..depth])
                .or_default()
                .insert(&to[..depth]);
        }
    }
    let (mut broken, mut reported) = (Vec::new(), BTreeSet::new());
    for start in imports.keys() {
        let circle = circle(start, &imports).unwrap_or_default();
        if circle.iter().all(|module| !reported.contains(module)) && !circle.is_empty() {
            let names: Vec<String> = circle.iter().map(|module| module.join("::")).collect();
            broken.push(format!("{} -> {}", names.join(" -> "), names[0]));
            reported.extend(circle);
        }
    }
    broken
}

/// The shortest path from `start` that leads back to it.
fn circle<'a>(
    start: &'a [String],
    imports: &BTreeMap<&'a [String], BTreeSet<&'a [String]>>,
) -> Option<Vec<&'a [String]>> {
    let (mut reached, mut paths) = (BTreeSet::new(), VecDeque::from([vec![start]]));
    while let Some(path) = paths.pop_front() {
        for imported in imports.get(path.last()?).into_iter().flatten() {
            if *imported == start {
                return Some(path);
            }
            if reached.insert(*imported) {
                paths.push_back([&path[..], &[*imported]].concat());
            }
        }
    }
    None
}

#[test]
fn imports_run_one_way() {
    let sources = sources(&["src"]);
    let imports = Imports::new("src", sources.iter());
    let edges = imports.edges();
    let unlisted = edges.iter().filter_map(|(from, _)| from.first());
    let unlisted = unlisted.filter(|name| !MAY_IMPORT.iter().any(|(listed, _)| listed == name));
    let unlisted: BTreeSet<&String> = unlisted.collect();
    assert_eq!(
        unlisted,
        BTreeSet::new(),
        "modules without a row in MAY_IMPORT"
    );
    let mut broken = upward_imports(&edges, &MAY_IMPORT);
    broken.extend(circles(&edges));
    assert_none(
        &broken,
        "a module imports what MAY_IMPORT lists, and never in a circle",
    );
}

#[test]
fn the_imports_of_the_peers_bench_run_one_way() {
    let sources = sources(&["benches/peers"]);
    let imports = Imports::new("benches/peers", sources.iter());
    assert_none(
        &circles(&imports.edges()),
        "modules do not import each other in a circle",
    );
}

fn too_long(sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in sources {
        let lines = source.text.lines().count();
        if lines > MAX_FILE_LINES {
            broken.push(format!("{}: {lines} lines", source.path));
        }
        for function in source.functions() {
            if function.lines > MAX_FUNCTION_LINES {
                let (path, line) = (&source.path, function.line);
                broken.push(format!(
                    "{path}:{line}: {} lines of {}",
                    function.lines, function.name
                ));
            }
        }
    }
    broken
}

#[test]
fn functions_fit_a_screen_and_files_have_one_subject() {
    let rule = format!("at most {MAX_FUNCTION_LINES} lines a function, {MAX_FILE_LINES} a file");
    assert_none(&too_long(&sources(&["src", "tests", "benches"])), &rule);
}

#[test]
fn quantities_name_their_unit() {
    assert_none(
        &units::without_unit(&sources(&["src", "tests", "benches"])),
        "a constant that is a quantity has its unit in its name (tests/tidy/units.rs)",
    );
}

#[test]
fn only_the_system_modules_name_an_operating_system() {
    assert_none(
        &systems::named(&sources(&["src"])),
        "what differs between systems is a function of src/system or src/net/system",
    );
}

/// The pages of the observer and of a report, without the library that is copied from elsewhere.
fn page_files(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for folder in ["src/observe/page", "src/stress/report"] {
        for entry in fs::read_dir(root.join(folder)).expect(folder) {
            let name = entry.expect("an entry of the folder").file_name();
            let name = name.to_str().expect("a plain name");
            if [".html", ".css", ".js"]
                .iter()
                .any(|end| name.ends_with(end))
            {
                paths.push(format!("{folder}/{name}"));
            }
        }
    }
    assert!(paths.len() > 2, "{paths:?}");
    paths
}

#[test]
fn prose_is_plain() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = phrases::in_sources(&sources(&["src", "benches"]));
    for path in iter::once("README.md".to_owned()).chain(page_files(root)) {
        let text = fs::read_to_string(root.join(&path)).expect(&path);
        found.extend(phrases::in_text(&path, 1, &text));
    }
    assert_none(&found, "no phrase of the list in tests/tidy/phrases.rs");
}

#[test]
fn the_reading_path_stays_short() {
    let sources = sources(&["src"]);
    let lines = |paths: &[&str]| -> usize {
        let listed = |source: &&Source| paths.iter().any(|path| source.path.starts_with(path));
        sources.iter().filter(listed).map(Source::code_lines).sum()
    };
    for path in READING_PATH {
        assert!(lines(&[path]) > 0, "{path} is not there");
    }
    let reading_path = lines(&READING_PATH);
    println!(
        "code lines: {} in src, {reading_path} on the reading path",
        lines(&["src/"])
    );
    assert!(
        reading_path <= READING_PATH_LINES,
        "{reading_path} code lines"
    );
}
