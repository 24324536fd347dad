//! `make demo`: all of it on this machine, on loopback and on free ports, with nothing set up before. What is missing is
//! built. With `ONCE=1` it ends by itself, well only if all was seen; else it stays up until Ctrl-C.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program for a person"
)]

mod operator;
mod run;

use std::{env, path::Path, process::ExitCode};

use serde_json::Value;
use tofustate_e2e::{
    bao, kube,
    tools::{ETCD, KUBE_APISERVER, KUBECTL, OPENBAO, OPENTOFU},
    wait,
};
use tokio::signal::unix::{SignalKind, signal};

use self::{operator::Operator, run::Run};

/// What is applied, and the configuration that is run.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
/// The state of `examples/state.yaml`.
const NAMESPACE: &str = "team-a";
const NAME: &str = "network";
/// How long the apply takes, so that its lock can be looked at.
const SECONDS: &str = "10";

fn main() -> ExitCode {
    let once = env::var("ONCE").is_ok_and(|once| !["", "0"].contains(&once.as_str()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let signals = {
        let _inside = runtime.enter();
        [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).expect("signals can be heard"))
    };
    for mut signal in signals {
        runtime.spawn(async move {
            while signal.recv().await.is_some() {
                wait::interrupt();
            }
        });
    }
    // What it started ends with the thread, whatever ended that.
    let shown = std::thread::spawn(move || show(once)).join();
    let Err(why) = shown else { return ExitCode::SUCCESS };
    // Again, below all that the programs said.
    let why = why.downcast_ref::<String>().map(String::as_str).or_else(|| why.downcast_ref::<&str>().copied());
    eprintln!("\nThe demo failed: {}", why.unwrap_or("see above"));
    ExitCode::FAILURE
}

fn show(once: bool) {
    step("The programs that it takes");
    tools();

    step("A Kubernetes API server, with the resource type, the operator's rights and the admission policies");
    let cluster = kube::Setup { crds: true, ..kube::Setup::default() }.start("demo").expect("they were found");
    cluster.install_operator_rights();
    cluster.install_policies();
    println!("ready after {:.1?}: {}", cluster.took(), cluster.url());

    step("OpenBao, set up by tofustate bootstrap");
    let server = bao::Setup::default().start("demo").expect("it was found");
    println!("{}", operator::bootstrap(&cluster, &server));

    step("tofustate operator");
    let operator = Operator::start(&cluster, &server);
    println!("ready: it serves states at {}", operator.url());
    let kubectl = cluster.kubectl();
    // What a person sees has to say so, too.
    let get = |args: &[&str], says: &str| {
        let table = kubectl.must(&[&["get", "tofustates"], args].concat());
        println!("$ kubectl get tofustates {}\n{table}", args.join(" "));
        assert!(table.contains(says), "the table does not say {says}");
    };

    step("kubectl apply -f examples/");
    print!("{}", kubectl.must(&["apply", "-f", EXAMPLES]));
    let object = format!("tofustates/{NAME}");
    let wait_for = |what: &str| kubectl.must(&["wait", what, "--timeout=120s", "-n", NAMESPACE, &object]);
    print!("{}", wait_for("--for=condition=Ready"));
    get(&["-A"], "True");

    step("tofu apply, with nothing but the environment of the connection Secret");
    let run = Run::new(&cluster, Path::new(EXAMPLES));
    println!("{}", run.names().join(" "));
    run.init();
    let mut apply = run.start_apply();
    let holder = run.await_lock(&cluster, &mut apply);
    get(&["-A"], &holder);
    get(&["-A", "--field-selector=status.locked=true", "-o=wide"], &holder);
    println!("{}", run.end(apply));
    print!("{}", wait_for("--for=jsonpath={.status.locked}=false"));
    get(&["-A"], "True");
    let status = &cluster.api().get(&format!("{}/{NAME}", kube::tofustates(NAMESPACE))).unwrap()["status"];
    assert!(status["lock"] == Value::Null && status["state"]["serial"].as_i64() >= Some(1), "{status}");
    println!("Seen: the lock of {holder} while it ran, and serial {} after it.", status["state"]["serial"]);

    if !once {
        step("It stays up until Ctrl-C");
        println!("{}", how_to(&cluster, &run));
        operator.keep(&cluster);
    }
    step("The end");
    operator.stop();
    println!("The operator ended well; so does the rest.");
}

fn step(what: &str) {
    println!("\n== {what}");
}

/// # Panics
/// Where some are not there, with all of them.
fn tools() {
    let mut missing = Vec::new();
    for tool in [ETCD, KUBE_APISERVER, KUBECTL, OPENBAO, OPENTOFU] {
        match tool.find_or_build() {
            Ok(found) => println!("{:<24} {:<15} {}", tool.name, found.version, found.program.display()),
            Err(why) => missing.push(format!("{}: {why}", tool.name)),
        }
    }
    assert!(missing.is_empty(), "these are missing; the demo needs Rust and Go:\n{}", missing.join("\n"));
}

/// What a person can do with it.
fn how_to(cluster: &kube::Cluster, run: &Run) -> String {
    let found = [KUBECTL, OPENTOFU].map(|tool| tool.find().expect("it was found").program);
    let folders: Vec<_> = found.iter().map(|program| program.parent().unwrap().display().to_string()).collect();
    let secret = format!("{NAME}-tofustate");
    let template = "{{range $name, $value := .data}}export {{$name}}='{{$value | base64decode}}'{{\"\\n\"}}{{end}}";
    let template = template.replace('\'', "'\\''");
    format!(
        "In another terminal:\n\n  export PATH={}:$PATH KUBECONFIG={}\n  kubectl get tofustates -A --watch\n\nand in a third one, with the same first line:\n\n  eval \"$(kubectl get secret -n {NAMESPACE} {secret} -o go-template='{template}')\"\n  cd {}\n  tofu apply -var cidr=10.1.0.0/16 -var seconds=30",
        folders.join(":"),
        cluster.admin_kubeconfig().display(),
        run.folder().display(),
    )
}
