//! What was asked of the API server and of OpenBao from one moment to another, by their own count; and what the operator
//! counts of itself.

use std::{collections::BTreeMap, time::Instant};

use serde_json::Value;

use crate::{process, world::World};

/// The counters at a moment.
pub(crate) struct Counts {
    at: Instant,
    /// Of the API server: calls by verb and resource.
    calls: BTreeMap<(String, String), f64>,
    /// Entries of OpenBao's raft log: every write is one or more.
    pub(crate) raft: u64,
    /// Of the operator's own metrics.
    own: BTreeMap<String, f64>,
    processor: f64,
}

/// What came in between.
pub(crate) struct Spent {
    pub(crate) seconds: f64,
    pub(crate) reads: BTreeMap<String, f64>,
    pub(crate) writes: BTreeMap<String, f64>,
    /// Entries of the raft log.
    pub(crate) raft: u64,
    own: BTreeMap<String, f64>,
    /// Seconds of processor of the operator.
    pub(crate) processor: f64,
}

impl Counts {
    pub(crate) fn now(world: &World, runs: bool) -> Self {
        let text = match world.api.get("/metrics") {
            Some(Value::String(text)) => text,
            other => panic!("the API server's metrics: {other:?}"),
        };
        let mut calls = BTreeMap::new();
        for (name, labels, value) in text.lines().filter_map(sample) {
            if name == "apiserver_request_total" {
                let label =
                    |name: &str| labels.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
                let resource = match label("subresource") {
                    "" => label("resource").to_owned(),
                    part => format!("{}/{part}", label("resource")),
                };
                *calls.entry((label("verb").to_owned(), resource)).or_default() += value;
            }
        }
        let raft = world.server.applied();
        let mut own = BTreeMap::new();
        let mut processor = 0.0;
        if runs {
            for line in world.operator.metrics().lines() {
                if let Some((name, value)) = line.rsplit_once(' ')
                    && !line.starts_with('#')
                    && let Ok(value) = value.parse()
                {
                    own.insert(name.to_owned(), value);
                }
            }
            processor = process::processor(world.operator.id());
        }
        Self { at: Instant::now(), calls, raft, own, processor }
    }

    /// What came since.
    pub(crate) fn until(&self, later: &Self) -> Spent {
        let (mut reads, mut writes) = (BTreeMap::new(), BTreeMap::new());
        for ((verb, resource), value) in &later.calls {
            let more = value - self.calls.get(&(verb.clone(), resource.clone())).unwrap_or(&0.0);
            let of = match verb.as_str() {
                "GET" | "LIST" | "WATCH" => &mut reads,
                _ => &mut writes,
            };
            // The benchmark's own look.
            if more > 0.0 && !resource.is_empty() {
                *of.entry(format!("{verb} {resource}")).or_default() += more;
            }
        }
        let own = later.own.iter().map(|(name, value)| (name.clone(), value - self.own.get(name).unwrap_or(&0.0)));
        Spent {
            seconds: (later.at - self.at).as_secs_f64(),
            reads,
            writes,
            raft: later.raft - self.raft,
            own: own.collect(),
            processor: later.processor - self.processor,
        }
    }
}

impl Spent {
    /// All of the operator's counters whose names begin so.
    pub(crate) fn own(&self, begins: &str) -> f64 {
        self.own.iter().filter(|(name, _)| name.starts_with(begins)).map(|(_, value)| value).sum()
    }

    /// Calls of a kind for each of so many, as text.
    pub(crate) fn each(of: &BTreeMap<String, f64>, count: f64) -> String {
        let mut all: Vec<_> = of.iter().collect();
        all.sort_by(|a, b| b.1.total_cmp(a.1));
        let one = |(name, value): (&String, &f64)| format!("{name} {:.2}", value / count);
        all.into_iter().filter(|(_, value)| **value / count >= 0.005).map(one).collect::<Vec<_>>().join(", ")
    }

    /// OpenBao's calls by operation, for each of so many.
    pub(crate) fn store(&self, count: f64) -> String {
        let mut all = BTreeMap::<String, f64>::new();
        for (name, value) in &self.own {
            if let Some(labels) = name.strip_prefix("tofustate_openbao_calls_total{") {
                let operation =
                    labels.split("operation=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("?");
                *all.entry(operation.to_owned()).or_default() += value;
            }
        }
        Self::each(&all, count)
    }

    pub(crate) fn writes_of(&self, names: &str) -> f64 {
        self.writes.iter().filter(|(name, _)| name.contains(names)).map(|(_, value)| value).sum()
    }
}

type Labels = Vec<(String, String)>;

/// One line of the text format: the name, the labels, the value. Labels of the API server have no commas or quotes in them.
fn sample(line: &str) -> Option<(&str, Labels, f64)> {
    let (name, rest) = line.split_once('{')?;
    let (labels, value) = rest.rsplit_once("} ")?;
    let label = |text: &str| {
        text.split_once("=\"").map(|(key, value)| (key.to_owned(), value.trim_end_matches('"').to_owned()))
    };
    Some((name, labels.split("\",").filter_map(label).collect(), value.trim().parse().ok()?))
}
