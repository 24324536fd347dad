//! The container as the chart renders it, run without a kubelet: its arguments and its environment, with the files that it
//! mounts, start an operator that works.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::atomic::Ordering};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use tofustate_e2e::{
    bao::{self, Tls},
    kube::{OPERATOR_NAMESPACE, condition, tofustates},
    ports,
    process::Process,
    project::said,
    tools::{Found, STATIC},
    used::skip,
    wait,
};
use ureq::tls::{RootCerts, TlsConfig};

use crate::{
    kubelet::{Kubelet, Names},
    world::World,
};

#[test]
fn the_rendered_container_is_an_operator_that_works() {
    works("the_rendered_container_is_an_operator_that_works", None, Way::Login);
}

#[test]
fn the_rendered_container_takes_the_token_of_a_secret_and_the_next_one() {
    works("the_rendered_container_takes_the_token_of_a_secret_and_the_next_one", None, Way::Token);
}

/// As in the image: a static binary in a root that is empty but for the CA certificates and what a kubelet mounts.
#[test]
fn the_image_is_an_operator_that_works_in_an_empty_read_only_root() {
    in_an_empty_root("the_image_is_an_operator_that_works_in_an_empty_read_only_root", Way::Login);
}

/// That root's file is one which its user reads by the group of the Pod.
#[test]
fn the_image_takes_the_token_of_a_secret_as_the_user_of_the_pod() {
    in_an_empty_root("the_image_takes_the_token_of_a_secret_as_the_user_of_the_pod", Way::Token);
}

fn in_an_empty_root(test: &str, way: Way) {
    let Some(image) = STATIC.for_test(test) else { return };
    if !rustix::process::geteuid().is_root() {
        return skip(&STATIC, test, "it takes root to give a program another root");
    }
    let program = fs::read(&image.program).unwrap();
    assert!(!wants_a_loader(&program), "it is not static");
    // Where scans look for the list of crates.
    assert!(program.windows(8).any(|bytes| bytes == b".dep-v0\0"), "nobody sees which crates are in it");
    works(test, Some(&image), way);
}

/// Whether an ELF file of 64 bits names a program that loads it.
fn wants_a_loader(elf: &[u8]) -> bool {
    const INTERPRETER: u32 = 3;
    assert_eq!(&elf[..5], b"\x7fELF\x02");
    let number =
        |at: usize, bytes: usize| elf[at..at + bytes].iter().rev().fold(0, |all, byte| all << 8 | usize::from(*byte));
    let (first, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|at| number(first + at * size, 4) == INTERPRETER as usize)
}

/// How the operator gets in at OpenBao.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// By its ServiceAccount.
    Login,
    /// By a token in a Secret.
    Token,
}

fn works(test: &str, image: Option<&Found>, way: Way) {
    const ITS_OWN: &str = "https://kubernetes.default.svc";
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
    let root = tempfile::tempdir().unwrap();
    // In the image OpenBao has the name that is the chart's default, and whoever is asked for it says where that is.
    let names = image.map(|_| Names::serve());
    let address = match &names {
        None => server.url(0),
        Some(_) => format!("http://openbao-active.openbao.svc:{}", server.url(0).rsplit(':').next().unwrap()),
    };
    let secrets = format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets");
    let base = format!("config.instance=prod,tls.secretName=states-tls,config.baoAddr={address},config.storeWait=30,");
    // OpenBao is not in the cluster, so the token that it gets is also for the API server.
    let login = format!("rbac.authDelegator=true,config.auth.kubernetes.audience={ITS_OWN}");
    let token = "config.auth.method=token,config.auth.token.secretName=openbao-token".to_owned();
    world.install(&["--set", &(base + &if way == Way::Login { login } else { token })]);
    // As the notes say it, with what is special here.
    let notes = world.helm.must(&["get", "notes", "tofustate", "--namespace", OPERATOR_NAMESPACE]);
    let first = server.root_token_file().with_file_name("operator-token");
    let bootstrap = |file: &std::path::Path| {
        let done = server.try_bootstrap("prod", &["--operator-token-file", file.to_str().unwrap()]);
        assert!(done.status.success(), "{}", said(&done));
        fs::read_to_string(file).unwrap()
    };
    if way == Way::Login {
        let says = "--kubernetes-auth=kubernetes --kubernetes-namespace tofustate --kubernetes-service-account tofustate --kubernetes-audience https://kubernetes.default.svc";
        assert!(notes.contains(says), "{notes}");
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
    } else {
        let says = "kubectl -n tofustate create secret generic openbao-token --from-file=token=operator-token";
        assert!(notes.contains(says), "{notes}");
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "openbao-token"},
            "stringData": {"token": bootstrap(&first)},
        });
        api.create(&secrets, &secret).done();
    }

    let deployment = api.get(&format!("/apis/apps/v1/namespaces/{OPERATOR_NAMESPACE}/deployments/tofustate")).unwrap();
    let kubelet = Kubelet { cluster, spec: &deployment["spec"], root: root.path(), image };
    kubelet.mount();
    if let (Some(image), Some(names)) = (image, &names) {
        fs::copy(&image.program, root.path().join("tofustate")).unwrap();
        fs::create_dir(root.path().join("dev")).unwrap();
        kubelet.write("/etc/ssl/certs/ca-certificates.crt", fs::read("/etc/ssl/certs/ca-certificates.crt").unwrap());
        kubelet.write("/etc/resolv.conf", format!("nameserver {}\n", names.address));
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    }
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
    if image.is_some() {
        let of = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", operator.id())).unwrap();
        let (status, mounts) = (of("status"), of("mountinfo"));
        for says in ["Uid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000"] {
            assert!(status.contains(says), "{says}: {status}");
        }
        let its_own = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
        assert!(its_own.split(' ').nth(5).unwrap().starts_with("ro"), "its root can be written: {mounts}");
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
        let value = connection["data"][name].as_str().unwrap_or_else(|| panic!("{name}: {connection}"));
        String::from_utf8(STANDARD.decode(value).unwrap()).unwrap()
    };
    assert_eq!(of("TF_HTTP_ADDRESS"), "https://tofustate.tofustate.svc/team/app");
    assert_eq!(of("TF_HTTP_CLIENT_CA_CERTIFICATE_PEM"), read(tls.ca()));
    assert_eq!(over_tls(&tls, ports[0], "team/app", Some(&of("TF_HTTP_PASSWORD"))), 404);
    if way == Way::Token {
        // Another token in the Secret, which the kubelet brings; the one before ends.
        let next = json!({"stringData": {"token": bootstrap(&first.with_file_name("operator-token-2"))}});
        api.merge(&format!("{secrets}/openbao-token"), &next).done();
        kubelet.mount();
        wait::until("it takes the other token", || {
            let took = operator.said().contains("took another token for OpenBao from the file");
            if took { Ok(()) } else { Err(operator.said()) }
        });
        let before = fs::read_to_string(&first).unwrap();
        server.api().must("POST", "auth/token/revoke", &json!({"token": before.trim()}));
        world.create("team", "later");
        api.until(&format!("{}/later", tofustates("team")), "it is ready by the other token", |found| {
            condition(found, "Ready").is_some_and(|ready| ready["status"] == "True")
        });
    }
    operator.signal(rustix::process::Signal::TERM);
    assert!(operator.wait().status.success(), "{}", operator.said());
    if let Some(names) = &names {
        assert!(names.asked.load(Ordering::Relaxed) > 0, "nobody asked for the name");
    }
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
