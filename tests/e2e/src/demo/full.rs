//! The story in a cluster: `kubectl get tofustates` shows the lock of an apply while it is held, and the state after it.

use std::path::Path;

use serde_json::Value;
use tofustate_e2e::{bao, kube};

use crate::{EXAMPLES, NAME, NAMESPACE, apply::Run, operator, operator::Operator, path_line, stay, step};

/// # Panics
/// Where something is not as it should be.
pub(crate) fn show(once: bool, bin: &Path) {
    let cluster =
        step("A Kubernetes API server, with the resource type, the operator's rights and the policies", || {
            let cluster = kube::Setup { crds: true, ..kube::Setup::default() }.start("demo").expect("they were found");
            cluster.install_operator_rights();
            cluster.install_policies();
            println!("ready: {}", cluster.url());
            cluster
        });
    let server = step("OpenBao, set up by tofustate bootstrap", || {
        let server = bao::Setup::default().start("demo").expect("it was found");
        if operator::is_stand_in() {
            println!(
                "It is a stand-in from the code that OpenBao forked from, for there is no bao on the PATH or in BAO_BIN."
            );
        }
        println!("What it warns of is as it should be here: the server and its root token end with the demo.");
        println!("{}", operator::bootstrap(&cluster, &server).trim_end());
        server
    });
    let operator = step("tofustate operator", || {
        let operator = Operator::start(&cluster, &server);
        println!("ready: it serves states at {}", operator.url());
        operator
    });
    let kubectl = cluster.kubectl();
    // What a person sees has to say so, too.
    let get = |args: &[&str], says: &str| {
        let table = kubectl.must(&[&["get", "tofustates"], args].concat());
        println!("$ kubectl get tofustates {}\n{table}", args.join(" "));
        assert!(table.contains(says), "the table does not say {says}");
    };
    let object = format!("tofustates/{NAME}");
    let wait_for = |what: &str| kubectl.must(&["wait", what, "--timeout=120s", "-n", NAMESPACE, &object]);
    step("kubectl apply -f examples/", || {
        print!("{}", kubectl.must(&["apply", "-f", EXAMPLES]));
        print!("{}", wait_for("--for=condition=Ready"));
        get(&["-A"], "True");
    });
    let run = step("tofu init, with nothing but the environment of the connection Secret", || {
        let run = Run::new(&cluster, bin);
        println!("{}", run.names().join(" "));
        run.init();
        run
    });
    step("tofu apply, which takes 10 s and holds the lock", || {
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
    });
    if !once {
        println!("\n== It stays up until Ctrl-C\n{}", how_to(&cluster, &run, bin));
        operator.keep(&cluster, |now_and_then| stay(now_and_then));
    }
    step("The end", || {
        operator.stop();
        println!("The operator has ended without an error. The servers end now.");
    });
}

/// What a person can do with it.
fn how_to(cluster: &kube::Cluster, run: &Run, bin: &Path) -> String {
    let secret = format!("{NAME}-tofustate");
    let template = "{{range $name, $value := .data}}export {{$name}}='{{$value | base64decode}}'{{\"\\n\"}}{{end}}";
    let template = template.replace('\'', "'\\''");
    format!(
        "In another terminal:\n\n  {} KUBECONFIG={}\n  kubectl get tofustates -A --watch\n\nand in a third one, with the same first line:\n\n  eval \"$(kubectl get secret -n {NAMESPACE} {secret} -o go-template='{template}')\"\n  cd {}\n  tofu apply -var cidr=10.1.0.0/16 -var seconds=30",
        path_line(bin),
        cluster.admin_kubeconfig().display(),
        run.folder().display(),
    )
}
