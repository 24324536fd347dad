//! How a cluster comes up: its keys and tokens, then etcd, the API server and, where asked for, the controllers.

use std::{fmt::Write as _, fs, fs::File, io::Read as _, time::Instant};

use rcgen::KeyPair;
use serde_json::{Value, json};

use super::{
    Cluster,
    access::kubeconfig,
    api::Api,
    args::{self, AUDIT, AUDIT_POLICY, SIGNING_KEY, TOKENS, VERIFYING_KEY},
    operator::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE},
    server::Server,
};
use crate::{
    bao::{Tls, tls::write_secret},
    ports, scratch, tools, wait,
};

/// How a cluster is set up. `Setup::default()` is the API server and its etcd.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// With the CustomResourceDefinition as it is committed.
    pub crds: bool,
    /// kube-controller-manager too: garbage collection by owner references, the deletion of what is in a namespace, and the
    /// ServiceAccount `default`. It learns of kinds of resources that come later within 30 s.
    pub controllers: bool,
    /// With a log of all writes, and of all that the operator asks, for [`Cluster::written_by`] and
    /// [`Cluster::asked_by_operator`].
    pub audit: bool,
}

impl Setup {
    /// Starts it for a test. None where a program for it is not there: the test then is in the closing table as skipped.
    ///
    /// # Panics
    /// Where the cluster does not come up.
    pub fn start(&self, test: &str) -> Option<Cluster> {
        let (etcd, apiserver) = (tools::ETCD.for_test(test)?, tools::KUBE_APISERVER.for_test(test)?);
        let kubectl = tools::KUBECTL.for_test(test)?;
        let controllers = if self.controllers { Some(tools::KUBE_CONTROLLER_MANAGER.for_test(test)?) } else { None };

        let began = Instant::now();
        let folder = scratch::folder("cluster");
        let at = folder.path();
        let tls = Tls::make(&at.join("tls"));
        let key = KeyPair::generate().unwrap();
        write_secret(&at.join(SIGNING_KEY), &key.serialize_pem());
        fs::write(at.join(VERIFYING_KEY), key.public_key_pem()).unwrap();
        let admin_token = random();
        write_secret(&at.join(TOKENS), &format!("{admin_token},admin,admin,system:masters\n"));

        let [client, peer, port] = [ports::free(), ports::free(), ports::free()];
        let api = Api::new(&format!("https://127.0.0.1:{port}"), &tls).with_token(&admin_token);
        let mut apiserver_args = args::apiserver(at, &tls, client, port);
        if self.audit {
            fs::write(at.join(AUDIT_POLICY), audit_policy().to_string()).unwrap();
            apiserver_args.extend(args::audit(at));
        }
        let controllers = controllers.map(|found| {
            let config = kubeconfig(at, "controllers", api.base(), &tls.ca(), &admin_token);
            Server::new(&found, at.to_owned(), args::controllers(at, &config, ports::free()))
        });
        let mut cluster = Cluster {
            etcd: Server::new(&etcd, at.to_owned(), args::etcd(at, [client, peer])),
            apiserver: Server::new(&apiserver, at.to_owned(), apiserver_args),
            controllers,
            api,
            kubectl,
            tls,
            admin_token,
            took: began.elapsed(),
            folder,
        };
        cluster.etcd.start();
        cluster.apiserver.start();
        cluster.ready();
        if self.crds {
            cluster.install_crds();
        }
        if let Some(controllers) = &mut cluster.controllers {
            controllers.start();
            cluster.controllers_ready();
        }
        cluster.took = began.elapsed();
        Some(cluster)
    }
}

impl Cluster {
    /// Waits until the API server says that it is ready and the namespace `default` is there.
    pub fn ready(&mut self) {
        let (api, etcd, apiserver) = (&self.api, &mut self.etcd, &mut self.apiserver);
        wait::until("the API server is ready", || {
            etcd.still_runs();
            apiserver.still_runs();
            for path in ["/readyz", "/api/v1/namespaces/default"] {
                let answer = api.probe(path)?;
                if answer.status != 200 {
                    return Err(format!("{path}: {answer:?}"));
                }
            }
            Ok(())
        });
    }

    /// What a ServiceAccount wrote until now, the oldest first: `<verb> <path>`, whatever the answer was. A write is noted
    /// when it is answered.
    ///
    /// # Panics
    /// Where the cluster is not set up with `audit`.
    pub fn written_by(&self, namespace: &str, account: &str) -> Vec<String> {
        let path = |event: &Value| event["requestURI"].as_str().unwrap().split('?').next().unwrap().to_owned();
        let events = self.audited(namespace, account);
        let writes = events.iter().filter(|event| WRITES.contains(&event["verb"].as_str().unwrap()));
        writes.map(|event| format!("{} {}", event["verb"].as_str().unwrap(), path(event))).collect()
    }

    /// What the operator asked until now, the oldest first. A watch is there when it is answered and again at its end.
    ///
    /// # Panics
    /// Where the cluster is not set up with `audit`.
    pub fn asked_by_operator(&self) -> Vec<Asked> {
        let events = self.audited(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT);
        let of = |event: &Value, field: &str| event["objectRef"][field].as_str().unwrap_or_default().to_owned();
        let asked = |event: &Value| {
            let (resource, part) = (of(event, "resource"), of(event, "subresource"));
            Some(Asked {
                verb: event["verb"].as_str()?.to_owned(),
                group: of(event, "apiGroup"),
                resource: if part.is_empty() { resource } else { format!("{resource}/{part}") },
                namespace: of(event, "namespace"),
                status: event["responseStatus"]["code"].as_u64()?,
            })
        };
        events.iter().filter_map(asked).collect()
    }

    fn audited(&self, namespace: &str, account: &str) -> Vec<Value> {
        let log = fs::read_to_string(self.folder().join(AUDIT)).expect("it is set up with audit");
        let user = format!("system:serviceaccount:{namespace}:{account}");
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["user"]["username"] == *user).collect()
    }

    /// Waits until the controllers work: one of them makes this ServiceAccount.
    pub(super) fn controllers_ready(&mut self) {
        let (api, controllers) = (&self.api, self.controllers.as_mut().expect("it is set up with controllers"));
        wait::until("the controllers work", || {
            controllers.still_runs();
            let answer = api.ask("GET", "/api/v1/namespaces/default/serviceaccounts/default", &Value::Null)?;
            if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
        });
    }
}

const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// Every write, and all that the operator asks, when it is answered; no bodies.
fn audit_policy() -> Value {
    let operator = format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_ACCOUNT}");
    json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "verbs": WRITES}, {"level": "Metadata", "users": [operator]}],
    })
}

/// A request of the API server, and what it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// As RBAC has it.
    pub verb: String,
    /// `""` is the core.
    pub group: String,
    /// With its subresource behind a slash.
    pub resource: String,
    /// None of: all namespaces, or no namespaced resource.
    pub namespace: String,
    /// The HTTP status.
    pub status: u64,
}

/// 128 bits in hex.
fn random() -> String {
    let mut bytes = [0; 16];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).unwrap();
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
