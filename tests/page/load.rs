//! What the page costs with as many clients as descriptors allow: the server, and the browser's tab.

use super::{Clients, open, start};
use crate::browser::Browser;
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

const MEASURED: Duration = Duration::from_secs(4);

/// Measured in a release build on a shared 2-core machine: see the README. The bounds here leave room
/// for a debug build and for other programs.
const MAX_SERVER_SHARE: f64 = 0.10;
const MAX_TAB_SHARE: f64 = 0.60;

/// Clock ticks per second in /proc: fixed by Linux's ABI.
const TICKS_PER_SECOND: f64 = 100.0;

/// The fields of /proc/PID/stat after the name of the program.
fn stat(id: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

/// The CPU time that a process has used, in seconds.
fn cpu_seconds(id: u32) -> f64 {
    let fields = stat(id).unwrap_or_default();
    let ticks = |index: usize| {
        fields
            .get(index)
            .map_or(0.0, |field| field.parse().unwrap())
    };
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

/// The processes of this browser that render pages.
fn renderers(browser: &Browser) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap();
    let ids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let parents: BTreeMap<u32, u32> = ids
        .filter_map(|id| Some((id, stat(id)?[1].parse().ok()?)))
        .collect();
    let is_descendant = |mut id: u32| {
        while let Some(parent) = parents.get(&id) {
            if *parent == browser.driver_id() {
                return true;
            }
            id = *parent;
        }
        false
    };
    let is_renderer = |id: &u32| {
        let command = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        command.contains("--type=renderer") && is_descendant(*id)
    };
    parents.keys().copied().filter(is_renderer).collect()
}

/// The share of a core that these processes use while `work` runs.
fn share_while(ids: &[u32], work: impl FnOnce()) -> f64 {
    let used = || ids.iter().map(|id| cpu_seconds(*id)).sum::<f64>();
    let (before, started) = (used(), Instant::now());
    work();
    (used() - before) / started.elapsed().as_secs_f64()
}

#[test]
#[ignore = "needs a browser, and 19,000 descriptors twice"]
fn at_nineteen_thousand_clients_the_page_stays_readable_and_cheap() {
    assert!(helloop::testing::raise_descriptor_limit() > 19_100);
    let server = start(&[]);
    let mut clients = Clients::connect(&server, 19_000);
    let browser = open(&server, false);
    browser.wait_for("document.getElementById('count-waiting').textContent === '19,000'");
    // Every cell is on the screen.
    let fits = "document.getElementById('grid').clientHeight < innerHeight && cell.size >= 3";
    browser.wait_for(fits);
    let tab = renderers(&browser);
    assert!(!tab.is_empty());
    let observing = || browser.run("return latest.observing").as_f64().unwrap() / 1e6;
    let wait = || std::thread::sleep(MEASURED);
    let mut idle = 0.0;
    let idle_tab = share_while(&tab, || idle = share_while(&[server.id()], wait));
    println!(
        "idle: the server {:.1} % of a core, the tab {:.1} %",
        100.0 * idle,
        100.0 * idle_tab
    );
    // Under load the server's share is that of its observers, as it measures it itself.
    let (before, started) = (observing(), Instant::now());
    let busy_tab = share_while(&tab, || clients.greet_while(wait));
    let busy = (observing() - before) / started.elapsed().as_secs_f64();
    println!(
        "load: for observers {:.1} % of a core, the tab {:.1} %",
        100.0 * busy,
        100.0 * busy_tab
    );
    clients.greet_while(|| browser.screenshot("19000"));
    assert!(
        idle < MAX_SERVER_SHARE && busy < MAX_SERVER_SHARE,
        "{idle} {busy}"
    );
    assert!(
        idle_tab < MAX_TAB_SHARE && busy_tab < MAX_TAB_SHARE,
        "{idle_tab} {busy_tab}"
    );
}
