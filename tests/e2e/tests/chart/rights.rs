//! The operator under the ServiceAccount and the roles that the chart gave it: all of them are used, and without any one rule
//! it is refused what it needs.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tofustate_e2e::{
    bao::{self, Bao},
    kube::{Asked, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, Setup, condition, tofustates},
    operator::Operator,
    wait,
};

use crate::world::World;

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1";
const AUDITED: Setup = Setup { audit: true, crds: false, controllers: false };

/// With the operator's rights in the namespace `team-a` alone: there no right comes from two roles.
fn installed(test: &str) -> Option<(World, Bao)> {
    let world = World::of(test, AUDITED)?;
    let server = bao::Setup::default().start(test)?;
    world.cluster.namespace("team-a");
    world.install(&["--set", "config.instance=prod,tls.plainHttp=true,watchNamespaces={team-a}"]);
    Some((world, server))
}

/// A resource's life, as far as it takes all that the operator may do. Comes back once all of it was seen.
fn life(world: &World, server: &Bao, operator: &mut Operator, namespace: &str) {
    let api = world.cluster.api();
    world.create(namespace, "app");
    let ready = world.until_ready(operator, namespace, "app");
    let (secrets, configs) =
        (format!("/api/v1/namespaces/{namespace}/secrets"), format!("/api/v1/namespaces/{namespace}/configmaps"));
    let resource = format!("{}/app", tofustates(namespace));

    // Under another name: what was written before goes.
    api.merge(&resource, &json!({"spec": {"connectionSecretName": "other"}})).done();
    api.until(&format!("{secrets}/other"), "the Secret has its new name", |_| true);
    for path in [&secrets, &configs] {
        api.until_gone(&format!("{path}/app-tofustate"));
    }
    // Put right where somebody changed it.
    api.merge(&format!("{secrets}/other"), &json!({"data": {"TF_HTTP_ADDRESS": null}})).done();
    api.until(&format!("{secrets}/other"), "the Secret is put right", |secret| {
        secret["data"]["TF_HTTP_ADDRESS"].is_string()
    });
    api.merge(&format!("{configs}/other"), &json!({"data": {"backend.hcl": "x"}})).done();
    api.until(&format!("{configs}/other"), "the ConfigMap is put right", |config| config["data"]["backend.hcl"] != "x");
    // A token that was revoked is replaced.
    let accessor = ready["status"]["openbao"]["tokenAccessor"].as_str().unwrap();
    server.api().must("POST", "auth/token/revoke-accessor", &json!({"accessor": accessor}));
    api.merge(&resource, &json!({"metadata": {"annotations": {"tofustate.io/reconcile": "1"}}})).done();
    world.until(operator, namespace, "app", "its token is another", |found| {
        found["status"]["openbao"]["tokenAccessor"].as_str().is_some_and(|now| now != accessor)
    });
    api.delete(&resource).done();
    api.until_gone(&resource);
    // One that comes with the finalizer, as from a backup.
    let kept = json!({
        "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend",
        "metadata": {"name": "kept", "finalizers": ["tofustate.io/state"]}, "spec": {"path": format!("{namespace}/kept")},
    });
    api.create(&tofustates(namespace), &kept).done();
    world.until_ready(operator, namespace, "kept");
}

/// OpenBao goes away, which is told in the operator's own namespace, and comes back.
fn outage(server: &mut Bao, operator: &Operator, told: impl Fn() -> Result<(), String>) {
    server.freeze(0);
    operator.await_shut("store");
    wait::until("the outage is told", told);
    server.thaw(0);
}

/// `verb group/resource namespace`, of each that was answered and none of which was refused.
fn used(asked: &[Asked]) -> BTreeSet<String> {
    let refused: Vec<_> = asked.iter().filter(|asked| asked.status == 403).collect();
    assert!(refused.is_empty(), "it was refused {refused:?}");
    let namespaced =
        |asked: &Asked| if asked.resource == "namespaces" { String::new() } else { asked.namespace.clone() };
    // What every client may ask.
    let ours = asked.iter().filter(|asked| !asked.resource.is_empty() && !asked.resource.starts_with("self"));
    ours.map(|asked| format!("{} {}/{} {}", asked.verb, asked.group, asked.resource, namespaced(asked))).collect()
}

/// The same of what roles grant.
fn granted(world: &World) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (role, namespace) in roles() {
        let role = world.cluster.api().get(&role).unwrap();
        for rule in role["rules"].as_array().unwrap() {
            for right in rights(rule) {
                all.insert(format!("{} {}/{} {namespace}", right.0, right.1, right.2));
            }
        }
    }
    all
}

