//! README.md: without a cluster in a minute; install, a first state, a run, and its lock in `kubectl get tofustates`.

use std::fs;

use tofustate_e2e::{
    bao,
    chart::CHART,
    docs::{blocks, commands, page, with},
    kube::Setup,
    operator::{INSTANCE, Operator},
    pasted::parts,
    ports,
    tools::{HELM, KUBECTL, OPENTOFU},
    wait,
};

use crate::shell::Shell;

/// What follows `cargo run --release --` is for the binary that is there.
const CARGO: &str = "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec tofustate \"$@\"\n";

#[test]
fn a_state_without_a_cluster() {
    let Some(tofu) = OPENTOFU.for_test("a_state_without_a_cluster") else { return };
    let mut shell = Shell::new(&[&tofu]);
    shell.program("cargo", CARGO);
    let admin = format!("127.0.0.1:{}", ports::free());
    shell.env("LISTEN_ADDR", &format!("127.0.0.1:{}", ports::free())).env("TOFUSTATE_ADMIN_LISTEN", &admin);
    let mut server = shell.start(&commands("README.md", "standalone"));
    let printed = wait::until("what is to be pasted is printed", || {
        assert!(server.ended().is_none(), "it ended: {}", server.said());
        let printed = server.stdout();
        if printed.contains("export TF_HTTP_PASSWORD=") { Ok(printed) } else { Err(printed) }
    });
    let start = printed.find("terraform {").expect("the block for a file");
    let (block, environment) = parts(&printed[start..]);
    fs::write(shell.at().join("main.tf"), format!("{block}\nresource \"terraform_data\" \"x\" {{}}\n")).unwrap();
    let said = shell.paste(&format!("{environment}\ntofu init -no-color\ntofu apply -no-color -auto-approve"));
    assert!(said.contains("Apply complete! Resources: 1 added"), "{said}");
    let states = shell.paste(&format!("cargo run --release -- states --admin http://{admin}"));
    assert!(states.contains("team/app"), "{states}");
}

#[test]
fn from_an_empty_cluster_to_a_lock_in_the_table() {
    let test = "from_an_empty_cluster_to_a_lock_in_the_table";
    let (Some(kubectl), Some(helm), Some(tofu)) =
        (KUBECTL.for_test(test), HELM.for_test(test), OPENTOFU.for_test(test))
    else {
        return;
    };
    let Some(cluster) = Setup::default().start(test) else { return };
    let Some(server) = (bao::Setup { openbao_only: true, ..bao::Setup::default() }).start(test) else { return };
    let mut shell = Shell::new(&[&kubectl, &helm, &tofu]);
    shell.env("KUBECONFIG", cluster.admin_kubeconfig().to_str().unwrap());
    for folder in ["CACHE", "CONFIG", "DATA"] {
        shell.env(&format!("HELM_{folder}_HOME"), cluster.folder().join("helm").join(folder).to_str().unwrap());
    }

    // An OpenBao that is no Pod has to be told where the API server is.
    let options = format!(
        "--kubernetes-auth --kubernetes-host={} --kubernetes-ca-file={} --kubernetes-audience=https://kubernetes.default.svc",
        cluster.url(),
        cluster.ca().display()
    );
    shell.paste(&format!("cp {} admin-token; chmod 600 admin-token", server.root_token_file().display()));
    let bootstrap = [("https://openbao.example:8200", &*server.url(0)), ("--kubernetes-auth", &options)];
    let said = shell.paste(&with(&commands("README.md", "bootstrap"), &bootstrap));
    assert!(said.contains("tofu") || said.is_empty(), "{said}");

    // Each paste is a shell of its own; a person's is the same.
    shell.env("BAO_ADDR", &server.url(0));
    shell.paste(&with(&commands("README.md", "helm"), &[("deploy/chart", CHART)]));
    cluster.await_crds();

    // What a kubelet would start: the operator, with the chart's rights.
    let mut operator = Operator::installed(&cluster);
    let token = server.bootstrap(INSTANCE, &["--namespace", "tofu"]);
    operator.env("BAO_TOKEN_FILE", token.to_str().unwrap()).env("BAO_NAMESPACE", "tofu");
    operator.reaches(&server);
    operator.start();

    shell.paste(&commands("README.md", "first"));
    let run = with(&commands("README.md", "run"), &[("sleep 20", "while [ ! -e seen ]; do sleep 0.1; done")]);
    let mut running = shell.start(&run);
    let get = commands("README.md", "get");
    let table = wait::until("the lock is in the table", || {
        assert!(running.ended().is_none(), "it ended: {}\n{}", running.said(), operator.said());
        let table = shell.paste(&get);
        if table.contains("OperationTypeApply") { Ok(table) } else { Err(table) }
    });
    // As README shows it: the same columns, and in the row the same but for who, when and how long.
    let shown = blocks(&page("README.md")).into_iter().find(|block| block.text.starts_with("NAMESPACE")).unwrap().text;
    let columns = |table: &str| table.lines().next().unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(columns(&shown), columns(&table));
    let row = |table: &str| {
        let words: Vec<String> = table.lines().nth(1).unwrap().split_whitespace().map(str::to_owned).collect();
        [0, 1, 2, 4, 6].map(|word| words[word].clone())
    };
    assert_eq!(row(&shown), row(&table));
    fs::write(shell.at().join("seen"), "").unwrap();
    let done = running.wait();
    assert!(done.status.success(), "{}", running.said());
}
