//! The container as the chart renders it, run without a kubelet: its arguments and its environment, with the files that it
//! mounts, start an operator that works.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use tofustate_e2e::{
    bao::{self, Tls},
    kube::{Cluster, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, condition, tofustates},
    ports,
    process::Process,
    project::said,
    standalone::{binary, clean},
    wait,
};
use ureq::tls::{RootCerts, TlsConfig};

use crate::{
    rendered,
    world::{SETS, World, one, values},
};

/// What a kubelet does with a container, as far as this one needs it.
struct Kubelet<'a> {
    cluster: &'a Cluster,
    spec: &'a Value,
    root: &'a Path,
}

impl Kubelet<'_> {
    /// The volumes' files, in a folder that stands for the root.
    fn mount(&self) {
        let pod = &self.spec["template"]["spec"];
        for mount in pod["containers"][0]["volumeMounts"].as_array().unwrap() {
            let folder = self.root.join(mount["mountPath"].as_str().unwrap().trim_start_matches('/'));
            fs::create_dir_all(&folder).unwrap();
            let mut volumes = pod["volumes"].as_array().unwrap().iter();
            let volume = volumes.find(|volume| volume["name"] == mount["name"]).unwrap();
            if let Some(name) = volume["secret"]["secretName"].as_str() {
                let path = format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets/{name}");
                for (key, value) in self.cluster.api().get(&path).unwrap()["data"].as_object().unwrap() {
                    use base64::{Engine as _, engine::general_purpose::STANDARD};
                    fs::write(folder.join(key), STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap();
                }
            } else {
                let token = &volume["projected"]["sources"][0]["serviceAccountToken"];
                let audience = token["audience"].as_str().unwrap();
                let text = self.cluster.token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &[audience]);
                fs::write(folder.join(token["path"].as_str().unwrap()), text).unwrap();
            }
        }
    }

    /// The program, with its files where they are and its listeners on loopback.
    fn command(&self, ports: [u16; 2]) -> Command {
        let container = &self.spec["template"]["spec"]["containers"][0];
        let mut command = clean(Command::new(binary()));
        for arg in container["args"].as_array().unwrap() {
            command.arg(arg.as_str().unwrap());
        }
        for variable in container["env"].as_array().unwrap() {
            let (name, value) = (variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap());
            let value = match name {
                "LISTEN_ADDR" => value.replace("0.0.0.0:8080", &format!("127.0.0.1:{}", ports[0])),
                "TOFUSTATE_ADMIN_LISTEN" => value.replace("0.0.0.0:9090", &format!("127.0.0.1:{}", ports[1])),
                _ if value.starts_with('/') => format!("{}{value}", self.root.display()),
                _ => value.to_owned(),
            };
            command.env(name, value);
        }
        let token = self.cluster.token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &[]);
        command.env("KUBECONFIG", self.cluster.kubeconfig("container", &token));
        command
    }
}

