//! Each rule finds what breaks it, and nothing else.

use crate::imports::Imports;
use crate::source::{ProseKind, Source};
use crate::{MAX_FILE_LINES, MAX_FUNCTION_LINES};
use crate::{circles, phrases, systems, too_long, units, upward_imports, without_header};

const HEADER: &str = "//! What it is.\n//!\n//! **Owns** one. **Must never\n//! touch** \
                      another.\n//! **Invariant**: none.\n";

fn source(text: &str) -> Source {
    Source::new("src/module.rs", text)
}

#[test]
fn code_and_prose_are_told_apart() {
    let source = source(concat!(
        "//! header\n",
        "/// doc\n",
        "const TEXT: &str = \"// no \\\" comment\"; // comment\n",
        "/* a /* nested */ comment */ const RAW: &str = r#\"raw \" {\"#;\n",
        "fn f<'a>(x: &'a str) -> char { '{' }\n",
    ));
    let prose: Vec<_> = source
        .prose
        .iter()
        .map(|prose| (prose.kind, prose.line))
        .collect();
    assert_eq!(
        prose,
        [
            (ProseKind::Header, 1),
            (ProseKind::Doc, 2),
            (ProseKind::Literal, 3),
            (ProseKind::Comment, 3),
            (ProseKind::Comment, 4),
            (ProseKind::Literal, 4),
            (ProseKind::Literal, 5),
        ]
    );
    let code: Vec<_> = source.code.split_whitespace().collect();
    assert_eq!(code[..5], ["const", "TEXT:", "&str", "=", "~~~"]);
    assert_eq!(source.code_lines(), 3);
    assert_eq!(source.functions()[0].name, "f");
}

#[test]
fn tests_are_not_code() {
    let source = source(concat!(
        "fn one() {\n    two()\n}\n\n",
        "#[cfg(test)]\nmod simulated;\n",
        "struct Three {\n    #[cfg(test)]\n    four: u8,\n    five: u8,\n}\n",
        "#[cfg(test)]\nmod tests {\n    fn six() {}\n}\n",
    ));
    assert_eq!(source.code_lines(), 6);
    assert_eq!(source.test_paths(), ["src/module/simulated"]);
}

#[test]
fn a_header_without_one_of_its_parts_is_found() {
    assert_eq!(without_header(&[source(HEADER)]), [""; 0]);
    assert_eq!(without_header(&[source("fn f() {}\n")]).len(), 4);
    let without_owns = HEADER.replace("Owns", "Has");
    assert_eq!(
        without_header(&[source(&without_owns)]),
        ["src/module.rs: no **Owns**"]
    );
    let without_title = HEADER.replace("What it is.", "");
    assert_eq!(without_header(&[source(&without_title)]).len(), 1);
    assert_eq!(
        without_header(&[Source::new("src/main.rs", "//! The program.\n")]),
        [""; 0]
    );
}

/// The upward imports and the circles among modules `a` and `b` and their submodules, where `a`
/// may import `b`.
fn imports(sources: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let sources: Vec<_> = sources
        .iter()
        .map(|(path, text)| Source::new(path, text))
        .collect();
    let imports = Imports::new("src", sources.iter());
    let edges = imports.edges();
    (
        upward_imports(&edges, &[("a", &["b"]), ("b", &[])]),
        circles(&edges),
    )
}

#[test]
fn an_upward_import_is_found_in_every_form() {
    let lib = ("src/lib.rs", "pub mod a;\npub mod b;\n");
    let upward = |text| imports(&[lib, ("src/a.rs", "pub struct A;"), ("src/b.rs", text)]).0;
    for text in [
        "use crate::a::A;",
        "use crate::{a::A as Other, c};",
        "use super::a;",
        "fn f() -> crate::a::A {}",
        "macro_rules! m {\n    () => {\n        $crate::a::A\n    };\n}",
    ] {
        assert_eq!(upward(text), ["b imports a"], "{text}");
    }
    for text in [
        "use std::a;",
        "// use crate::a;",
        "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}",
    ] {
        assert_eq!(upward(text), [""; 0], "{text}");
    }
}

#[test]
fn an_upward_import_is_found_through_a_reexport() {
    let (upward, _) = imports(&[
        ("src/lib.rs", "pub mod a;\npub mod b;\npub use a::A;\n"),
        (
            "src/a.rs",
            "pub struct A;\n#[macro_export]\nmacro_rules! macro_of_a {\n}\n",
        ),
        ("src/b.rs", "mod one;\nmod two;\n"),
        ("src/b/one.rs", "use crate::A;\n"),
        ("src/b/two.rs", "use crate::macro_of_a;\n"),
    ]);
    assert_eq!(upward, ["b::one imports a", "b::two imports a"]);
    let (upward, _) = imports(&[
        ("src/lib.rs", "pub mod a;\npub mod b;\n"),
        ("src/a.rs", "pub use std::A;\npub use crate::b::B;\n"),
        ("src/b.rs", "use crate::a::A;\npub struct B;\n"),
        ("src/b/one.rs", "use crate::a::B;\n"),
    ]);
    assert_eq!(upward, ["b imports a", "b::one imports a"]);
}

