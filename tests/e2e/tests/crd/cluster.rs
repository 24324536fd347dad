//! The cluster itself: who may do what in it, that it outlives its programs, and its controllers.

use serde_json::{Value, json};
use tofustate_e2e::kube::{Cluster, Part, Setup, Shared, tofustates};

use crate::{created, named};

/// Prints how long it took, for the record.
#[test]
fn programs_of_the_cluster_are_killed_and_come_back() {
    let Some(mut cluster) = Cluster::start("programs_of_the_cluster_are_killed_and_come_back") else { return };
    println!("ready after {:?}", cluster.took());
    cluster.install_crds();
    let namespace = cluster.namespace("kept");
    created(&cluster, &namespace, &named("net", &json!({"path": "a"})));
    let (url, path) = (cluster.url().to_owned(), format!("{}/net", tofustates(&namespace)));
    let token = {
        cluster.service_account(&namespace, "user");
        cluster.token(&namespace, "user", &[])
    };
    let uid = |cluster: &Cluster| cluster.api().get(&path).unwrap()["metadata"]["uid"].clone();
    let before = uid(&cluster);
    let seen = cluster.api().watch(&tofustates(&namespace), "");
    cluster.kill(Part::ApiServer);
    while seen.next().is_some() {}
    assert!(cluster.api().ask("GET", &path, &Value::Null).is_err());
    cluster.restart(Part::ApiServer);
    assert_eq!((uid(&cluster), cluster.url()), (before.clone(), &*url));
    cluster.kill(Part::Etcd);
    cluster.restart(Part::Etcd);
    assert_eq!(uid(&cluster), before);
    cluster.stop(Part::ApiServer);
    cluster.stop(Part::Etcd);
    cluster.restart(Part::Etcd);
    cluster.restart(Part::ApiServer);
    assert_eq!(uid(&cluster), before);
    // A ServiceAccount's token outlives that too: the keys are the same.
    let message = cluster.api().with_token(&token).ask("GET", &path, &Value::Null).unwrap().refused(403);
    assert!(message.contains("system:serviceaccount:kept:user"), "{message}");
}

#[test]
fn rights_are_those_of_rbac_and_tokens_are_for_their_audience() {
    let Some(cluster) = Shared::cluster("rights_are_those_of_rbac_and_tokens_are_for_their_audience") else { return };
    let namespace = cluster.namespace("rights");
    cluster.service_account(&namespace, "user");
    let token = cluster.token(&namespace, "user", &[]);
    let kubectl = cluster.kubectl_as(&cluster.kubeconfig("user", &token));
    let said = kubectl.fails(&["get", "tofustates", "-n", "rights"]);
    assert!(said.contains("cannot list resource \"tofustates\""), "{said}");
    assert!(kubectl.must(&["auth", "whoami"]).contains("system:serviceaccount:rights:user"));
    cluster.grant(&namespace, "user", &json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]));
    let secrets = format!("/api/v1/namespaces/{namespace}/secrets");
    let configs = format!("/api/v1/namespaces/{namespace}/configmaps");
    let user = cluster.api().with_token(&token);
    user.until(&configs, "the user may read ConfigMaps", |_| true);
    user.ask("GET", &secrets, &Value::Null).unwrap().refused(403);

    let other = cluster.token(&namespace, "user", &["openbao"]);
    assert_eq!(cluster.api().with_token(&other).ask("GET", &configs, &Value::Null).unwrap().status, 401);
    let review = |token: &str, audience: &str| {
        let asked = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token, "audiences": [audience]},
        });
        cluster.api().create("/apis/authentication.k8s.io/v1/tokenreviews", &asked).done()["status"].clone()
    };
    let known = review(&other, "openbao");
    assert_eq!(known["user"]["username"], "system:serviceaccount:rights:user", "{known}");
    assert_eq!(review(&other, "somebody")["authenticated"], Value::Null);
    assert_eq!(review("no-token", "openbao")["authenticated"], Value::Null);
    // Of a ServiceAccount that is gone: the API server keeps an answer for some seconds.
    cluster.api().delete(&format!("/api/v1/namespaces/{namespace}/serviceaccounts/user")).done();
    tofustate_e2e::wait::until("the token is refused", || {
        let known = review(&other, "openbao");
        if known["authenticated"] == true { Err(known.to_string()) } else { Ok(()) }
    });
}

