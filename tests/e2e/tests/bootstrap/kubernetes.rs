//! The login of a Pod: OpenBao's own Kubernetes auth method, and a real API server that it asks about ServiceAccount tokens
//! (TokenReview).

use std::{fs, path::PathBuf, process::Output};

use serde_json::{Value, json};
use tofustate::openbao::{Credential, Login, Mount, ServiceAccount, TokenSource as _, setup::check_own};
use tofustate_e2e::{kube::Shared, wait};
use tokio::sync::watch;

use crate::world::{POLICY, ROLE, World, instance, off, run, said, state, until};

const AUDIENCE: &str = "openbao";
/// Of the API server itself.
const ITS_OWN: &str = "https://kubernetes.default.svc";
/// May review tokens.
const REVIEWER: &str = "system:auth-delegator";

/// A server with the login set up, and a ServiceAccount's token in a file.
struct Pod {
    world: World,
    cluster: Shared,
    /// The Pod's. There are the ServiceAccounts `tofustate` and `other`, and `openbao`, which may review tokens.
    namespace: &'static str,
    file: PathBuf,
    args: Vec<String>,
}

impl Pod {
    fn start(test: &str, namespace: &'static str) -> Option<Self> {
        let cluster = Shared::cluster(test)?;
        let world = World::start(test, None)?;
        let args = vec![
            "--kubernetes-auth".to_owned(),
            format!("--kubernetes-namespace={namespace}"),
            format!("--kubernetes-host={}", cluster.url()),
            format!("--kubernetes-ca-file={}", cluster.ca().display()),
        ];
        cluster.namespace(namespace);
        for name in ["tofustate", "other", "openbao"] {
            cluster.service_account(namespace, name);
        }
        let file = world.folder.path().join("serviceaccount-token");
        let pod = Self { world, cluster, namespace, file, args };
        pod.may_review("openbao");
        let done = pod.bootstrap(&[]);
        assert!(done.status.success(), "{}", said(&done));
        assert!(!said(&done).contains("no way in yet"), "{}", said(&done));
        pod.world.server.audit_on();
        pod.project(namespace, "tofustate", &[AUDIENCE]);
        Some(pod)
    }

    /// Lets a ServiceAccount review tokens, and waits until it may.
    fn may_review(&self, name: &str) {
        self.cluster.bind(REVIEWER, self.namespace, name);
        let api = self.cluster.api().with_token(&self.cluster.token(self.namespace, name, &[]));
        let review =
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "none"}});
        wait::until("it may review tokens", || {
            let answer = api.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", &review)?;
            if answer.status == 201 { Ok(()) } else { Err(format!("{answer:?}")) }
        });
    }

    /// OpenBao reviews with a token of its own, as it does in the cluster.
    fn reviews_itself(&self) {
        let config = json!({
            "kubernetes_host": self.cluster.url(),
            "kubernetes_ca_cert": fs::read_to_string(self.cluster.ca()).unwrap(),
            "disable_local_ca_jwt": true,
            "token_reviewer_jwt": self.cluster.token(self.namespace, "openbao", &[]),
        });
        self.world.api().must("POST", "auth/kubernetes/config", &config);
    }

    fn bootstrap(&self, args: &[&str]) -> Output {
        let all: Vec<_> = self.args.iter().map(String::as_str).chain(args.iter().copied()).collect();
        self.world.bootstrap(&all)
    }

    /// Puts another token into the file, as the kubelet does.
    fn project(&self, namespace: &str, name: &str, audiences: &[&str]) {
        fs::write(&self.file, self.cluster.token(namespace, name, audiences)).unwrap();
    }

    /// The ServiceAccount anew: its tokens until now are no longer good.
    fn replace_account(&self) {
        let path = format!("/api/v1/namespaces/{}/serviceaccounts/tofustate", self.namespace);
        self.cluster.api().delete(&path).done();
        self.cluster.service_account(self.namespace, "tofustate");
    }

    /// How many logins OpenBao was asked for.
    fn asked(&self) -> usize {
        let entries = self.world.server.audit();
        entries
            .iter()
            .filter(|entry| entry["type"] == "request" && entry["request"]["path"] == "auth/kubernetes/login")
            .count()
    }

    fn login(&self) -> Login {
        self.login_for(AUDIENCE)
    }

    fn login_for(&self, audience: &str) -> Login {
        let account = ServiceAccount {
            mount: Mount::parse("kubernetes").unwrap(),
            role: ROLE.to_owned(),
            token_file: self.file.clone(),
            audience: Some(audience.to_owned()),
        };
        Login::new(self.world.connect(), Credential::Kubernetes(account), &instance()).unwrap()
    }

    /// Why there is no login.
    fn trouble(&self) -> String {
        let login = self.login();
        run(async {
            let fault = login.obtain().await.unwrap_err().to_string();
            let trouble = login.trouble().await.unwrap();
            assert!(fault.contains(&trouble), "{fault}; {trouble}");
            trouble
        })
    }
}

