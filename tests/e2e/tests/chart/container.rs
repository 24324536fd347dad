//! The container as the chart renders it, run without a kubelet: its arguments and its environment, with the files that it
//! mounts, start an operator that works.

use std::{
    fs,
    net::UdpSocket,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tofustate_e2e::{
    bao::{self, Tls},
    kube::{Cluster, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, condition, tofustates},
    ports,
    process::Process,
    project::said,
    standalone::{binary, clean},
    tools::{Found, STATIC},
    used::skip,
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
    /// The program of the image, which is started with `root` as its root; else the one that is tested, outside of it.
    image: Option<&'a Found>,
}

impl Kubelet<'_> {
    fn write(&self, file: &str, bytes: impl AsRef<[u8]>) {
        let file = self.root.join(file.trim_start_matches('/'));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }

    /// The volumes' files, in the folder that stands for the root.
    fn mount(&self) {
        let pod = &self.spec["template"]["spec"];
        for mount in pod["containers"][0]["volumeMounts"].as_array().unwrap() {
            let folder = mount["mountPath"].as_str().unwrap();
            let mut volumes = pod["volumes"].as_array().unwrap().iter();
            let volume = volumes.find(|volume| volume["name"] == mount["name"]).unwrap();
            if let Some(name) = volume["secret"]["secretName"].as_str() {
                let path = format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets/{name}");
                for (key, value) in self.cluster.api().get(&path).unwrap()["data"].as_object().unwrap() {
                    self.write(&format!("{folder}/{key}"), STANDARD.decode(value.as_str().unwrap()).unwrap());
                }
            } else {
                let token = &volume["projected"]["sources"][0]["serviceAccountToken"];
                let audience = token["audience"].as_str().unwrap();
                let text = self.cluster.token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &[audience]);
                self.write(&format!("{folder}/{}", token["path"].as_str().unwrap()), text);
            }
        }
        // In every Pod that has a ServiceAccount.
        let own = "/var/run/secrets/kubernetes.io/serviceaccount";
        self.write(&format!("{own}/token"), self.cluster.token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &[]));
        self.write(&format!("{own}/ca.crt"), fs::read(self.cluster.ca()).unwrap());
        self.write(&format!("{own}/namespace"), OPERATOR_NAMESPACE);
        self.write("/etc/hosts", "127.0.0.1 localhost\n");
    }

    /// The program, with its files where they are and its listeners on loopback.
    fn command(&self, ports: [u16; 2]) -> Command {
        let pod = &self.spec["template"]["spec"];
        let container = &pod["containers"][0];
        let mut command = match self.image {
            None => clean(Command::new(binary())),
            Some(_) => self.inside(&pod["securityContext"]),
        };
        for arg in container["args"].as_array().unwrap() {
            command.arg(arg.as_str().unwrap());
        }
        for variable in container["env"].as_array().unwrap() {
            let (name, value) = (variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap());
            let value = match name {
                "LISTEN_ADDR" => value.replace("0.0.0.0:8080", &format!("127.0.0.1:{}", ports[0])),
                "TOFUSTATE_ADMIN_LISTEN" => value.replace("0.0.0.0:9090", &format!("127.0.0.1:{}", ports[1])),
                _ if value.starts_with('/') && self.image.is_none() => format!("{}{value}", self.root.display()),
                _ => value.to_owned(),
            };
            command.env(name, value);
        }
        if self.image.is_none() {
            let token = self.cluster.token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, &[]);
            command.env("KUBECONFIG", self.cluster.kubeconfig("container", &token));
        } else {
            let (host, port) = self.cluster.url().strip_prefix("https://").unwrap().rsplit_once(':').unwrap();
            command.env("KUBERNETES_SERVICE_HOST", host).env("KUBERNETES_SERVICE_PORT", port);
        }
        command
    }

    /// What is in the image and nothing else, read-only, as the user of the Pod: it takes root to set up.
    fn inside(&self, user: &Value) -> Command {
        // Devices are what every runtime of containers gives, of which it takes these.
        let script = r#"mount --bind "$1" "$1"
            for device in null random urandom; do : >"$1/dev/$device"; mount --bind "/dev/$device" "$1/dev/$device"; done
            mount -o remount,bind,ro "$1"; cd /; user=$2; root=$1; shift 2
            exec chroot --userspec="$user" --groups= "$root" /tofustate "$@""#;
        let user = format!("{}:{}", user["runAsUser"], user["runAsGroup"]);
        let mut command = Command::new("unshare");
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.args(["--mount", "sh", "-euc", script, "sh"]).arg(self.root).arg(user);
        command
    }
}

#[test]
fn the_rendered_container_is_an_operator_that_works() {
    works("the_rendered_container_is_an_operator_that_works", None);
}

/// As in the image: a static binary in a root that is empty but for the CA certificates and what a kubelet mounts.
#[test]
fn the_image_is_an_operator_that_works_in_an_empty_read_only_root() {
    let test = "the_image_is_an_operator_that_works_in_an_empty_read_only_root";
    let Some(image) = STATIC.for_test(test) else { return };
    if !rustix::process::geteuid().is_root() {
        return skip(&STATIC, test, "it takes root to give a program another root");
    }
    assert!(!wants_a_loader(&fs::read(&image.program).unwrap()), "it is not static");
    works(test, Some(&image));
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

fn works(test: &str, image: Option<&Found>) {
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
    // OpenBao is not in the cluster, so the token that it gets is also for the API server.
    let values = format!(
        "config.instance=prod,tls.secretName=states-tls,rbac.authDelegator=true,config.auth.kubernetes.audience={ITS_OWN},config.baoAddr={address},config.storeWait=30",
    );
    world.install(&["--set", &values]);
    // As the notes say it, with what is special here.
    let notes = world.helm.must(&["get", "notes", "tofustate", "--namespace", OPERATOR_NAMESPACE]);
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
    operator.signal(rustix::process::Signal::TERM);
    assert!(operator.wait().status.success(), "{}", operator.said());
    if let Some(names) = &names {
        assert!(names.asked.load(Ordering::Relaxed) > 0, "nobody asked for the name");
    }
}

/// A name server for which every name is this machine. Port 53, on an address of loopback that is nobody else's.
struct Names {
    address: String,
    asked: Arc<AtomicUsize>,
}

impl Names {
    fn serve() -> Self {
        let number = std::process::id();
        let address = format!("127.{}.{}.{}", 1 + number % 200, number / 200 % 250, 1 + number / 50_000 % 250);
        let socket = UdpSocket::bind((address.as_str(), 53)).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        // It ends with the tests' process.
        std::thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                // A header, a name that ends in a zero, its type and class.
                let Some(name) = packet[12..length].iter().position(|byte| *byte == 0) else { continue };
                let end = 12 + name + 5;
                let for_ipv4 = packet[12 + name + 2] == 1;
                let mut answer = packet[..end].to_vec();
                answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(for_ipv4), 0, 0, 0, 0]);
                if for_ipv4 {
                    // The name from above, an address, for no time.
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
                }
                count.fetch_add(1, Ordering::Relaxed);
                let _ = socket.send_to(&answer, from);
            }
        });
        Self { address, asked }
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
