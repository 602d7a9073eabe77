//! The contrast of the page's colours, computed from its style sheet (WCAG 2.2, 1.4.3 and 1.4.11).
//! axe-core computes that of text, but not of what is drawn on a canvas.

use std::collections::BTreeMap;

const STYLE: &str = include_str!("../../src/observe/page/page.css");

const MIN_TEXT_RATIO: f64 = 4.5;
const MIN_GRAPHICS_RATIO: f64 = 3.0;

/// Text on its grounds.
const TEXT: [(&str, &[&str]); 5] = [
    ("ink", &["paper", "card", "phase", "phase-lit"]),
    ("soft", &["paper", "card"]),
    ("accent", &["paper", "card"]),
    ("alarm", &["paper"]),
    ("paper", &["accent"]),
];

/// What is drawn on a card: the states of the slots, the phases, and the frame of what is lit.
const GRAPHICS: [&str; 15] = [
    "free",
    "greeting",
    "waiting",
    "owed",
    "held",
    "lingering",
    "fixture",
    "observer",
    "wait",
    "mark",
    "drive",
    "expire",
    "settle",
    "between",
    "edge-lit",
];

/// What lights up, and the colours that it must outshine.
const LIT: [(&str, &[&str]); 2] = [
    ("phase-lit", &["phase"]),
    (
        "lit",
        &[
            "greeting",
            "waiting",
            "owed",
            "held",
            "lingering",
            "fixture",
            "observer",
        ],
    ),
];

/// The colours of the light and of the dark scheme.
fn schemes() -> [BTreeMap<&'static str, &'static str>; 2] {
    let (light, rest) = STYLE
        .split_once("@media (prefers-color-scheme: dark)")
        .unwrap();
    let (dark, _) = rest.split_once("* {").unwrap();
    [light, dark].map(|text| {
        let declarations = text.split([';', '{', '}']);
        declarations
            .filter_map(|declaration| declaration.trim().strip_prefix("--")?.split_once(": "))
            .collect()
    })
}

/// The relative luminance of a colour such as #1e2a2f.
fn luminance(colour: &str) -> f64 {
    let channel = |index: usize| {
        let value = u8::from_str_radix(&colour[1 + 2 * index..3 + 2 * index], 16).unwrap();
        let share = f64::from(value) / 255.0;
        if share <= 0.04045 {
            share / 12.92
        } else {
            ((share + 0.055) / 1.055).powf(2.4)
        }
    };
    0.2126 * channel(0) + 0.7152 * channel(1) + 0.0722 * channel(2)
}

fn contrast(one: &str, other: &str) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn text_and_graphics_have_enough_contrast_in_both_schemes() {
    for (scheme, colours) in ["light", "dark"].into_iter().zip(schemes()) {
        let check = |name: &str, ground: &str, least: f64| {
            let contrast = contrast(colours[name], colours[ground]);
            assert!(
                contrast >= least,
                "{scheme}: {name} on {ground}: {contrast:.2}"
            );
        };
        for (name, grounds) in TEXT {
            for ground in grounds {
                check(name, ground, MIN_TEXT_RATIO);
            }
        }
        for name in GRAPHICS {
            check(name, "card", MIN_GRAPHICS_RATIO);
        }
    }
}

#[test]
fn what_lights_up_is_brighter_in_both_schemes() {
    for (scheme, colours) in ["light", "dark"].into_iter().zip(schemes()) {
        for (lit, others) in LIT {
            for other in others {
                let (lit, other) = (colours[lit], colours[other]);
                assert!(luminance(lit) > luminance(other), "{scheme}: {lit} {other}");
            }
        }
    }
}
