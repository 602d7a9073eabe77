//! `helloop report`: reports of runs read back, side by side, as text and as a page.
//!
//! The tests of the page in a browser need Chromium, chromedriver and axe-core, so they are ignored
//! by default. To run them: `cargo test --test report -- --ignored --test-threads 1`.

#[path = "../browser/mod.rs"]
mod browser;
mod files;
#[path = "../http/mod.rs"]
mod http;
mod page;
mod text;
#[path = "../util/mod.rs"]
mod util;