#[test]
fn a_pod_logs_in_and_again_with_the_token_that_it_has_by_then() {
    let Some(pod) = Pod::start("a_pod_logs_in_and_again_with_the_token_that_it_has_by_then", "logs-in") else {
        return;
    };
    pod.reviews_itself();
    let world = &pod.world;
    run(async {
        let login = pod.login();
        assert_eq!(login.token(), None, "nothing was asked yet");
        let many: Vec<_> = (0..20)
            .map(|_| {
                let login = login.clone();
                tokio::spawn(async move { login.obtain().await.unwrap() })
            })
            .collect();
        for one in many {
            one.await.unwrap();
        }
        let first = off(|| world.tokens_of(POLICY));
        assert_eq!(first.len(), 1, "one login for all of them");
        let found = off(|| world.look_up(&first[0])).unwrap();
        assert_eq!(found["creation_ttl"], 3600, "{found}");
        let report = check_own(&world.connect(), &login, &world.setup()).await.unwrap();
        assert!(report.is_good() && report.notes.is_empty(), "{report}");
        // OpenBao's own token for the API server is no concern of bootstrap, and stays.
        for args in [&["--check"][..], &[]] {
            assert!(off(|| pod.bootstrap(args)).status.success());
        }
        assert_eq!(found["meta"]["service_account_namespace"], pod.namespace, "{found}");

        // The first token is no longer good, OpenBao's is lost: the next login is with the new one.
        let bao = world.connect();
        let stores = world.stores_with(&bao, std::sync::Arc::new(login.clone()));
        state(&stores, "team/one").get("team/one").await.unwrap();
        off(|| {
            pod.replace_account();
            pod.project(pod.namespace, "tofustate", &[AUDIENCE]);
        });
        off(|| world.api().must("POST", "auth/token/revoke-accessor", &json!({"accessor": first[0]})));
        state(&stores, "team/two").get("team/two").await.unwrap();
        let second = off(|| world.tokens_of(POLICY));
        assert_eq!(second.len(), 1);
        assert_ne!(second, first);
        let uid = |found: &Value| found["meta"]["service_account_uid"].clone();
        let again = off(|| world.look_up(&second[0])).unwrap();
        assert!(uid(&found) != uid(&again) && uid(&again).is_string(), "{found}; {again}");
        // States' tokens are no children of it.
        login.end().await;
        assert_eq!(off(|| world.tokens_of(POLICY)), Vec::<String>::new(), "the login's token was ended");
        state(&stores, "team/one").get("team/one").await.unwrap();
    });
}

#[test]
fn a_login_that_is_refused_says_what_is_wrong() {
    let Some(pod) = Pod::start("a_login_that_is_refused_says_what_is_wrong", "refused") else { return };
    pod.reviews_itself();
    pod.project(pod.namespace, "other", &[AUDIENCE]);
    assert!(pod.trouble().contains("service account name not authorized"));
    pod.cluster.namespace("refused-too");
    pod.cluster.service_account("refused-too", "tofustate");
    pod.project("refused-too", "tofustate", &[AUDIENCE]);
    assert!(pod.trouble().contains("namespace not authorized"));
    // Kubernetes does not know it any more.
    pod.project(pod.namespace, "tofustate", &[AUDIENCE]);
    pod.replace_account();
    let before = pod.asked();
    assert!(pod.trouble().contains("was refused: are the ServiceAccount"));
    assert!(pod.asked() > before);
    // For others: OpenBao is not shown it.
    let before = pod.asked();
    pod.project(pod.namespace, "tofustate", &[]);
    let trouble = pod.trouble();
    assert!(trouble.contains(&format!("is for the audience {ITS_OWN:?} and not \"openbao\"")), "{trouble}");
    assert_eq!(pod.asked(), before);
    fs::remove_file(&pod.file).unwrap();
    assert!(pod.trouble().contains("cannot be read"));

    pod.project(pod.namespace, "tofustate", &[AUDIENCE]);
    let api = pod.world.api();
    // A mount that is not there is refused like a token that is not known.
    for (path, says) in [
        (format!("auth/kubernetes/role/{ROLE}"), "has no role tofustate-prod: run tofustate bootstrap"),
        ("sys/auth/kubernetes".to_owned(), "tofustate bootstrap --check says whether this login is set up"),
    ] {
        api.must("DELETE", &path, &Value::Null);
        let refused = pod.trouble();
        assert!(refused.contains(says), "{refused}");
        let check = said(&pod.bootstrap(&["--check"]));
        assert!(check.contains(&format!("the role {ROLE} of the login at auth/kubernetes is missing")), "{check}");
        let mended = pod.bootstrap(&[]);
        assert!(mended.status.success(), "{}", said(&mended));
        pod.reviews_itself();
        run(async { pod.login().obtain().await.unwrap() });
    }
    // Whoever else logs in there: without a host of ours the cluster stays what it is.
    let kept = api.must("GET", "auth/kubernetes/config", &Value::Null);
    let done = pod.world.bootstrap(&["--kubernetes-auth"]);
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(api.must("GET", "auth/kubernetes/config", &Value::Null), kept);
}