#[test]
fn admission_policies_are_on_and_ask_for_verbs_of_our_own() {
    let Some(cluster) = Shared::cluster("admission_policies_are_on_and_ask_for_verbs_of_our_own") else { return };
    let namespace = cluster.namespace("policies");
    let (api, path) = (cluster.api(), format!("{}/net", tofustates(&namespace)));
    let kind = |kind: &str, spec: Value| {
        let object = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "of-the-tests"}, "spec": spec,
        });
        let plural = if kind.ends_with("Binding") { "policybindings" } else { "policies" };
        api.create(&format!("/apis/admissionregistration.k8s.io/v1/validatingadmission{plural}"), &object).done();
    };
    let check = "authorizer.group('tofustate.io').resource('tofustates').namespace(object.metadata.namespace)\
                 .name(object.metadata.name).check('forceunlock').allowed()";
    let rule = json!({
        "apiGroups": ["tofustate.io"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["tofustates"],
    });
    kind(
        "ValidatingAdmissionPolicy",
        json!({
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": check, "message": "this needs the verb forceunlock"}],
        }),
    );
    let here = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
    let binding = json!({"policyName": "of-the-tests", "validationActions": ["Deny"], "matchResources": here});
    kind("ValidatingAdmissionPolicyBinding", binding);

    created(&cluster, &namespace, &named("net", &json!({"path": "a"})));
    let mut users = Vec::new();
    for (name, verbs) in [("plain", json!(["get", "patch"])), ("breaker", json!(["get", "patch", "forceunlock"]))] {
        cluster.service_account(&namespace, name);
        let rules = json!([{"apiGroups": ["tofustate.io"], "resources": ["tofustates"], "verbs": verbs}]);
        cluster.grant(&namespace, name, &rules);
        let user = api.with_token(&cluster.token(&namespace, name, &[]));
        user.until(&path, "the user may read", |_| true);
        users.push(user);
    }
    let patch = |n: u32| json!({"metadata": {"annotations": {"tofustate.io/force-unlock": n.to_string()}}});
    let mut n = 0;
    let message = tofustate_e2e::wait::until("the policy is in force", || {
        n += 1;
        let answer = users[0].merge(&path, &patch(n));
        if answer.status == 422 { Ok(answer.refused(422)) } else { Err(format!("{answer:?}")) }
    });
    assert!(message.contains("of-the-tests") && message.contains("this needs the verb forceunlock"), "{message}");
    users[1].merge(&path, &patch(0)).done();
}

#[test]
fn controllers_collect_what_has_lost_its_owner_and_end_namespaces() {
    let setup = Setup { crds: true, controllers: true, ..Setup::default() };
    let Some(cluster) = setup.start("controllers_collect_what_has_lost_its_owner_and_end_namespaces") else { return };
    println!("ready with controllers and the definition after {:?}", cluster.took());
    let namespace = cluster.namespace("owned");
    let owner = created(&cluster, &namespace, &named("net", &json!({"path": "a"})));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "net-tofustate", "ownerReferences": [{
        "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend", "name": "net", "uid": owner["metadata"]["uid"],
    }]}});
    let secrets = format!("/api/v1/namespaces/{namespace}/secrets");
    cluster.api().create(&secrets, &secret).done();
    cluster.api().delete(&format!("{}/net", tofustates(&namespace))).done();
    cluster.api().until_gone(&format!("{secrets}/net-tofustate"));
    created(&cluster, &namespace, &named("other", &json!({"path": "a"})));
    cluster.api().delete(&format!("/api/v1/namespaces/{namespace}")).done();
    cluster.api().until_gone(&format!("/api/v1/namespaces/{namespace}"));
}
