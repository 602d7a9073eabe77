//! The Grafana dashboard, `src/observe/grafana.json`. What it asks for is compared with `/metrics`;
//! that each of its queries has a result is asked of a real Prometheus, which scrapes a server under
//! load. That test needs the Debian package prometheus, so it is ignored by default.

mod http;
mod util;

use http::{get, observe_address, read_head};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use util::{Process, Server, connect, free_address, helloop, read_to_end};

const DASHBOARD: &str = include_str!("../src/observe/grafana.json");

/// The longest that Prometheus scrapes.
const MAX_SCRAPING: Duration = Duration::from_secs(60);

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).unwrap()
}

/// The panels that show something.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels.filter(|panel| panel["type"] != "row").collect()
}

/// The queries with the title of their panel.
fn queries(dashboard: &Value) -> Vec<(&str, &str)> {
    let mut queries = Vec::new();
    for panel in panels(dashboard) {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().unwrap() {
            queries.push((title, target["expr"].as_str().unwrap()));
        }
    }
    queries
}

/// The names of metrics in a query.
fn names(query: &str) -> impl Iterator<Item = &str> {
    let words =
        query.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with("helloop_") || word.starts_with("process_"))
}

#[test]
fn every_panel_is_described_and_has_its_place() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    let mut places = BTreeMap::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(x < 24, "{panel}");
                assert_eq!(places.insert((x, y), &panel["title"]), None, "{panel}");
            }
        }
    }
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(
            panel["description"].as_str().unwrap().ends_with('.'),
            "{title}"
        );
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let unit = &panel["fieldConfig"]["defaults"]["unit"];
        assert!(unit.is_string() || panel["type"] == "heatmap", "{title}");
    }
    for (title, query) in queries(&dashboard) {
        let servers = query.matches("{instance=~\"$instance\"}").count();
        assert_eq!(servers, names(query).count(), "{title}: {query}");
    }
}

#[test]
fn every_metric_of_the_dashboard_is_a_metric_and_every_metric_is_on_it() {
    let server = Server::start(&["--observe", "127.0.0.1:0"]);
    let text = get(observe_address(&server), "/metrics").text();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples: BTreeSet<&str> = samples.flat_map(names).collect();
    let dashboard = dashboard();
    let shown: BTreeSet<&str> = queries(&dashboard)
        .into_iter()
        .flat_map(|(_, query)| names(query))
        .collect();
    let unknown: Vec<_> = shown.difference(&samples).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    for family in families.map(|line| line.split(' ').next().unwrap()) {
        // Other systems than Linux do not have all of them.
        let is_shown = shown.iter().any(|name| name.starts_with(family));
        assert!(is_shown || family == "helloop_up_seconds", "{family}");
    }
}

#[test]
fn the_server_has_its_own_dashboard() {
    let server = Server::start(&["--observe", "127.0.0.1:0"]);
    let response = get(observe_address(&server), "/grafana.json");
    assert_eq!(response.field("content-type"), Some("application/json"));
    assert_eq!(
        (response.status, response.text().as_str()),
        (200, DASHBOARD)
    );
}

/// A Prometheus that scrapes `target` each second.
struct Prometheus {
    _process: Process,
    address: SocketAddr,
}

impl Prometheus {
    fn start(folder: &Path, target: SocketAddr) -> Self {
        let config = folder.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs: [{{job_name: helloop, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        fs::write(&config, text).unwrap();
        let address = free_address();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"));
        let process = Process::start(command);
        process
            .stderr
            .wait_for("Server is ready to receive web requests");
        Self {
            _process: process,
            address,
        }
    }

    /// The values that a query has now.
    fn query(&self, query: &str) -> Vec<f64> {
        let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let mut stream = connect(self.address);
        write!(stream, "GET /api/v1/query?query={query} HTTP/1.0\r\n\r\n").unwrap();
        let head = read_head(&mut stream);
        let body: Value = serde_json::from_slice(&read_to_end(&mut stream)).unwrap();
        assert_eq!(head.status, 200, "{body}");
        let result = body["data"]["result"].as_array().unwrap();
        let value = |sample: &Value| sample["value"][1].as_str().unwrap().parse().unwrap();
        result.iter().map(value).collect()
    }
}

/// A query as Grafana sends it.
fn expanded(query: &str) -> String {
    let query = query.replace("$__rate_interval", "10s");
    query.replace("$instance", ".+")
}

#[test]
#[ignore = "needs Prometheus, and takes up to a minute"]
fn prometheus_has_a_finite_result_for_every_query() {
    let server = Server::start(&["--observe", "127.0.0.1:0", "--delay", "20ms"]);
    let folder = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(folder.path(), observe_address(&server));
    let address = server.tcp_address().to_string();
    let load = [
        "stress",
        "--clients",
        "50",
        "--duration",
        "60s",
        "--to",
        &address,
    ];
    let _load = Process::start(helloop(&load));
    let dashboard = dashboard();
    let mut left = queries(&dashboard);
    assert!(left.len() > 40, "{}", left.len());
    let started = Instant::now();
    while !left.is_empty() {
        left.retain(|(_, query)| {
            let values = prometheus.query(&expanded(query));
            values.is_empty() || !values.iter().all(|value| value.is_finite())
        });
        assert!(
            started.elapsed() < MAX_SCRAPING,
            "without a result: {left:#?}"
        );
        // There is nothing to wait for but the next scrape.
        thread::sleep(Duration::from_millis(500));
    }
    println!("all queries have a result after {:?}", started.elapsed());
    // What they say is true: the load has 50 clients, each with a reply every 20 ms.
    assert_eq!(prometheus.query("sum(helloop_clients)"), [50.0]);
    let late = prometheus.query("helloop_deadline_lateness_seconds_count > 100");
    assert_eq!(late.len(), 1);
}

/// Prometheus's own tool checks names and units.
#[test]
#[ignore = "needs Prometheus"]
fn promtool_finds_no_fault_in_the_metrics() {
    let server = Server::start(&["--observe", "127.0.0.1:0"]);
    server.assert_serves();
    let text = get(observe_address(&server), "/metrics").text();
    let check = |text: &str| {
        let mut promtool = Command::new("promtool");
        promtool.args(["check", "metrics"]);
        let mut process = Process::start(promtool);
        let mut input = process.stdin.take().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        drop(input);
        process.wait()
    };
    let ended = check(&text);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let broken = check(&text.replace("turn_seconds", "turn_milliseconds"));
    assert_eq!(
        broken.code,
        Some(3),
        "it finds one in others: {}",
        broken.stderr
    );
}
