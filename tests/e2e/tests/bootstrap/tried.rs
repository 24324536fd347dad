//! What the try at the end of a set-up leaves where it is cut off, and what removes that.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tofustate_e2e::{
    bao::{Api, Setup as Server},
    proxy::Fault,
    wait,
};

use crate::world::{World, path, said};

const PROBES: &str = "tofustate/prod/.probe/";
const ENTRIES: &str = "states/metadata/.versions/.probe";

/// The names of all policies that begin so.
fn policies(api: &Api, start: &str) -> Vec<String> {
    let all = api.must("LIST", "sys/policies/acl", &Value::Null);
    let all = all["keys"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    all.filter(|name| name.starts_with(start)).collect()
}

fn entries(api: &Api) -> Value {
    api.ask("LIST", ENTRIES, &Value::Null).unwrap().body["data"]["keys"].clone()
}

#[test]
fn what_a_try_leaves_that_was_killed_ends_soon_and_goes_with_a_later_one() {
    let name = "what_a_try_leaves_that_was_killed_ends_soon_and_goes_with_a_later_one";
    let Some(server) = (Server { proxied: true, ..Server::default() }).start(name) else { return };
    let world = World { server, folder: TempDir::new().unwrap(), namespace: None };
    let api = world.api();
    let proxy = world.server.proxy(0);
    proxy.script(
        |method, path| method == "POST" && path.contains("/data/.versions/.probe/"),
        [Some(Fault::HoldAnswer(Duration::from_secs(60)))],
    );
    let root = world.server.root_token_file();
    let mut killed = world.spawn_bootstrap(&["--admin-token-file", path(&root)]);
    wait::until("the state's token wrote", || match proxy.injected().len() {
        1 => Ok(()),
        _ => Err(killed.said()),
    });
    killed.kill();
    let left = policies(&api, PROBES);
    let [policy] = &left[..] else { panic!("{left:?}") };
    let tokens = world.tokens_of(policy);
    let [token] = &tokens[..] else { panic!("{tokens:?}") };
    let token = world.look_up(token).unwrap();
    assert_eq!(token["explicit_max_ttl"], 600, "whatever renews it: {token}");

    // It may still be under way.
    let next = world.bootstrap(&[]);
    assert!(next.status.success() && !said(&next).contains("cut off"), "{}", said(&next));
    assert_eq!(policies(&api, PROBES), left);

    // As if it had begun when its tokens would have ended by now; and others that look like it.
    let (began, random) = policy.strip_prefix(PROBES).unwrap().split_once('-').unwrap();
    let old = format!("{}-{random}", began.parse::<u64>().unwrap() - 660);
    let text = api.must("GET", &format!("sys/policies/acl/{policy}"), &Value::Null)["policy"].clone();
    let others = ["tofustate/other/.probe/1-ab", "tofustate/prod/probe/1-ab"].map(str::to_owned);
    for name in others.iter().chain([&format!("{PROBES}{old}")]) {
        api.must("POST", &format!("sys/policies/acl/{name}"), &json!({ "policy": text }));
    }
    api.must("POST", &format!("states/data/.versions/.probe/{old}"), &json!({"options": {"cas": 0}, "data": {}}));
    let next = world.bootstrap(&[]);
    assert!(next.status.success(), "{}", said(&next));
    assert!(said(&next).contains("left of earlier tries that were cut off: 1\n"), "{}", said(&next));
    assert_eq!(policies(&api, PROBES), left);
    assert_eq!(entries(&api), json!([policy.strip_prefix(PROBES).unwrap()]));
    for other in &others {
        assert_eq!(policies(&api, other), [other.as_str()]);
    }
    let next = world.bootstrap(&[]);
    assert!(next.status.success() && !said(&next).contains("cut off"), "{}", said(&next));
}
