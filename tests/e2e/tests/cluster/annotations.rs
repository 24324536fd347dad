//! The annotations that break a lock and roll a state back: for whoever has the verbs, and for nobody else.

use serde_json::{Value, json};
use tofustate_e2e::kube::{Api, tofustates};

use crate::world::{created, installed, resource, user};

const FORCE: &str = "tofustate.io/force-unlock";
const ROLLBACK: &str = "tofustate.io/rollback-to";

fn annotate(api: &Api, path: &str, name: &str, value: &Value) -> tofustate_e2e::kube::Answer {
    api.merge(path, &json!({"metadata": {"annotations": {name: value}}}))
}

#[test]
fn breaking_a_lock_and_rolling_back_need_verbs_of_their_own() {
    let Some(cluster) = installed("breaking_a_lock_and_rolling_back_need_verbs_of_their_own") else { return };
    let (api, namespace) = (cluster.api(), cluster.namespace("verbs"));
    created(api, &namespace, "net");
    let path = format!("{}/net", tofustates(&namespace));
    let editor = user(&cluster, &namespace, "editor", &["tofustate-edit"]);
    let breaker = user(&cluster, &namespace, "breaker", &["tofustate-edit", "tofustate-unlock"]);
    for (name, verb, value) in [(FORCE, "forceunlock", "7c0e"), (ROLLBACK, "rollback", "3@4")] {
        let message = annotate(&editor, &path, name, &json!(value)).refused(403);
        let says = format!("the annotation {name} needs the verb {verb} on tofustates.tofustate.io: ask for a role");
        assert!(message.contains(&says), "{message}");
        // By any way: an update of all of it, server-side apply, a new resource.
        let mut whole = api.get(&path).unwrap();
        whole["metadata"]["annotations"] = json!({name: value});
        assert!(editor.replace(&path, &whole).refused(403).contains(&says));
        let mut applied = resource("net", "verbs/net");
        applied["metadata"]["annotations"] = json!({name: value});
        assert!(editor.apply(&path, "kubectl", true, &applied).refused(403).contains(&says));
        applied["metadata"]["name"] = json!("new");
        applied["spec"]["path"] = json!("verbs/new");
        assert!(editor.create(&tofustates(&namespace), &applied).refused(403).contains(&says));

        annotate(&breaker, &path, name, &json!(value)).done();
        // Once it stands there, whoever may edit changes all else, and may take it away; another value is another request.
        editor.merge(&path, &json!({"metadata": {"labels": {"by": verb}}})).done();
        annotate(&editor, &path, "tofustate.io/reconcile", &json!(verb)).done();
        let other = annotate(&editor, &path, name, &json!("other")).refused(403);
        assert!(other.contains(&says), "{other}");
        cluster.operator().merge(&path, &json!({"metadata": {"finalizers": ["tofustate.io/tests"]}})).done();
        cluster.operator().merge(&path, &json!({"metadata": {"finalizers": null}})).done();
        annotate(&editor, &path, name, &Value::Null).done();
        annotate(&editor, &path, name, &json!(value)).refused(403);
        annotate(&breaker, &path, name, &json!(value)).done();
    }
    // The operator has neither verb: what it patches never sets one.
    annotate(&cluster.operator(), &path, FORCE, &json!("mine")).refused(403);
}

#[test]
fn one_verb_does_not_give_the_other_and_a_name_may_be_all_that_is_granted() {
    let Some(cluster) = installed("one_verb_does_not_give_the_other_and_a_name_may_be_all_that_is_granted") else {
        return;
    };
    let (api, namespace) = (cluster.api(), cluster.namespace("one-verb"));
    for name in ["net", "other"] {
        created(api, &namespace, name);
    }
    cluster.service_account(&namespace, "half");
    let rule = |verbs: Value, names: Value| json!({"apiGroups": ["tofustate.io"], "resources": ["tofustates"], "verbs": verbs, "resourceNames": names});
    let rules = json!([rule(json!(["get", "list", "patch"]), json!([])), rule(json!(["forceunlock"]), json!(["net"]))]);
    cluster.grant(&namespace, "half", &rules);
    let half = api.with_token(&cluster.token(&namespace, "half", &[]));
    let (net, other) = (format!("{}/net", tofustates(&namespace)), format!("{}/other", tofustates(&namespace)));
    half.until(&net, "the user has rights", |_| true);
    annotate(&half, &net, FORCE, &json!("7c0e")).done();
    annotate(&half, &net, ROLLBACK, &json!("1@2")).refused(403);
    annotate(&half, &other, FORCE, &json!("7c0e")).refused(403);
    // Its status is no way around.
    let sneaked = json!({"metadata": {"annotations": {ROLLBACK: "1@2"}}, "status": {"locked": false}});
    cluster.operator().merge(&format!("{other}/status"), &sneaked).done();
    assert_eq!(api.get(&other).unwrap()["metadata"]["annotations"], Value::Null);
}