#[test]
fn the_rendered_container_is_an_operator_that_works() {
    const ITS_OWN: &str = "https://kubernetes.default.svc";
    let test = "the_rendered_container_is_an_operator_that_works";
    let Some(world) = World::start(test) else { return };
    let Some(server) = bao::Setup::default().start(test) else { return };
    let (cluster, api) = (&world.cluster, world.cluster.api());
    cluster.namespace(OPERATOR_NAMESPACE);
    let tls = Tls::make(&cluster.folder().join("states-tls"));
    let read = |file: std::path::PathBuf| fs::read_to_string(file).unwrap();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "states-tls"}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": read(tls.server_certificate()), "tls.key": read(tls.server_key()), "ca.crt": read(tls.ca())},
    });
    api.create(&format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets"), &secret).done();
    // OpenBao is not in the cluster, so the token that it gets is also for the API server.
    let values = format!(
        "config.instance=prod,tls.secretName=states-tls,rbac.authDelegator=true,config.auth.kubernetes.audience={ITS_OWN},config.baoAddr={},config.storeWait=30",
        server.url(0)
    );
    world.install(&["--set", &values]);
    // As the notes say it, with what is special here.
    let notes = world.helm.must(&["get", "notes", "tofustate", "--namespace", OPERATOR_NAMESPACE]);
    assert!(notes.contains("--kubernetes-auth=kubernetes --kubernetes-namespace tofustate --kubernetes-service-account tofustate --kubernetes-audience https://kubernetes.default.svc"), "{notes}");
    let done = server.try_bootstrap(
        "prod",
        &[
            "--kubernetes-auth=kubernetes",
            "--kubernetes-namespace=tofustate",
            "--kubernetes-service-account=tofustate",
            &format!("--kubernetes-audience={ITS_OWN}"),
            &format!("--kubernetes-host={}", cluster.url()),
            &format!("--kubernetes-ca-file={}", cluster.ca().display()),
        ],
    );
    assert!(done.status.success(), "{}", said(&done));

    let deployment = api.get(&format!("/apis/apps/v1/namespaces/{OPERATOR_NAMESPACE}/deployments/tofustate")).unwrap();
    let root = tempfile::tempdir().unwrap();
    let kubelet = Kubelet { cluster, spec: &deployment["spec"], root: root.path() };
    kubelet.mount();
    let ports = [ports::free(), ports::free()];
    let mut operator = Process::spawn("the container", &mut kubelet.command(ports));
    // What its probes ask.
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    for probe in ["livenessProbe", "readinessProbe"] {
        let get = &container[probe]["httpGet"];
        assert_eq!(get["port"], "admin");
        wait::until(probe, || {
            if let Some(status) = operator.ended() {
                panic!("it ended with {status}: {}", operator.said());
            }
            let url = format!("http://127.0.0.1:{}{}", ports[1], get["path"].as_str().unwrap());
            match tofustate_e2e::ask::ask("GET", &url).try_send() {
                Ok(answer) if answer.status() == 200 => Ok(()),
                other => Err(format!("{:?}; {}", other.map(|answer| answer.text()), operator.said())),
            }
        });
    }
    // What `helm test` asks of the Service.
    assert_eq!(over_tls(&tls, ports[0], "helm-test/none", None), 401);

    cluster.namespace("team");
    world.create("team", "app");
    api.until(&format!("{}/app", tofustates("team")), "it is ready", |found| {
        condition(found, "Ready").is_some_and(|ready| ready["status"] == "True")
    });
    let connection = api.get("/api/v1/namespaces/team/secrets/app-tofustate").unwrap();
    let of = |name: &str| {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let value = connection["data"][name].as_str().unwrap_or_else(|| panic!("{name}: {connection}"));
        String::from_utf8(STANDARD.decode(value).unwrap()).unwrap()
    };
    assert_eq!(of("TF_HTTP_ADDRESS"), "https://tofustate.tofustate.svc/team/app");
    assert_eq!(of("TF_HTTP_CLIENT_CA_CERTIFICATE_PEM"), read(tls.ca()));
    assert_eq!(over_tls(&tls, ports[0], "team/app", Some(&of("TF_HTTP_PASSWORD"))), 404);
    operator.signal(rustix::process::Signal::TERM);
    assert!(operator.wait().status.success(), "{}", operator.said());
}

/// The status of a GET.
fn over_tls(tls: &Tls, port: u16, path: &str, token: Option<&str>) -> u16 {
    let config = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[tls.root()]))
        .unversioned_rustls_crypto_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()));
    let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).tls_config(config.build());
    let mut request = agent.build().new_agent().get(format!("https://127.0.0.1:{port}/{path}"));
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    request.call().unwrap().status().as_u16()
}

/// A variable that is called by another name than the program reads would say nothing.
#[test]
fn every_variable_and_argument_is_one_that_the_program_knows() {
    let Some(world) = rendered::cluster("every_variable_and_argument_is_one_that_the_program_knows") else { return };
    let help = Command::new(binary()).args(["operator", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let docs = [include_str!("../../../../docs/openbao.md"), include_str!("../../../../docs/telemetry.md")].concat();
    let mut seen = 0;
    for set in SETS {
        let objects = world.would_apply(&world.rendered(set, &["--values", &values(set)]));
        let container = &one(&objects, "Deployment", "tofustate")["spec"]["template"]["spec"]["containers"][0];
        for variable in container["env"].as_array().unwrap() {
            let name = variable["name"].as_str().unwrap();
            let known = help.contains(&format!("[env: {name}=")) || help.contains(name) || known(&docs, name);
            assert!(known || name == "POD_NAME", "{set}: {name} is no variable of the program");
            seen += 1;
        }
        for arg in container["args"].as_array().unwrap() {
            let name = arg.as_str().unwrap().split('=').next().unwrap();
            assert!(name == "operator" || help.contains(name), "{set}: {name} is no option of the program");
        }
    }
    assert!(seen > 40, "{seen}");
}

/// The documents have it, or its end behind an ellipsis.
fn known(docs: &str, name: &str) -> bool {
    docs.contains(&format!("`{name}"))
        || (0..name.len()).any(|at| name.is_char_boundary(at) && docs.contains(&format!("`…{}`", &name[at..])))
}
