//! Which code may name an operating system: the modules that hide the differences, and no other. A
//! reader of the loop, the protocol and the programs sees one system.

use crate::source::{Source, line_of, words};

/// The modules that name one, with what is below them.
const SYSTEM_MODULES: [&str; 2] = ["src/net/system", "src/system"];

/// Conditions on the system, and packages that not every system has.
const SYSTEM_WORDS: [&str; 9] = [
    "target_os",
    "target_family",
    "target_vendor",
    "nix",
    "libc",
    "signal_hook",
    "ctrlc",
    "anstyle_query",
    "windows_sys",
];

/// Names of systems in a condition (`cfg(unix)`) and in a path (`std::os::fd`, `mio::unix`).
const SYSTEMS: [&str; 4] = ["unix", "windows", "linux", "fd"];

/// The places outside these modules that name a system.
pub(crate) fn named(sources: &[Source]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in sources {
        let is_system = |module: &&str| {
            let rest = source.path.strip_prefix(*module);
            rest.is_some_and(|rest| rest.starts_with(['.', '/']))
        };
        if SYSTEM_MODULES.iter().any(is_system) {
            continue;
        }
        let words = words(&source.code);
        for (at, (offset, word)) in words.iter().enumerate() {
            let before = at.checked_sub(1).map(|at| words[at].1);
            let is_named = SYSTEMS.contains(word) && matches!(before, Some("(" | "::" | "," | "{"));
            if SYSTEM_WORDS.contains(word) || is_named {
                let line = line_of(&source.code, *offset);
                broken.push(format!("{}:{line}: {word}", source.path));
            }
        }
    }
    broken
}