#[test]
fn a_login_is_renewed_and_made_anew_before_its_last_end() {
    let Some(pod) = Pod::start("a_login_is_renewed_and_made_anew_before_its_last_end", "renewed") else { return };
    pod.reviews_itself();
    let world = &pod.world;
    let role = json!({"token_ttl": "12s", "token_max_ttl": "20s"});
    world.api().must("POST", &format!("auth/kubernetes/role/{ROLE}"), &role);
    run(async {
        let login = pod.login();
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn({
            let login = login.clone();
            async move { login.run(stopped).await }
        });
        let bao = world.connect();
        let stores = world.stores_with(&bao, std::sync::Arc::new(login.clone()));
        let mut seen = 0;
        until("it lived through three logins", || {
            seen += 1;
            let path = format!("team/state-{seen}");
            let (stores, pod) = (&stores, &pod);
            async move {
                // Each needs the operator's token anew.
                state(stores, &path).get(&path).await.unwrap();
                let logins = off(|| pod.asked());
                if logins >= 3 { Ok(()) } else { Err(format!("{logins} logins")) }
            }
        })
        .await;
        let requests = off(|| world.server.audit()).into_iter().filter(|line| line["type"] == "response");
        let renewals = requests
            .filter(|line| line["request"]["path"] == "auth/token/renew-self" && line["error"].is_null())
            .count();
        println!("three logins, {renewals} renewals, {seen} states");
        assert!(renewals >= 2, "each was renewed before the next: {renewals}");
        assert_eq!(login.trouble().await, None);
        stop.send_replace(true);
        running.await.unwrap();
        assert_eq!(off(|| world.tokens_of(POLICY)).len(), 1, "the former was ended, seconds before it would by itself");
        login.end().await;
        assert_eq!(login.token(), None);
    });
}

/// From outside the cluster OpenBao has no token of its own and shows the API server the Pod's, which is for one audience:
/// it has to be the API server's own.
#[test]
fn without_a_reviewer_the_pods_token_has_to_be_for_the_api_server() {
    let test = "without_a_reviewer_the_pods_token_has_to_be_for_the_api_server";
    let Some(pod) = Pod::start(test, "outside") else { return };
    pod.may_review("tofustate");
    let trouble = pod.trouble();
    assert!(trouble.contains("may OpenBao review tokens?"), "{trouble}");
    let done = pod.bootstrap(&["--kubernetes-audience", ITS_OWN]);
    assert!(done.status.success(), "{}", said(&done));
    pod.project(pod.namespace, "tofustate", &[]);
    run(async { pod.login_for(ITS_OWN).obtain().await.unwrap() });
    // And it has to have the right.
    let done = pod.bootstrap(&["--kubernetes-audience", ITS_OWN, "--kubernetes-service-account", "other"]);
    assert!(done.status.success(), "{}", said(&done));
    pod.project(pod.namespace, "other", &[]);
    let fault = run(async { pod.login_for(ITS_OWN).obtain().await.unwrap_err().to_string() });
    assert!(fault.contains("may OpenBao review tokens?"), "{fault}");
}

#[test]
fn without_the_operators_policy_nobody_logs_in_again_and_again() {
    let test = "without_the_operators_policy_nobody_logs_in_again_and_again";
    let Some(pod) = Pod::start(test, "policy") else { return };
    pod.reviews_itself();
    let world = &pod.world;
    run(async {
        let login = pod.login();
        let bao = world.connect();
        let stores = world.stores_with(&bao, std::sync::Arc::new(login.clone()));
        state(&stores, "team/one").get("team/one").await.unwrap();
        let before = off(|| world.tokens_of(POLICY));
        off(|| world.api().must("DELETE", &format!("sys/policies/acl/{POLICY}"), &Value::Null));
        for n in 0..6 {
            let path = format!("team/new-{n}");
            let fault = state(&stores, &path).get(&path).await.unwrap_err().to_string();
            let says = "the operator's policy tofustate-operator-prod is missing";
            assert!(fault.contains(says) && fault.contains("run tofustate bootstrap"), "{fault}");
            assert!(login.trouble().await.is_some_and(|trouble| trouble.contains(says)));
        }
        assert_eq!(off(|| pod.asked()), 1, "it logged in once");
        assert_eq!(off(|| world.tokens_of(POLICY)), before);
        state(&stores, "team/one").get("team/one").await.unwrap();

        assert!(off(|| pod.bootstrap(&[])).status.success());
        until("it is healed", || async {
            state(&stores, "team/new-0").get("team/new-0").await.map(drop).map_err(|error| error.to_string())
        })
        .await;
        assert_eq!(off(|| world.tokens_of(POLICY)), before, "by the token that it had");
        login.end().await;
        assert_eq!(off(|| world.tokens_of(POLICY)), Vec::<String>::new());
    });
}
