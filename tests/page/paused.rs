//! The pause: one consistent moment, and steps from it.

use super::{Clients, open, place_of_slot, point_at_slot, start};
use crate::browser::Browser;
use serde_json::Value;
use std::io::Write;

/// All that a person sees, canvases included.
const ALL: &str = "const canvas = (id) => document.getElementById(id).toDataURL(); \
    return [document.body.innerText, canvas('grid'), canvas('lanes')]";

fn pause(browser: &Browser) {
    browser.click("pause");
    browser.wait_for("paused && frozen.entries.length > 0 && !loading");
}

fn number(browser: &Browser, expression: &str) -> i64 {
    let value = browser.run(&format!("return {expression}"));
    value.as_f64().unwrap() as i64
}

/// The calls that a step has passed.
fn calls_until(browser: &Browser, from: i64) -> i64 {
    let calls = format!(
        "[...Array(frozen.cursor - {from}).keys()].filter((i) => isCall({from} + i)).length"
    );
    number(browser, &calls)
}

/// Steps by one turn and by one call, in every way there is.
fn step_in_every_way(browser: &Browser, turn: i64) {
    // Each step is one turn, whichever way it is asked for.
    browser.click("step");
    browser.wait_for(&format!("currentTurn() === {}", turn + 1));
    browser.press(".");
    browser.wait_for(&format!("currentTurn() === {}", turn + 2));
    assert_eq!(
        browser.text("status"),
        format!("paused after turn {}", turn + 2)
    );
    let is_at_end = "return turnOf(frozen.cursor) === currentTurn() + 1";
    assert_eq!(browser.run(is_at_end), true, "a step does the whole turn");
    browser.press(",");
    browser.wait_for(&format!("currentTurn() === {}", turn + 1));
    browser.click("back");
    browser.wait_for(&format!("currentTurn() === {turn}"));
    // With Shift, or with its own button, one call.
    let mut from = number(browser, "frozen.cursor");
    for by_key in [true, false, true] {
        if by_key {
            browser.press_shifted(".");
        } else {
            browser.click("call");
        }
        browser.wait_for(&format!("frozen.cursor > {from}"));
        assert_eq!(calls_until(browser, from), 1);
        from = number(browser, "frozen.cursor");
    }
}

#[test]
#[ignore = "needs a browser"]
fn a_pause_freezes_all_that_is_seen_and_steps_lead_to_what_happened_since() {
    let server = start(&[]);
    let browser = open(&server, false);
    let mut clients = Clients::connect(&server, 20);
    browser.wait_for("document.getElementById('count-waiting').textContent === '20'");
    clients.greet_all();
    let last = number(&browser, "codes.length - 1");
    point_at_slot(&browser, last);
    browser.wait_for("/write 11 B/.test(document.getElementById('history').textContent)");
    pause(&browser);
    let turn = number(&browser, "currentTurn()");
    assert_eq!(browser.text("status"), format!("paused after turn {turn}"));
    let seen = browser.run(ALL);
    let codes = browser.run("return [...codes]");
    // The clients are greeted again, and others connect.
    clients.greet_all();
    clients.0.extend(Clients::connect(&server, 20).0);
    browser.wait_for("latest.clients === 40 && latest.messages === 40");
    assert_eq!(browser.run(ALL), seen, "the page has changed while paused");
    step_in_every_way(&browser, turn);
    // Turn by turn the page reaches what has happened meanwhile, and the way back as well.
    for _ in 0..1_000 {
        if browser.text("count-waiting") == "40" && browser.text("history").contains("write 11 B") {
            break;
        }
        browser.click("step");
    }
    assert_eq!(browser.text("count-waiting"), "40");
    browser.screenshot("paused");
    browser.run(&format!(
        "for (let i = 0; i < 1000 && currentTurn() > {turn}; i += 1) stepBack('turn')"
    ));
    assert_eq!(number(&browser, "currentTurn()"), turn);
    let back = browser.run("return [...codes]");
    let occupied = |codes: &Value| {
        let free = browser.run("return codeOf('.')");
        let codes = codes.as_array().unwrap();
        codes.iter().rev().skip_while(|code| **code == free).count()
    };
    assert_eq!(occupied(&back), occupied(&codes));
    browser.run("document.activeElement.blur()");
    browser.press(" ");
    browser.wait_for("document.body.dataset.state === 'live'");
    browser.wait_for("document.getElementById('figure-clients').textContent === '40'");
}

