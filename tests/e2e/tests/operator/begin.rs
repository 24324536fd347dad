//! From a resource to a run.

use std::net::TcpStream;

use serde_json::{Value, json};
use tofustate_e2e::{
    ask::lock_info,
    bao,
    client::Client,
    kube::{Kstatus, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, Setup, condition, kstatus},
    operator::{INSTANCE, Operator, file},
    project::{APPLY, INIT, VALUE, said, waits},
    slow::Slow,
    wait, with_each_client,
};

use crate::world::{Setting, Shared, Side, World};

with_each_client!(a_run_needs_nothing_but_the_connection_secret);

fn a_run_needs_nothing_but_the_connection_secret(client: &Client) {
    let test = "a_run_needs_nothing_but_the_connection_secret";
    let Some(world) = Shared::world(test) else { return };
    let namespace = if client.is_terraform() { "terraform-run" } else { "tofu-run" };
    world.cluster.namespace(namespace);
    let new = world.create(namespace, "app", json!({}));
    assert_eq!(kstatus(&new).0, Kstatus::InProgress, "{new:#}");
    let ready = world.until_ready(namespace, "app");
    assert_eq!(kstatus(&ready).0, Kstatus::Current, "{ready:#}");
    let path = format!("{namespace}/app");
    for type_ in ["PathClaimed", "PolicySynced", "TokenReady", "CredentialsReady", "StoreReachable"] {
        assert_eq!(condition(&ready, type_).unwrap()["status"], "True", "{ready:#}");
    }
    assert!(condition(&ready, "Stalled").is_none(), "{ready:#}");
    assert_eq!(ready["status"]["endpoints"]["internal"], world.operator.url(&path));
    assert_eq!(ready["status"]["openbao"]["policy"], World::policy(namespace, "app"));
    assert!(ready["status"]["headEpoch"].is_string(), "{ready:#}");

    let config = world.api().get(&format!("/api/v1/namespaces/{namespace}/configmaps/app-tofustate")).unwrap();
    let hcl = config["data"]["backend.hcl"].as_str().unwrap();
    let token = world.token(namespace, "app");
    assert!(hcl.contains(&world.operator.url(&path)) && !hcl.contains(&token), "{hcl}");

    let project = world.project(client, namespace, "app-tofustate", &[VALUE, &waits("slow", None)]);
    project.run(INIT);
    let mut apply = project.start_apply("slow");
    let locked = world.until(namespace, "app", "its lock is shown", |found| found["status"]["locked"] == true);
    assert_eq!(locked["status"]["lock"]["operation"], "OperationTypeApply");
    assert_eq!(condition(&locked, "Ready").unwrap()["status"], "True", "a lock changes nothing of it");
    project.go("slow");
    assert!(apply.wait().status.success(), "{}", apply.said());
    let after = world.until(namespace, "app", "the run is over", |found| {
        found["status"]["locked"] == false && found["status"]["state"]["resources"] == 2
    });
    assert_eq!(after["status"]["state"]["version"], after["status"]["history"][0]["version"]);
    assert!(!project.has_changes());
    project.run(APPLY);

    // The token of the state in OpenBao is the state's own, and kept in the operator's namespace only.
    let accessor = ready["status"]["openbao"]["tokenAccessor"].as_str().unwrap();
    let life = world.server.look_up(accessor).expect("the token lives");
    assert_eq!(life["policies"], json!([World::policy(namespace, "app")]));
    let secrets = world.api().get(&format!("/api/v1/namespaces/{namespace}/secrets")).unwrap();
    assert_eq!(secrets["items"].as_array().unwrap().len(), 1, "{secrets}");
    let kept = world.api().get(&format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets")).unwrap();
    assert!(!kept["items"].as_array().unwrap().is_empty());
    assert!(!world.operator.said().contains(&token), "the token is in the log");
    assert!(!world.get(namespace, "app").unwrap().to_string().contains(&token), "the token is in the resource");
}

/// An apply of what is there already changes no resourceVersion: so it is the requests that are looked at.
#[test]
fn nothing_is_written_where_nothing_changed() {
    let test = "nothing_is_written_where_nothing_changed";
    let Some(world) = World::start(test, Setting { audit: true, ..Setting::default() }) else { return };
    let namespace = world.cluster.namespace("quiet");
    world.ready(&namespace, json!({}));
    // Besides the Lease, which is renewed all the time.
    let written = || {
        let all = world.cluster.written_by(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT);
        all.into_iter().filter(|write| !write.contains("/leases")).collect::<Vec<_>>()
    };
    // A look is asked for by an annotation, and told of in the status: all else stays.
    let first = world.look(&namespace, "app");
    assert!(written().iter().any(|write| write == "create /api/v1/namespaces/quiet/secrets"), "{:?}", written());
    let status = format!("patch {}/status", World::at(&namespace, "app"));
    // What the state's head says may come a moment after it is ready.
    let before = wait::until("a look writes its own outcome alone", || {
        let before = written().len();
        world.look(&namespace, "app");
        let all = written();
        if all.len() == before + 1 { Ok(all.len()) } else { Err(format!("{:?}", &all[before..])) }
    });
    world.look(&namespace, "app");
    let second = world.look(&namespace, "app");
    let all = wait::until("both are noted", || {
        let all = written();
        if all.len() >= before + 2 { Ok(all) } else { Err(format!("{all:?}")) }
    });
    assert_eq!(all[before..], [status.clone(), status], "two looks");
    let rest = |object: &Value| {
        let mut status = object["status"].clone();
        status.as_object_mut().unwrap().remove("lastHandled");
        status
    };
    assert_eq!(rest(&first), rest(&second));
}

#[test]
fn a_state_goes_on_after_a_restart_and_is_never_refused_meanwhile() {
    let test = "a_state_goes_on_after_a_restart_and_is_never_refused_meanwhile";
    let Some(mut world) = World::start(test, Default::default()) else { return };
    let namespace = world.cluster.namespace("restart");
    let before = world.ready(&namespace, json!({}));
    let (path, token) = ("restart/app", world.token(&namespace, "app"));
    world.write(path, &token, 1);
    for end in [World::terminate as fn(&mut World), World::kill] {
        end(&mut world);
        world.operator.launch();
        let mut refused = 0;
        wait::until("it serves again", || {
            match world.ask("GET", path, &token).try_send().map(|answer| answer.status()) {
                Ok(200) => Ok(()),
                // No connection yet, or the registry is not loaded.
                Ok(503) | Err(_) => Err(world.operator.said()),
                Ok(status) => {
                    refused += 1;
                    Err(format!("{status}"))
                }
            }
        });
        assert_eq!(refused, 0, "a client was told something else than 503 while it started");
        world.operator.await_ready();
    }
    let after = world.until_ready(&namespace, "app");
    assert_eq!(after["status"]["openbao"]["tokenAccessor"], before["status"]["openbao"]["tokenAccessor"]);
    assert_eq!(after["status"]["headEpoch"], before["status"]["headEpoch"]);
    assert_eq!(world.token(&namespace, "app"), token);
}

#[test]
fn a_lock_that_is_released_while_it_stops_is_not_shown_afterwards() {
    let test = "a_lock_that_is_released_while_it_stops_is_not_shown_afterwards";
    let Some(mut world) = World::start(test, Default::default()) else { return };
    let namespace = world.cluster.namespace("drained");
    world.ready(&namespace, json!({}));
    let (path, token) = ("drained/app", world.token(&namespace, "app"));
    world.lock(path, &token, "the-last");
    world.until(&namespace, "app", "its lock is shown", |found| found["status"]["locked"] == true);
    let address = world.operator.address();
    let mut unlock = Slow::begin(&address, "UNLOCK", path, &token, lock_info("the-last"));
    let stopping = std::thread::scope(|scope| {
        let ended = scope.spawn(|| world.operator.terminate());
        wait::until("it takes no more connections", || match TcpStream::connect(&address) {
            Ok(_) => Err("it does".to_owned()),
            Err(_) => Ok(()),
        });
        let answer = unlock.finish();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        ended.join()
    });
    stopping.unwrap();
    assert_eq!(world.get(&namespace, "app").unwrap()["status"]["locked"], false);
}

impl World {
    fn terminate(&mut self) {
        self.operator.terminate();
    }

    fn kill(&mut self) {
        self.operator.kill();
    }
}

#[test]
fn the_operator_logs_in_to_openbao_by_its_serviceaccount() {
    const ITS_OWN: &str = "https://kubernetes.default.svc";
    let test = "the_operator_logs_in_to_openbao_by_its_serviceaccount";
    let Some(cluster) = Setup { crds: true, ..Setup::default() }.start(test) else { return };
    let Some(server) = bao::Setup::default().start(test) else { return };
    let mut operator = Operator::without_store(&cluster);
    // OpenBao is not in the cluster: it reviews a token with that token.
    cluster.bind("system:auth-delegator", OPERATOR_NAMESPACE, OPERATOR_ACCOUNT);
    let done = server.try_bootstrap(
        INSTANCE,
        &[
            "--kubernetes-auth",
            &format!("--kubernetes-namespace={OPERATOR_NAMESPACE}"),
            &format!("--kubernetes-service-account={}", OPERATOR_ACCOUNT),
            &format!("--kubernetes-host={}", cluster.url()),
            &format!("--kubernetes-ca-file={}", cluster.ca().display()),
            &format!("--kubernetes-audience={ITS_OWN}"),
        ],
    );
    assert!(done.status.success(), "{}", said(&done));
    let file = file(&cluster, "serviceaccount-token", &cluster.token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &[ITS_OWN]));
    operator.reaches(&server).env("TOFUSTATE_OPENBAO_KUBERNETES_AUTH", "true");
    operator.env("TOFUSTATE_OPENBAO_KUBERNETES_AUDIENCE", ITS_OWN);
    operator.env("TOFUSTATE_OPENBAO_KUBERNETES_TOKEN_FILE", file.to_str().unwrap());
    operator.start();
    let mut world = World { side: Side { operator, cluster }, server };
    let namespace = world.cluster.namespace("login");
    world.ready(&namespace, json!({}));
    world.write("login/app", &world.token(&namespace, "app"), 1);
    assert_eq!(world.server.tokens_of("tofustate-operator-prod").len(), 1);
    world.operator.terminate();
    assert_eq!(world.server.tokens_of("tofustate-operator-prod").len(), 0, "its login ends with it");
    assert_eq!(world.server.tokens_of(&World::policy(&namespace, "app")).len(), 1, "the tokens of states do not");
}

