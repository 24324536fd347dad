//! A run is one trace, whatever the protocol; and nothing of a state or a credential is in it.

use std::{collections::BTreeSet, process::Command};

use tofustate_e2e::{
    ask::{lock_info, state},
    client::Client,
    project::{APPLY, INIT, Project, VALUE},
    standalone::{binary, writer},
    with_each_client,
};

use crate::{
    PATH, ask,
    collector::{Collector, PROTOCOLS, Span},
    server,
};

with_each_client!(a_run_is_one_trace);

fn a_run_is_one_trace(client: &Client) {
    let version = Command::new(binary()).arg("--version").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap();
    for protocol in PROTOCOLS {
        let name = if client.is_terraform() { "a_run_is_one_trace::terraform" } else { "a_run_is_one_trace::opentofu" };
        let Some(collector) = Collector::running(name) else { return };
        let mut server = server();
        collector.receive_from(&mut server, protocol);
        server.start();
        let project = Project::at(&server, PATH, client, &[VALUE]);
        project.write("terraform.tfvars", "value = \"hush-a-value\"\n");
        project.run(INIT);
        project.run(APPLY);
        let metrics = server.metrics();
        server.terminate();

        let answered = metrics.lines().filter(|line| line.starts_with("tofustate_http_requests_total{"));
        let answered: usize = answered.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum();
        let requests = collector.requests(answered);
        assert_eq!(requests.len(), answered, "{requests:#?}");
        let lock = requests.iter().find(|span| span.name == "LOCK").unwrap();
        let run: Vec<&Span> = requests.iter().filter(|span| span.trace == lock.trace).collect();
        let verbs: BTreeSet<&str> = run.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(verbs, BTreeSet::from(["LOCK", "GET", "POST", "UNLOCK"]), "{run:#?}");
        let outside: Vec<&Span> = requests.iter().filter(|span| span.trace != lock.trace).collect();
        assert!(
            outside.iter().all(|span| span.name == "GET" && span.parent.is_empty()),
            "before the lock: {outside:#?}"
        );
        assert_eq!(lock.parent, "");
        for span in &run {
            assert!(span.id == lock.id || span.parent == lock.id, "{span:#?}");
        }
        for span in &requests {
            assert_eq!(
                (span.kind, span.attribute("path"), span.attribute("identity")),
                (2, PATH, "token"),
                "{span:#?}"
            );
            assert_eq!(span.attribute("http.request.method"), span.name);
            let done = (span.attribute("outcome"), span.attribute("http.response.status_code"));
            assert!(done == ("ok", "200") || (done == ("no_state", "404") && span.name == "GET"), "{span:#?}");
            assert_eq!(span.resource["service.name"], "tofustate");
            assert_eq!(format!("tofustate {}\n", span.resource["service.version"]), version);
        }
        // There is nothing else.
        let spans = collector.spans();
        assert_eq!(spans.len(), answered, "{spans:#?}");
        let all = collector.received() + &collector.said();
        for secret in ["hush", &writer(PATH), "Authorization", "Basic", "Bearer"] {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
    }
}

/// All runs of a team may have one token: it is the lock's id that says which run a write is of.
#[test]
fn others_are_no_part_of_the_holders_trace() {
    let Some(collector) = Collector::running("others_are_no_part_of_the_holders_trace") else { return };
    let mut server = server();
    collector.receive_from(&mut server, PROTOCOLS[0]);
    server.start();
    let lock = lock_info("mine").replace("\"Info\":\"\"", "\"Info\":\"hush\"");
    ask(&server, "LOCK", "").body(&*lock).send().is(200);
    ask(&server, "LOCK", "").body(lock_info("other")).send().is(409);
    ask(&server, "POST", "?ID=other").body(state(1, 10)).send().is(409);
    ask(&server, "POST", "?ID=mine").body(state(1, 10)).send().is(200);
    ask(&server, "UNLOCK", "").body(&*lock).send().is(200);
    ask(&server, "DELETE", "").send().is(200);
    ask(&server, "GET", "").token("wrong").send().is(403);

    let requests = collector.requests(6);
    let of = |name: &str, status: &str| {
        let found =
            requests.iter().find(|span| span.name == name && span.attribute("http.response.status_code") == status);
        found.unwrap_or_else(|| panic!("no {name} {status} in {requests:#?}"))
    };
    let run = &of("LOCK", "200").trace;
    assert_eq!((&of("POST", "200").trace, &of("UNLOCK", "200").trace), (run, run));
    let others = [of("LOCK", "409"), of("POST", "409"), of("DELETE", "200")];
    assert!(others.iter().all(|span| span.parent.is_empty()), "{others:#?}");
    assert_eq!(of("LOCK", "409").attribute("outcome"), "locked");
    assert!(!collector.received().contains("hush"), "{}", collector.received());
}