/// Each answer about a slot comes late, the first ones last.
const SLOW_ANSWERS: &str = "const real = fetch; let delay = 900; window.wrong = []; \
    window.fetch = async (path) => { \
        const answer = await real(path); \
        if (path.startsWith('slots/')) { \
            await new Promise((done) => setTimeout(done, delay)); delay = Math.max(0, delay - 300); \
        } \
        return answer; }; \
    new MutationObserver(() => { \
        const head = document.getElementById('history-head').textContent; \
        const token = head.match(/#(\\d+)\\./); \
        if (token && Number(token[1]) !== cell.slot) wrong.push([head, cell.slot]); \
    }).observe(document.getElementById('history-head'), { childList: true, subtree: true });";

#[test]
#[ignore = "needs a browser"]
fn a_history_is_that_of_the_chosen_slot_however_late_the_answers_are() {
    let server = start(&[]);
    let browser = open(&server, false);
    let mut clients = Clients::connect(&server, 30);
    browser.wait_for("document.getElementById('count-waiting').textContent === '30'");
    clients.greet_all();
    let last = number(&browser, "codes.length - 1");
    browser.run(SLOW_ANSWERS);
    for slot in [last - 9, last - 5, last - 2, last] {
        point_at_slot(&browser, slot);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let head =
        format!("document.getElementById('history-head').textContent.startsWith('#{last}.')");
    browser.wait_for(&head);
    browser.wait_for("/write 11 B/.test(document.getElementById('history').textContent)");
    assert_eq!(browser.run("return wrong"), serde_json::json!([]));
}

#[test]
#[ignore = "needs a browser"]
fn a_history_is_selected_by_pointer_and_keys_and_pinned_by_a_click() {
    let server = start(&[]);
    let browser = open(&server, false);
    let mut clients = Clients::connect(&server, 30);
    browser.wait_for("document.getElementById('count-waiting').textContent === '30'");
    clients.greet_all();
    // The last slot: a client of this test, which was just greeted.
    let last = number(&browser, "codes.length - 1");
    point_at_slot(&browser, last);
    let history_of = |slot: i64| {
        format!("document.getElementById('history-head').textContent.startsWith('#{slot}.')")
    };
    browser.wait_for(&history_of(last));
    browser.wait_for("/read 3 B, write 11 B/.test(document.getElementById('history').textContent)");
    browser.screenshot("history");
    browser.run("document.getElementById('grid').focus()");
    browser.press("\u{e012}"); // arrow left
    browser.wait_for(&history_of(last - 1));
    assert!(
        browser
            .text("announcement")
            .starts_with(&format!("slot {}", last - 1))
    );
    // Pinned, it stays while the pointer moves.
    let (x, y) = place_of_slot(&browser, last - 3);
    browser.click_at(x, y);
    browser.wait_for(&format!("cell.pinned && cell.slot === {}", last - 3));
    point_at_slot(&browser, last - 6);
    assert_eq!(number(&browser, "cell.slot"), last - 3);
    browser.press("\u{e00c}"); // escape
    browser.wait_for("!cell.pinned && document.getElementById('unpin').hidden");
    let (x, y) = place_of_slot(&browser, last - 6);
    browser.click_at(x, y);
    browser.wait_for(&format!("cell.pinned && cell.slot === {}", last - 6));
    browser.click_at(x, y);
    browser.wait_for("!cell.pinned");
    // And while paused, a history comes from the same moment.
    pause(&browser);
    clients.0[29].write_all(b"Eve").unwrap();
    browser.wait_for("latest.messages === 31");
    point_at_slot(&browser, last);
    browser.wait_for(&history_of(last));
    let calls = browser.text("history").matches("write 11 B").count();
    assert_eq!(calls, 1, "{}", browser.text("history"));
}
