//! Which module imports which, with re-exports followed to the module that defines the name.

use crate::source::{Source, words};
use std::collections::BTreeMap;

/// A module's path, as in `["server", "sources", "peer"]`. The crate's root is empty.
pub(crate) type Module = Vec<String>;

/// Imports that lead to imports; more than this is a circle.
const MAX_REEXPORTS: usize = 8;

/// Every module of a crate with the paths that it names.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    /// By module: the name under which a path is imported, and the path.
    modules: BTreeMap<Module, Vec<(String, Vec<String>)>>,
    /// Macros that `#[macro_export]` puts into the root, with their modules.
    macros: BTreeMap<String, Module>,
}

impl Imports {
    /// `root` is the crate's folder, as in `src`; its `lib.rs` or `main.rs` is the root module.
    pub(crate) fn new<'a>(root: &str, sources: impl Iterator<Item = &'a Source>) -> Self {
        let mut imports = Self::default();
        for source in sources {
            let path = source.path.strip_prefix(root).unwrap_or(&source.path);
            let path = path.trim_start_matches('/').trim_end_matches(".rs");
            let module: Module = match path {
                "lib" | "main" => Vec::new(),
                _ => path.split('/').map(str::to_owned).collect(),
            };
            for macros in source.product.split("#[macro_export]").skip(1) {
                let (_, name) = macros.split_once("macro_rules! ").expect("a macro");
                let name = name.split_whitespace().next().unwrap_or_default();
                imports.macros.insert(name.to_owned(), module.clone());
            }
            let entry = imports.modules.entry(module).or_default();
            entry.extend(paths(&source.product));
        }
        imports
    }

    /// Pairs of modules, the first of which imports the second. An import through a re-export
    /// counts twice: the module that re-exports, and the one that defines.
    pub(crate) fn edges(&self) -> Vec<(&Module, Module)> {
        let mut edges = Vec::new();
        for (module, paths) in &self.modules {
            for (_, path) in paths {
                let targets = self.resolve(module, path, MAX_REEXPORTS);
                edges.extend(targets.into_iter().map(|target| (module, target)));
            }
        }
        edges.sort();
        edges.dedup();
        edges
    }

    /// The modules that `path` leads to from `module`; none outside the crate.
    fn resolve(&self, module: &Module, path: &[String], reexports: usize) -> Vec<Module> {
        let mut target = module.clone();
        if let Some(first) = path.first() {
            target.push(first.clone());
            let is_submodule = self.modules.contains_key(&target);
            target.pop();
            if !is_submodule && !["crate", "self", "super"].contains(&first.as_str()) {
                return Vec::new();
            }
        }
        for name in path {
            match name.as_str() {
                "crate" => target.clear(),
                "self" => {}
                "super" => drop(target.pop()),
                _ => target.push(name.clone()),
            }
            if self.modules.contains_key(&target) {
                continue;
            }
            target.pop();
            if let (true, Some(module)) = (target.is_empty(), self.macros.get(name)) {
                return vec![module.clone()];
            }
            let mut imported = self.modules.get(&target).into_iter().flatten();
            let mut targets = match imported.find(|(alias, _)| alias == name) {
                Some((_, path)) if reexports > 0 => self.resolve(&target, path, reexports - 1),
                _ => Vec::new(),
            };
            targets.push(target);
            return targets;
        }
        vec![target]
    }
}

/// The paths that code names: all of its `use` items, and paths that start with `crate` or
/// `super` elsewhere. Each with the name that it introduces.
fn paths(code: &str) -> Vec<(String, Vec<String>)> {
    let words: Vec<&str> = words(code).into_iter().map(|(_, word)| word).collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let follows = |word| words.get(at + 1) == Some(&word);
        at = match words[at] {
            "use" => tree(&words, at + 1, &[], &mut found),
            "crate" | "super" if follows("::") => {
                let end = tree(&words, at, &[], &mut found);
                // Names a path without importing it.
                found.last_mut().expect("one path").0.clear();
                end
            }
            _ => at + 1,
        };
    }
    found
}

/// Reads the tree of paths that starts at `at`. Returns where it ends.
fn tree(
    words: &[&str],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<(String, Vec<String>)>,
) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match words.get(at).copied() {
            Some("{") => {
                at += 1;
                while words.get(at).is_some_and(|word| *word != "}") {
                    at = tree(words, at, &path, found);
                    at += usize::from(words.get(at) == Some(&","));
                }
                return at + 1;
            }
            Some("::") => at += 1,
            Some(word) if word != "*" && word != "<" => {
                path.push(word.to_owned());
                at += 1;
                if words.get(at) == Some(&"::") {
                    continue;
                }
                let mut name = match prefix.last() {
                    Some(module) if word == "self" => module,
                    _ => word,
                };
                if words.get(at) == Some(&"as") {
                    name = words[at + 1];
                    at += 2;
                }
                found.push((name.to_owned(), path));
                return at;
            }
            _ => {
                found.push((String::new(), path));
                return at + 1;
            }
        }
    }
}
