//! What the engine tells: one log line a state change, metrics by name and label, spans with the operation and the path.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

#[path = "common/log.rs"]
mod log;

use std::{collections::BTreeSet, fs, path::PathBuf, sync::Arc, time::Duration};

use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::Value;
use tofustate::{
    store::{
        Budget, EmbeddedKv, Engine, EngineOptions, LockCall, Registration, Settings, State, StatePath, WriteCall,
        head::Owner,
    },
    telemetry::EngineMetrics,
};
use tracing::Level;
use tracing_subscriber::fmt::format::FmtSpan;

use log::Log;

impl Log {
    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn state(metrics: &EngineMetrics) -> State {
    Engine::new(EngineOptions::default(), metrics.clone()).open(Registration {
        path: StatePath::parse("team/app").unwrap(),
        kv: Arc::new(EmbeddedKv::in_memory().unwrap()),
        owner: Owner { instance: "i".into(), namespace: "team".into(), name: "app".into(), claim: 1, released: false },
        mark: None,
        settings: Settings { max_size: 1_000, ..Settings::default() },
    })
}

/// A run, a strange write, a conflict, a refused body and one that is too large.
async fn work(state: &State) {
    let mut budget = Budget::new(Duration::from_secs(25));
    let body = |serial: u64| format!(r#"{{"serial":{serial},"lineage":"l"}}"#).into_bytes();
    let call = |lock| WriteCall { lock, identity: "token", ..WriteCall::default() };
    let lock = LockCall { info: br#"{"ID":"1","Who":"u@h"}"#, identity: "token", ..LockCall::default() };
    state.register(&mut budget).await.unwrap();
    state.lock(lock.clone(), &mut budget).await.unwrap();
    state.lock(lock, &mut budget).await.unwrap();
    state.write(call(Some("1")), &body(5), &mut budget).await.unwrap();
    state.write(call(Some("1")), &body(5), &mut budget).await.unwrap();
    state.write(call(None), &body(6), &mut budget).await.unwrap_err();
    state.unlock(br#"{"ID":"1"}"#, "token", &mut budget).await.unwrap();
    state.write(call(None), &body(3), &mut budget).await.unwrap();
    state.write(call(None), b"{}", &mut budget).await.unwrap_err();
    let long = WriteCall { length: Some(1_001), ..call(None) };
    assert!(state.upload(long).is_err());
    let read = state.read(&mut budget).await.unwrap().unwrap();
    read.read_to_end(&mut budget).await.unwrap();
    state.delete("token", &mut budget).await.unwrap();
}

#[tokio::test]
async fn one_line_a_change_metrics_by_kind_and_spans() {
    let log = Log::default();
    let layer = tracing_subscriber::fmt().json().with_writer(log.clone()).with_span_events(FmtSpan::CLOSE);
    let layer = layer.with_max_level(Level::DEBUG);
    let _guard = tracing::subscriber::set_default(layer.finish());
    let metrics = EngineMetrics::default();
    work(&state(&metrics)).await;

    let lines = log.lines();
    let said = lines.iter().filter(|line| line["level"] != "DEBUG");
    let changes: Vec<&str> = said.filter_map(|line| line["fields"]["message"].as_str()).collect();
    let expected = [
        "locked",
        "state written",
        "write repeated; nothing changed",
        "unlocked",
        "strange state written",
        "state deleted; its history stays",
    ];
    assert_eq!(changes, expected, "{lines:#?}");
    let line =
        |message: &str| lines.iter().find(|line| line["fields"]["message"] == message).unwrap()["fields"].clone();
    let locked = line("locked");
    assert_eq!((&locked["path"], &locked["who"], &locked["lock"]), (&"team/app".into(), &"u@h".into(), &"1".into()));
    let written = line("state written");
    assert_eq!(
        (&written["identity"], &written["version"], &written["serial"]),
        (&"token".into(), &1.into(), &5.into())
    );
    let spans: Vec<&str> = lines
        .iter()
        .filter(|line| line["fields"]["message"] == "close")
        .filter_map(|line| line["span"]["operation"].as_str())
        .collect();
    for operation in ["register", "lock", "write", "unlock", "read", "delete"] {
        assert!(spans.contains(&operation), "{spans:?}");
    }

    let mut registry = Registry::with_prefix("tofustate");
    metrics.register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for line in [
        r#"tofustate_state_operations_total{operation="lock",outcome="ok"} 2"#,
        r#"tofustate_state_operations_total{operation="write",outcome="ok"} 3"#,
        r#"tofustate_state_operations_total{operation="write",outcome="locked"} 1"#,
        r#"tofustate_state_operations_total{operation="write",outcome="bad_body"} 1"#,
        r#"tofustate_state_operations_total{operation="write",outcome="too_large"} 1"#,
        r#"tofustate_state_operation_seconds_count{operation="read"} 1"#,
        r#"tofustate_store_calls_total{operation="put",outcome="ok"} 6"#,
        r#"tofustate_state_anomalies_total{kind="SerialLower"} 1"#,
        "tofustate_state_bytes_total{kind=\"read\"} 26",
    ] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
    assert!(!text.contains("team/app"), "a path is no label");
}

/// The names of all metrics, without the `_total` of counters: from the code that registers them, since a metric that
/// counted nothing yet is not printed.
fn registered() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let telemetry = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/telemetry")).unwrap();
    let operator = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/operator/mod.rs").into();
    for file in telemetry.map(|file| file.unwrap().path()).chain([operator]) {
        let text = fs::read_to_string::<PathBuf>(file).unwrap();
        let plain = ["registry.register(\"", "metrics.register(\""].map(|call| (call, false));
        for (call, unit) in plain.into_iter().chain([("registry.register_with_unit(\"", true)]) {
            for rest in text.split(call).skip(1) {
                let (name, rest) = rest.split_once('"').unwrap();
                let unit = unit.then(|| rest.split_once("Unit::").unwrap().1.split_once(',').unwrap().0);
                let unit = unit.map(|unit| format!("_{}", unit.to_lowercase())).unwrap_or_default();
                names.insert(format!("tofustate_{name}{unit}"));
            }
        }
    }
    names
}

#[test]
fn the_docs_list_every_metric() {
    let page = include_str!("../docs/telemetry.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `tofustate_")?.split_once('`'));
    let listed: BTreeSet<String> =
        rows.map(|(name, _)| format!("tofustate_{}", name.strip_suffix("_total").unwrap_or(name))).collect();
    assert_eq!(listed, registered());
    assert!(listed.len() > 8, "{listed:?}");
}