#[test]
fn whatever_a_client_says_of_its_lock_the_lock_is_shown() {
    let Some(world) = Shared::world("whatever_a_client_says_of_its_lock_the_lock_is_shown") else { return };
    let namespace = world.cluster.namespace("hostile");
    world.ready(&namespace, json!({}));
    let (path, token) = (format!("{namespace}/app"), world.token(&namespace, "app"));
    let long = "x".repeat(10_000);
    for (n, fields) in [
        json!({"Created": "the day before yesterday", "Who": "ada@desk"}),
        json!({"Created": "9999-99-99T99:99:99Z", "Who": "\u{1b}[31m\u{0}\r\nada", "Operation": "\u{7f}\u{202e}"}),
        json!({"Who": long, "Info": "\"}]}\n---\n", "Version": "${jndi}"}),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("hostile-{n} \u{202e}\"'");
        let mut info = json!({"ID": id});
        info.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        world.ask("LOCK", &path, &token).body(info.to_string()).send().is(200);
        let locked = world.until(&namespace, "app", "its lock is shown", |found| found["status"]["lock"]["id"] == *id);
        assert_eq!(locked["status"]["locked"], true, "{locked:#}");
        let who = locked["status"]["lock"]["who"].as_str().unwrap();
        assert!(!who.is_empty() && who.chars().count() <= 256, "{who:?}");
        world.ask("UNLOCK", &path, &token).body(json!({"ID": id}).to_string()).send().is(200);
        world.until(&namespace, "app", "it is gone", |found| found["status"]["locked"] == false);
    }
}