#[test]
fn a_circle_is_found_and_a_module_may_use_its_submodules() {
    let (_, circles) = imports(&[
        ("src/lib.rs", "pub mod a;\n"),
        (
            "src/a.rs",
            "mod x;\nmod y;\nmod z;\nuse x::X;\npub use z::Z;\n",
        ),
        ("src/a/x.rs", "use super::y::Y;\npub struct X;\n"),
        ("src/a/y.rs", "use super::Z;\npub struct Y;\n"),
        ("src/a/z.rs", "use crate::a::X;\npub struct Z;\n"),
    ]);
    assert_eq!(circles, ["a::x -> a::y -> a::z -> a::x"]);
    let (_, circles) = imports(&[
        ("src/lib.rs", "pub mod a;\n"),
        ("src/a.rs", "mod x;\nuse x::X;\npub struct A;\n"),
        ("src/a/x.rs", "use super::A;\npub struct X;\n"),
    ]);
    assert_eq!(circles, [""; 0]);
}

#[test]
fn a_long_function_and_a_long_file_are_found() {
    let function = |lines: usize| {
        source(&format!(
            "fn f(x: [u8; 2]) {{{}}}\n",
            "\n".repeat(lines - 1)
        ))
    };
    assert_eq!(too_long(&[function(MAX_FUNCTION_LINES)]), [""; 0]);
    assert_eq!(
        too_long(&[function(MAX_FUNCTION_LINES + 1)]),
        ["src/module.rs:1: 71 lines of f"]
    );
    let file = |lines: usize| source(&"\n".repeat(lines));
    assert_eq!(too_long(&[file(MAX_FILE_LINES)]), [""; 0]);
    assert_eq!(
        too_long(&[file(MAX_FILE_LINES + 1)]),
        ["src/module.rs: 451 lines"]
    );
}

#[test]
fn a_quantity_without_a_unit_is_found() {
    for text in [
        "const LIMIT: usize = 1;",
        "    pub(crate) const LIMIT: [u64; 2] = [1, 2];",
        "static LIMIT: f64 = 1.0;",
        "const LIMIT: (u16, u16) =\n    (1, 2);",
    ] {
        assert_eq!(units::without_unit(&[source(text)]).len(), 1, "{text}");
    }
    for text in [
        "const MAX_BYTES: usize = 1;",
        "const LIMIT: Duration = Duration::ZERO;",
        "const HELLO: &[u8] = b\"Hello\";",
        "const HTTP_PORT: u16 = 80;",
        "const fn limit() -> usize {\n    1\n}",
        "const _: () = assert!(true);",
        "// const LIMIT: usize = 1;",
    ] {
        assert_eq!(units::without_unit(&[source(text)]), [""; 0], "{text}");
    }
}

#[test]
fn a_phrase_is_found_across_lines_and_in_all_prose() {
    let found = |path, text| phrases::in_sources(&[Source::new(path, text)]).len();
    for text in [
        "//! The loop\n//! is\n//! told.\n",
        "    // It waits for\n    // ever.\n",
        "const TEXT: &str = \"Nobody's fault\";\n",
        "const TEXT: &str = \"for \\\n    ever\";\n",
    ] {
        assert_eq!(found("src/module.rs", text), 1, "{text}");
    }
    assert_eq!(
        found(
            "src/module.rs",
            "/// This told, by itself.\nfn nobody() {}\n"
        ),
        1
    );
    assert_eq!(
        found("src/module.rs", "// The iteration behind iterators.\n"),
        0
    );
    assert_eq!(
        found("src/cli.rs", "/// Whoever reads --help.\nfn f() {}\n"),
        1
    );
    assert_eq!(
        phrases::in_text("README.md", 1, "One\n**Whoever** came\n")[0]
            .split(' ')
            .next(),
        Some("README.md:2:")
    );
}

#[test]
fn a_system_that_is_named_outside_its_module_is_found() {
    let text = concat!(
        "//! Not on `cfg(windows)`.\n",
        "#[cfg(target_os = \"linux\")]\n",
        "use std::os::fd::AsFd;\n",
        "use std::os::{unix::fs, windows};\n",
        "#[cfg(all(test, unix))]\n",
        "fn f(list: &[u8]) -> usize {\n    list.windows(2).count()\n}\n",
        "const NAME: &str = \"unix\";\n",
        "use nix::errno::Errno;\n",
    );
    let found = |path| systems::named(&[Source::new(path, text)]);
    let expected = [
        "2: target_os",
        "3: fd",
        "4: unix",
        "4: windows",
        "5: unix",
        "10: nix",
    ];
    for path in ["src/server.rs", "src/systems.rs", "src/net/keepalive.rs"] {
        let expected = expected.map(|place| format!("{path}:{place}"));
        assert_eq!(found(path), expected);
    }
    for path in [
        "src/system.rs",
        "src/system/unix.rs",
        "src/net/system/linux.rs",
    ] {
        assert_eq!(found(path), Vec::<String>::new(), "{path}");
    }
}
