//! Accessibility: screen sizes, touch, screen readers and reduced motion; and what is shown when the
//! server is gone.

use super::{Clients, open, place_of_slot, start};
use crate::browser::Browser;
use crate::http::observe_address;
use crate::util::Server;
use nix::sys::signal::Signal;
use serde_json::json;
use std::io::Write;
use std::time::Duration;

const SCREENS: [(u32, u32, bool); 4] = [
    (1_400, 1_000, false),
    (1_400, 1_000, true),
    (320, 640, false),
    (320, 640, true),
];

/// No violation of axe-core, and nothing beyond the right edge, on any screen.
fn check_on_all_screens(browser: &Browser, state: &str) {
    for (width, height, dark) in SCREENS {
        browser.emulate(width, height, dark);
        browser.wait_for(&format!(
            "innerWidth === {width} && document.body.dataset.state === '{state}'"
        ));
        let scheme = if dark { "dark" } else { "light" };
        let screen = format!("{state}-{width}-{scheme}");
        let overflow = browser.run("return document.documentElement.scrollWidth - innerWidth");
        assert!(
            overflow.as_i64().unwrap() <= 0,
            "{screen}: {overflow} pixels beyond the edge"
        );
        browser.assert_accessible(&screen);
        browser.screenshot(&screen);
    }
}

#[test]
#[ignore = "needs a browser, and axe-core"]
fn axe_core_finds_no_violation_in_any_state_on_any_screen() {
    let server = start(&["--delay", "8s"]);
    let browser = open(&server, false);
    let mut clients = Clients::connect(&server, 40);
    browser.wait_for("document.getElementById('count-waiting').textContent === '40'");
    check_on_all_screens(&browser, "live");
    browser.click("pause");
    browser.wait_for("frozen.entries.length > 0");
    browser.run("pin(codes.length - 1); step('turn')");
    browser.wait_for("frozen.moved");
    check_on_all_screens(&browser, "paused");
    browser.run("document.getElementById('pause').click()");
    for client in &mut clients.0 {
        client.write_all(b"Ada").unwrap();
    }
    browser.wait_for("document.getElementById('count-held').textContent === '40'");
    server.signal(Signal::SIGTERM);
    check_on_all_screens(&browser, "draining");
    drop(clients);
    check_on_all_screens(&browser, "ended");
    assert_eq!(browser.text("status"), "the server has ended");
    // The last snapshot is shown, not the one before.
    assert_eq!(browser.text("figure-clients"), "0");
    assert!(browser.text("history-head").ends_with(" free, pinned"));
}

#[test]
#[ignore = "needs a browser"]
fn a_tap_opens_a_history_on_a_phone() {
    let server = start(&[]);
    let browser = open(&server, false);
    browser.emulate(320, 640, false);
    browser.devtools(
        "Emulation.setTouchEmulationEnabled",
        &json!({ "enabled": true }),
    );
    let mut clients = Clients::connect(&server, 60);
    browser.wait_for("document.getElementById('count-waiting').textContent === '60'");
    clients.greet_all();
    let slot = browser.run("return codes.length - 1").as_i64().unwrap();
    let (x, y) = place_of_slot(&browser, slot);
    browser.tap(x, y);
    browser.wait_for(&format!("cell.pinned && cell.slot === {slot}"));
    browser.wait_for("/read 3 B, write 11 B/.test(document.getElementById('history').textContent)");
}

/// Counts what a screen reader would speak.
const COUNT_ANNOUNCEMENTS: &str = "window.spoken = 0; \
    for (const id of ['status', 'announcement']) { \
        new MutationObserver((changes) => { spoken += changes.length; }) \
            .observe(document.getElementById(id), { childList: true, subtree: true, characterData: true }); }";

#[test]
#[ignore = "needs a browser"]
fn live_regions_speak_only_when_something_changes() {
    let server = start(&[]);
    let browser = open(&server, false);
    let mut clients = Clients::connect(&server, 20);
    browser.run(COUNT_ANNOUNCEMENTS);
    let snapshots = |count: u32| {
        let at = browser.run("return latest.at").as_f64().unwrap();
        browser.wait_for(&format!("latest.at > {at} + {count} * 100000"));
    };
    clients.greet_while(|| snapshots(10));
    assert_eq!(browser.run("return spoken"), 0);
    browser.click("pause");
    browser.wait_for("frozen.entries.length > 0");
    browser.run("spoken = 0");
    clients.greet_while(|| snapshots(10));
    assert_eq!(browser.run("return spoken"), 0);
}

#[test]
#[ignore = "needs a browser"]
fn without_motion_the_page_still_shows_who_works() {
    let server = start(&[]);
    let browser = open(&server, false);
    let features = json!([{ "name": "prefers-reduced-motion", "value": "reduce" }]);
    browser.devtools(
        "Emulation.setEmulatedMedia",
        &json!({ "features": features }),
    );
    browser.wait_for("calm.matches");
    let mut clients = Clients::connect(&server, 20);
    browser.wait_for("document.getElementById('count-waiting').textContent === '20'");
    clients.greet_while(|| {
        // A slot that works is lit, and nothing fades.
        browser.wait_for("flash.includes(FLASH_STEPS)");
        browser.wait_for("document.querySelector('#loop .drive').classList.contains('lit')");
        let fading = browser.run("return flash.some((light) => light && light < FLASH_STEPS)");
        assert_eq!(fading, false);
        assert_eq!(browser.run("return document.getAnimations().length"), 0);
    });
}

#[test]
#[ignore = "needs a browser"]
fn an_idle_loop_is_lit_only_in_its_wait() {
    let server = start(&[]);
    let browser = open(&server, false);
    browser.wait_for("shown.turns > 60");
    let lit =
        "return [...document.querySelectorAll('#loop .lit b')].map((name) => name.textContent)";
    for _ in 0..20 {
        assert_eq!(browser.run(lit), json!(["wait"]));
        std::thread::sleep(Duration::from_millis(50));
    }
    for name in ["time-mark", "time-drive", "time-expire", "figure-turns"] {
        assert!(browser.text(name).starts_with('0'), "{name}");
    }
    // What is said of the axis is what is drawn.
    for _ in 0..20 {
        let said = browser.run(
            "const axis = layTurns(shown.lanes.map(laneOf), $('lanes').clientWidth - NAMES_PX - 2); \
             return [$('scale').textContent, roundTime(roundStep(56 / axis.scale))]",
        );
        let (text, division) = (said[0].as_str().unwrap(), said[1].as_str().unwrap());
        assert!(
            text.contains(&format!("one division is {division},")),
            "{said}"
        );
    }
    browser.screenshot("idle");
}

#[test]
#[ignore = "needs a browser"]
fn a_lost_server_is_shown_and_found_again_and_a_clean_end_is_shown_as_such() {
    let server = start(&[]);
    let address = observe_address(&server).to_string();
    let browser = open(&server, false);
    drop(server); // killed
    browser.wait_for("document.body.dataset.state === 'lost'");
    assert_eq!(browser.text("status"), "lost the server; trying again");
    browser.screenshot("lost");
    let again = Server::start(&["--observe", &address]);
    browser.wait_for("document.body.dataset.state === 'live'");
    // Nothing to drain: the end comes at once.
    assert_eq!(again.stop().code, Some(0));
    browser.wait_for("document.body.dataset.state === 'ended'");
    assert_eq!(browser.text("status"), "the server has ended");
    let _third = Server::start(&["--observe", &address]);
    browser.wait_for("document.body.dataset.state === 'live'");
}
