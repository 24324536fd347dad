//! Started before OpenBao is set up: what is missing is said and waited for, where `tofustate bootstrap` can make it.

use std::fs;

use serde_json::{Value, json};
use tofustate_e2e::{
    ask::ask,
    bao::{self, Bao, fixture},
    kube::{Cluster, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, Setup},
    operator::{INSTANCE, Operator, file},
    project::said,
};

use crate::world::{Side, World};

/// The API server's own audience: OpenBao, which is outside of the cluster, reviews a token with that token.
const ITS_OWN: &str = "https://kubernetes.default.svc";

/// A cluster, and an OpenBao of which an operator knows that nobody set it up.
fn parts(test: &str) -> Option<(Cluster, Bao, Operator)> {
    let cluster = Setup { crds: true, ..Setup::default() }.start(test)?;
    let server = bao::Setup::default().start(test)?;
    let mut operator = Operator::without_store(&cluster);
    operator.reaches(&server);
    Some((cluster, server, operator))
}

/// How often it said that it waits: once for each thing that was missing, not for each look.
fn waits(operator: &Operator) -> Vec<String> {
    let lines = operator.lines("OpenBao is not set up yet");
    lines.iter().map(|line| line["missing"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned()).collect()
}

#[test]
fn an_operator_that_was_there_before_bootstrap_is_ready_after_it() {
    let test = "an_operator_that_was_there_before_bootstrap_is_ready_after_it";
    let Some((cluster, server, mut operator)) = parts(test) else { return };
    cluster.bind("system:auth-delegator", OPERATOR_NAMESPACE, OPERATOR_ACCOUNT);
    let jwt = file(&cluster, "jwt", &cluster.token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &[ITS_OWN]));
    operator.env("TOFUSTATE_OPENBAO_KUBERNETES_AUTH", "true");
    operator.env("TOFUSTATE_OPENBAO_KUBERNETES_AUDIENCE", ITS_OWN);
    operator.env("TOFUSTATE_OPENBAO_KUBERNETES_TOKEN_FILE", jwt.to_str().unwrap());
    operator.launch();
    // There is no mount of a login, no role, no policy, no KV mount.
    let missing = operator.await_shut("the login at auth/kubernetes with role tofustate-prod was refused");
    assert!(missing.starts_with("cluster: ") && missing.contains("\nstore: "), "{missing}");
    assert!(missing.contains("tofustate bootstrap --check says whether this login is set up"), "{missing}");
    ask("GET", &operator.url("team/app")).token("any").send().is(503);
    assert_eq!(ask("GET", &format!("{}/livez", operator.admin_url())).send().status(), 200);

    let done = server.try_bootstrap(
        INSTANCE,
        &[
            "--kubernetes-auth",
            &format!("--kubernetes-namespace={OPERATOR_NAMESPACE}"),
            &format!("--kubernetes-service-account={OPERATOR_ACCOUNT}"),
            &format!("--kubernetes-host={}", cluster.url()),
            &format!("--kubernetes-ca-file={}", cluster.ca().display()),
            &format!("--kubernetes-audience={ITS_OWN}"),
        ],
    );
    assert!(done.status.success(), "{}", said(&done));
    // The same process: one that ended would not be waited for.
    operator.await_ready();
    let all = waits(&operator);
    let mut different = all.clone();
    different.dedup();
    assert!(!all.is_empty() && different == all, "each is said once: {all:#?}");
    let mut world = World { side: Side { operator, cluster }, server };
    let namespace = world.cluster.namespace("early");
    world.ready(&namespace, json!({}));
    world.write("early/app", &world.token(&namespace, "app"), 1);
    world.operator.terminate();
}

/// A token that lives, and nothing else: all that is missing is told. Then it goes away, and the file has another.
#[test]
fn all_that_is_missing_is_told_and_a_token_in_a_file_may_be_another_by_then() {
    let test = "all_that_is_missing_is_told_and_a_token_in_a_file_may_be_another_by_then";
    let Some((_cluster, server, mut operator)) = parts(test) else { return };
    let api = server.api();
    let few = fixture::token(&api, &["default"]);
    let file = server.secret_file("given", &few.secret);
    operator.env("BAO_TOKEN_FILE", file.to_str().unwrap());
    operator.launch();
    let missing = operator.await_shut("OpenBao is not set up as tofustate needs it (mount states, instance prod)");
    for part in ["the KV v2 mount states", "what the operator's token may do", "tofustate bootstrap --check lists it"] {
        assert!(missing.contains(part), "{part}: {missing}");
    }
    api.must("POST", "auth/token/revoke-accessor", &json!({"accessor": few.accessor}));
    operator.await_shut("OpenBao does not know the");
    let made = server.bootstrap(INSTANCE, &[]);
    // Nothing was written meanwhile.
    assert_eq!(api.ask("LIST", "states/metadata", &Value::Null).unwrap().status, 404);
    fs::copy(made, &file).unwrap();
    operator.await_ready();
    operator.still_runs();
    assert!(!operator.said().contains(&few.secret), "a token is in the log");
    operator.terminate();
}

/// What no bootstrap mends ends it at once: it would wait for ever.
#[test]
fn what_bootstrap_cannot_mend_ends_it() {
    let test = "what_bootstrap_cannot_mend_ends_it";
    let Some((cluster, server, mut operator)) = parts(test) else { return };
    // A variable stays what it is: the next start may find another.
    operator.env("BAO_TOKEN", "s.not-a-token-of-this-server");
    let said = operator.refuses();
    assert!(said.contains("does not know the") && !said.contains("s.not-a-token"), "{said}");

    let mut operator = Operator::installed(&cluster);
    operator.reaches(&server).env("TOFUSTATE_OPENBAO_KUBERNETES_AUTH", "true");
    operator.env("TOFUSTATE_OPENBAO_KUBERNETES_TOKEN_FILE", "/no/such/token");
    let said = operator.refuses();
    assert!(said.contains("the ServiceAccount token /no/such/token: it cannot be read"), "{said}");
    let other = file(&cluster, "other", &cluster.token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &["others"]));
    operator.env("TOFUSTATE_OPENBAO_KUBERNETES_TOKEN_FILE", other.to_str().unwrap());
    operator.env("TOFUSTATE_OPENBAO_KUBERNETES_AUDIENCE", "openbao");
    let said = operator.refuses();
    assert!(said.contains("it is for the audience \"others\" and not \"openbao\""), "{said}");
}
