//! The page in a browser.

use crate::browser::Browser;
use crate::files::{Folder, SECONDS, made};
use crate::util::run_helloop;
use serde_json::{Value, json};

/// The widths of a phone, a tablet and a desktop.
const WIDTHS_PIXELS: [u32; 3] = [320, 800, 1_440];

const HEIGHT_PIXELS: u32 = 1_000;

/// Writes the page of these files, and returns its address.
#[track_caller]
fn page_of(folder: &Folder, files: &[&str]) -> String {
    let page = folder.path("page.html");
    let page = page.to_str().unwrap();
    let ended = run_helloop(&[&["report"], files, &["--html", page]].concat());
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    format!("file://{page}")
}

/// A report with an objective that is drawn, and one more run.
fn files(folder: &Folder) -> [String; 2] {
    let [_, after] = folder.two();
    let mut before = made(10_000.0, 8_000.0);
    before["slos"] = json!([
        { "slo": "p99<9ms", "metric": "p99", "relation": "<", "limit": 9_000.0,
          "measured": 8_000.0, "met": true },
        { "slo": "rate>15000", "metric": "rate", "relation": ">", "limit": 15_000.0,
          "measured": 10_000.0, "met": false },
    ]);
    [folder.write("objectives.json", before.to_string()), after]
}

/// The colours in each canvas: 1 for a blank one.
const COLOURS: &str = "return [...document.querySelectorAll('canvas')].map((canvas) => { \
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height); \
    return new Set(new Uint32Array(data.buffer)).size; })";

#[track_caller]
fn assert_drawn(browser: &Browser, what: &str) {
    browser.wait_for("charts.length === 6 && charts.every((chart) => chart.status === 1)");
    let colours = browser.run(COLOURS);
    let colours: Vec<i64> = serde_json::from_value(colours).unwrap();
    assert_eq!(colours.len(), 6, "{what}");
    assert!(
        colours.iter().all(|count| *count > 10),
        "{what}: {colours:?}"
    );
    // Nothing is wider than the screen, the charts included.
    let width = browser.run("return [document.documentElement.scrollWidth, innerWidth]");
    assert_eq!(width[0], width[1], "{what}");
    let widths =
        browser.run("return charts.map((chart) => chart.root.getBoundingClientRect().right)");
    let widths: Vec<f64> = serde_json::from_value(widths).unwrap();
    let inner = width[1].as_f64().unwrap();
    assert!(
        widths.iter().all(|right| *right <= inner),
        "{what}: {widths:?}"
    );
    browser.assert_accessible(what);
    assert_eq!(browser.console_errors(), [""; 0], "{what}");
    let requests = browser.run("return performance.getEntriesByType('resource').length");
    assert_eq!(requests, 0, "{what}");
}

#[test]
#[ignore = "needs a browser and axe-core"]
fn every_chart_is_drawn_at_every_width_in_both_schemes() {
    let folder = Folder::new();
    let [before, after] = files(&folder);
    for dark in [false, true] {
        let browser = Browser::start(1_440, HEIGHT_PIXELS, dark);
        for (name, files) in [("one", vec![&*before]), ("two", vec![&*before, &*after])] {
            let page = page_of(&folder, &files);
            browser.open(&page);
            for width in WIDTHS_PIXELS {
                let scheme = if dark { "dark" } else { "light" };
                let what = format!("report-{name}-{width}-{scheme}");
                browser.resize(width, HEIGHT_PIXELS);
                browser.wait_for(
                    "charts.every((chart) => chart.width === \
                     document.querySelector('.chart').clientWidth)",
                );
                assert_drawn(&browser, &what);
                browser.screenshot(&what);
            }
        }
    }
}

/// Where the second with this number is in a chart, in the window.
fn place(browser: &Browser, chart: &str, index: usize) -> (f64, f64) {
    let place = browser.run(&format!(
        "const chart = charts.find((chart) => chart.id === '{chart}'); \
         chart.root.scrollIntoView(); \
         const box = chart.over.getBoundingClientRect(); \
         return [box.left + chart.valToPos(chart.data[0][{index}], 'x'), box.top + box.height / 2]"
    ));
    (place[0].as_f64().unwrap(), place[1].as_f64().unwrap())
}