/// The operator's roles, and the namespace in which they hold.
fn roles() -> [(String, &'static str); 3] {
    [
        (format!("{ROLES}/namespaces/team-a/roles/tofustate-operator"), "team-a"),
        (format!("{ROLES}/clusterroles/tofustate-operator-namespaces"), ""),
        (format!("{ROLES}/namespaces/{OPERATOR_NAMESPACE}/roles/tofustate-operator-tokens"), OPERATOR_NAMESPACE),
    ]
}

/// Verb, group, resource.
fn rights(rule: &Value) -> Vec<(String, String, String)> {
    let texts = |field: &str| -> Vec<String> {
        rule[field].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut all = Vec::new();
    for group in texts("apiGroups") {
        for resource in texts("resources") {
            all.extend(texts("verbs").into_iter().map(|verb| (verb, group.clone(), resource.clone())));
        }
    }
    all
}

#[test]
fn the_operator_uses_each_of_its_rights_and_needs_no_other() {
    let Some((world, mut server)) = installed("the_operator_uses_each_of_its_rights_and_needs_no_other") else {
        return;
    };
    let mut operator = world.operator(&server);
    operator.arg("--watch-namespaces=team-a").arg("--store-wait=5");
    operator.start();
    life(&world, &server, &mut operator, "team-a");
    outage(&mut server, &operator, || {
        let events = world.cluster.api().get(&format!("/apis/events.k8s.io/v1/namespaces/{OPERATOR_NAMESPACE}/events"));
        let told = events.unwrap().to_string().contains("StoreAway");
        if told { Ok(()) } else { Err("no Event StoreAway".to_owned()) }
    });
    operator.await_ready();
    operator.terminate();
    let granted = granted(&world);
    let used = used(&world.cluster.asked_by_operator());
    let (unused, missing): (Vec<_>, Vec<_>) =
        (granted.difference(&used).collect(), used.difference(&granted).collect());
    assert!(unused.is_empty(), "granted and never used: {unused:?}");
    assert!(missing.is_empty(), "used, and not by these roles: {missing:?}");
}

/// The default: in all namespaces.
#[test]
fn the_operator_lives_with_the_rights_of_the_default_values() {
    let test = "the_operator_lives_with_the_rights_of_the_default_values";
    let Some(world) = World::of(test, AUDITED) else { return };
    let Some(server) = bao::Setup::default().start(test) else { return };
    world.install(&["--set", "config.instance=prod,tls.plainHttp=true"]);
    let mut operator = world.operator(&server);
    operator.start();
    world.cluster.namespace("anywhere");
    life(&world, &server, &mut operator, "anywhere");
    assert!(used(&world.cluster.asked_by_operator()).len() > 15);
}

#[test]
fn without_any_one_rule_the_operator_is_refused_what_it_needs() {
    let Some((world, mut server)) = installed("without_any_one_rule_the_operator_is_refused_what_it_needs") else {
        return;
    };
    let api = world.cluster.api();
    let token = server.bootstrap(tofustate_e2e::operator::INSTANCE, &[]);
    let mut tried = 0;
    for (path, namespace) in roles() {
        let role = api.get(&path).unwrap();
        for rule in role["rules"].as_array().unwrap() {
            for resource in rule["resources"].as_array().unwrap() {
                let resource = resource.as_str().unwrap();
                let group = rule["apiGroups"][0].as_str().unwrap();
                let without = rules_without(&role, rule, resource);
                api.merge(&path, &json!({"rules": without})).done();
                let verb = rule["verbs"][0].as_str().unwrap();
                let account = (OPERATOR_NAMESPACE, OPERATOR_ACCOUNT);
                let may = || match resource {
                    // By their names alone.
                    "namespaces" => {
                        let one = "/api/v1/namespaces?fieldSelector=metadata.name%3Dteam-a";
                        world.cluster.operator().ask("GET", one, &Value::Null).unwrap().status == 200
                    }
                    _ => world.cluster.may(account, verb, group, resource, namespace),
                };
                wait::until("the rule is gone", || if may() { Err(resource.to_owned()) } else { Ok(()) });

                let mut operator = Operator::installed(&world.cluster);
                operator.env("BAO_TOKEN_FILE", token.to_str().unwrap());
                operator.reaches(&server);
                operator.arg("--watch-namespaces=team-a").arg("--store-wait=5");
                let before = world.cluster.asked_by_operator().len();
                operator.launch();
                let name = format!("app-{tried}");
                world.create("team-a", &name);
                let refused = || {
                    let asked = world.cluster.asked_by_operator();
                    let about = |asked: &Asked| asked.group == group && asked.resource == resource;
                    let all = asked[before..].iter().filter(|asked| about(asked) && asked.status == 403);
                    let here = all.filter(|asked| namespace.is_empty() || asked.namespace == namespace).count();
                    if here > 0 { Ok(()) } else { Err(operator.said()) }
                };
                let what = format!("without {resource} in {namespace:?} it is refused");
                // Of an outage it tells only once it worked before.
                if (resource, namespace) == ("events", OPERATOR_NAMESPACE) {
                    world.until_ready(&operator, "team-a", &name);
                    outage(&mut server, &operator, refused);
                } else {
                    wait::until(&what, refused);
                    // Events come last: without them there is all but the news.
                    let found = api.get(&format!("{}/{name}", tofustates("team-a"))).unwrap();
                    let ready = condition(&found, "Ready").is_some_and(|ready| ready["status"] == "True");
                    assert!(
                        !ready || resource == "events",
                        "{what}, and the resource is ready all the same: {found:#}"
                    );
                }
                operator.kill();
                api.merge(&path, &json!({"rules": role["rules"]})).done();
                wait::until("the rule is back", || if may() { Ok(()) } else { Err(resource.to_owned()) });
                tried += 1;
            }
        }
    }
    // All is there again, and so is what it was kept from.
    let mut operator = world.operator(&server);
    operator.arg("--watch-namespaces=team-a");
    operator.start();
    for name in 0..tried {
        world.until_ready(&operator, "team-a", &format!("app-{name}"));
    }
    assert_eq!(tried, 9, "a rule that is new has to be tried, too");
}

/// The rules of a role, without this resource in this one.
fn rules_without(role: &Value, rule: &Value, resource: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for each in role["rules"].as_array().unwrap() {
        let mut each = each.clone();
        if each == *rule {
            each["resources"].as_array_mut().unwrap().retain(|name| name != resource);
        }
        if each["resources"] != json!([]) {
            all.push(each);
        }
    }
    all
}
