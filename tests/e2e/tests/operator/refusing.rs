//! An API server that is slow, refuses, forgets what it answered and drops its watches.

use std::time::Duration;

use serde_json::{Value, json};
use tofustate_e2e::{
    kube::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE},
    proxy::{Fault, injected},
    wait,
};

use crate::world::{Setting, World};

const NAMES: [&str; 4] = ["one", "two", "three", "four"];

#[test]
fn it_gets_there_whatever_the_api_server_answers() {
    let test = "it_gets_there_whatever_the_api_server_answers";
    let Some(mut world) = World::prepare(test, Setting { args: &["--resync", "20"], ..Setting::default() }) else {
        return;
    };
    let (seed, proxy) = (rand::random(), world.cluster.proxy());
    println!("seed {seed}");
    let token = world.cluster.token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &[]);
    let config = world.cluster.kubeconfig_by(&proxy, "refused", &token);
    world.operator.env("KUBECONFIG", config.to_str().unwrap());
    // A watch begins with a version that is gone, or is cut after a while.
    proxy.random(|_, path| path.ends_with("?watch"), seed, 90, &[Fault::CutAnswer, Fault::Answer(410, None)]);
    let slow = Fault::HoldAnswer(Duration::from_millis(300));
    let refused = [Fault::Answer(429, Some(1)), Fault::Answer(500, None), Fault::DropAnswer, Fault::DropRequest, slow];
    proxy.random(|method, _| method == "GET", seed, 10, &refused);
    let conflict = [&refused[..], &[Fault::Answer(409, None)]].concat();
    proxy.random(|method, _| method != "GET", seed, 25, &conflict);
    world.operator.start();
    let namespace = world.cluster.namespace("refusing");
    for name in NAMES {
        world.create(&namespace, name, json!({"retention": {"deletionPolicy": "Delete"}}));
    }
    for name in NAMES {
        world.until_ready(&namespace, name);
        let (path, token) = (format!("{namespace}/{name}"), world.token(&namespace, name));
        // The Secret is there before it is known that it is.
        wait::until("it is served", || match world.ask("GET", &path, &token).send().status() {
            404 => Ok(()),
            other => Err(other.to_string()),
        });
        world.write(&path, &token, 7);
        world.until(&namespace, name, "its state is shown", |found| {
            found["status"]["state"]["serial"] == 7 && found["status"]["locked"] == false
        });
    }
    // What is drawn at random happens some time, where there is enough to do.
    let config = format!("/api/v1/namespaces/{namespace}/configmaps/one-tofustate");
    wait::until("each fault happened", || {
        world.api().delete(&config);
        world.look(&namespace, "one");
        let (met, wanted) = (proxy.injected(), ["answer-409", "answer-410", "answer-429", "answer-500"]);
        let met_all = wanted.iter().chain(&["cut-answer", "drop-answer", "drop-request", "hold-answer"]);
        let missing: Vec<_> = met_all.filter(|kind| !met.contains_key(**kind)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
    });
    NAMES.iter().for_each(|name| world.delete(&namespace, name));
    injected(test, [&proxy]);
    proxy.calm();
    wait::until("nothing is left behind", || {
        let kept = world.api().get(&format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets")).unwrap();
        let kept = kept["items"].as_array().unwrap().len();
        let tokens = world.server.tokens_of(&World::policy(&namespace, ""));
        if kept == 0 && tokens.is_empty() { Ok(()) } else { Err(format!("{kept} Secrets, tokens {tokens:?}")) }
    });
    let policies = world.server.api().must("LIST", "sys/policies/acl", &Value::Null);
    let own = World::policy(&namespace, "");
    let left = policies["keys"].as_array().unwrap().iter().filter(|name| name.as_str().unwrap().starts_with(&own));
    assert_eq!(left.count(), 0, "{policies}");
}
