//! axe-core (<https://github.com/dequelabs/axe-core>), run in a page: what it finds, as text.
//!
//! The script comes with the Python wheel `axe-core-python`, which `.ci/run` installs into
//! `target/python`.

use super::Browser;
use serde_json::Value;
use std::path::Path;

/// Where `pip install --target target/python axe-core-python` puts the script.
const SCRIPT: &str = "target/python/axe_core_python/axe.min.js";

/// All rules of axe-core, best practices included. Rules that axe cannot decide are not reported.
const RUN: &str = "const done = arguments[arguments.length - 1]; \
    axe.run(document, { resultTypes: ['violations'] }).then( \
        (found) => done(found.violations.map((violation) => \
            violation.id + ': ' + violation.help + violation.nodes.map((node) => \
                '\\n    ' + node.target.join(' ') + ': ' + node.failureSummary).join(''))), \
        (error) => done(['axe-core failed: ' + error]));";

impl Browser {
    /// The violations that axe-core finds in the page as it is now.
    #[track_caller]
    pub fn axe_violations(&self) -> Vec<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(SCRIPT);
        let script = std::fs::read_to_string(&path).unwrap_or_else(|error| {
            panic!(
                "{}: {error}; python3 -m pip install --target target/python axe-core-python",
                path.display()
            )
        });
        if self.run("return typeof axe === 'undefined'") == true {
            self.run(&script);
        }
        let found = self.run_async(RUN);
        let texts = found.as_array().unwrap().iter();
        texts
            .map(|text| Value::as_str(text).unwrap().to_owned())
            .collect()
    }

    /// Fails if axe-core finds a violation in the page as it is now.
    #[track_caller]
    pub fn assert_accessible(&self, what: &str) {
        let found = self.axe_violations();
        assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
    }
}