#[test]
#[ignore = "needs a browser"]
fn one_crosshair_is_at_the_same_second_in_all_charts_over_time() {
    let folder = Folder::new();
    let [before, _] = files(&folder);
    let browser = Browser::start(1_440, HEIGHT_PIXELS, false);
    browser.open(&page_of(&folder, &[&before]));
    browser.wait_for("charts.length === 6");
    let (x, y) = place(&browser, "rate", 4);
    browser.point(x, y);
    browser.wait_for("charts.find((chart) => chart.id === 'rate').cursor.idx === 4");
    let at = browser.run(
        "return charts.filter((chart) => chart.id !== 'percentiles') \
         .map((chart) => [chart.cursor.idx, Math.round(chart.cursor.left)])",
    );
    let at: Vec<(usize, i64)> = serde_json::from_value(at).unwrap();
    assert_eq!(at.len(), 5);
    assert!(at.iter().all(|(index, _)| *index == 4), "{at:?}");
    let tips = browser.run(
        "return Object.fromEntries(charts.map((chart) => \
         [chart.id, [...chart.root.querySelectorAll('.tip:not([hidden]) > *')] \
         .map((line) => line.textContent)]))",
    );
    for (chart, lines) in [
        ("percentiles", json!([])),
        ("rate", json!(["4 s", "messages per second 10,000"])),
        (
            "latency",
            json!(["4 s", "p50 4 ms", "p99 8 ms", "p99.9 12 ms"]),
        ),
        ("clients", json!(["4 s", "clients 104"])),
        ("cpu", json!(["4 s", "server 25%", "load generator 50%"])),
        ("lag", json!(["4 s", "mean 40 µs", "maximum 90 µs"])),
    ] {
        assert_eq!(tips[chart], lines, "{chart}");
    }
    browser.screenshot("report-crosshair");
    // A second without a percentile is a gap, and says so.
    let (x, y) = place(&browser, "latency", 5);
    browser.point(x, y);
    browser.wait_for("/p99.9 n.a/.test(document.querySelector('#latency .tip').textContent)");
    // The percentiles have a crosshair of their own.
    let (x, y) = place(&browser, "percentiles", 20);
    browser.point(x, y);
    browser.wait_for("/^p90latency/.test(document.querySelector('#percentiles .tip').textContent)");
    browser.wait_for("document.querySelector('#rate .tip').hidden");
}

#[test]
#[ignore = "needs a browser"]
fn several_runs_share_each_chart_and_its_time() {
    let folder = Folder::new();
    let [before, after] = files(&folder);
    let browser = Browser::start(800, HEIGHT_PIXELS, true);
    browser.open(&page_of(&folder, &[&before, &after]));
    browser.wait_for("charts.length === 6");
    let labels = browser.run(
        "return [...document.querySelectorAll('#rate .legend li')].map((item) => item.textContent)",
    );
    let expected = [
        "A messages per second",
        "B messages per second",
        "objective rate>15000",
    ];
    assert_eq!(labels, json!(expected));
    let (x, y) = place(&browser, "rate", SECONDS - 1);
    browser.point(x, y);
    let tip =
        "[...document.querySelectorAll('#rate .tip > *')].map((line) => line.textContent).join()";
    browser.wait_for(&format!(
        "{tip} === '9 s,A messages per second 10,100,B messages per second 20,200'"
    ));
    browser.screenshot("report-several");
}

/// Text from outside stays text: no element comes of it, and no script runs.
#[test]
#[ignore = "needs a browser"]
fn hostile_text_stays_text() {
    const HOSTILE: &str = "</script><script>window.hacked = 1</script><img src=x onerror=hacked=2>";
    let folder = Folder::new();
    let mut report = made(10_000.0, 8_000.0);
    report["clients"]["wrong_welcome"] = json!(HOSTILE);
    report["verdict"]["words"] = json!(HOSTILE);
    report["slos"] = json!([
        { "slo": HOSTILE, "metric": "p99", "relation": "<", "limit": 9_000.0, "measured": null,
          "met": false },
    ]);
    let name = HOSTILE.replace('/', "\u{2215}");
    let file = folder.write(&name, report.to_string());
    let browser = Browser::start(800, HEIGHT_PIXELS, false);
    browser.open(&page_of(&folder, &[&file, &file]));
    browser.wait_for("charts.length === 6");
    assert_eq!(browser.run("return window.hacked"), Value::Null);
    assert_eq!(
        browser.run("return document.querySelectorAll('img').length"),
        0
    );
    let legend = browser.run("return document.querySelector('#latency .legend').textContent");
    assert!(legend.as_str().unwrap().contains(HOSTILE));
    assert_eq!(browser.console_errors(), [""; 0]);
}
