//! A cluster with the operator in it, and its OpenBao.

use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tofustate_e2e::{
    ask::{Ask, ask, lock_info, state},
    bao::{self, Bao},
    client::Client,
    kube::{Answer, Api, Cluster, Setup, condition, tofustates},
    operator::{INSTANCE, Operator},
    project::{BACKEND, Project},
    wait,
};

/// A cluster with the definition, and an operator.
pub(crate) struct Side {
    // In the order in which they end.
    pub(crate) operator: Operator,
    pub(crate) cluster: Cluster,
}

/// One with the admission policies, and an OpenBao that is set up.
pub(crate) struct World {
    pub(crate) side: Side,
    pub(crate) server: Bao,
}

impl Deref for World {
    type Target = Side;

    fn deref(&self) -> &Side {
        &self.side
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Side {
        &mut self.side
    }
}

/// How a world is set up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setting {
    pub(crate) args: &'static [&'static str],
    pub(crate) server: bao::Setup,
    pub(crate) controllers: bool,
    /// Without the admission policies: what they refuse has to be dealt with by the operator, too.
    pub(crate) unguarded: bool,
    /// The API server notes who wrote what.
    pub(crate) audit: bool,
}

static RUNNING: Mutex<Weak<World>> = Mutex::new(Weak::new());
static UNGUARDED: Mutex<Weak<World>> = Mutex::new(Weak::new());

/// A world that other tests of this process use too, each in namespaces of its own.
pub(crate) struct Shared(Arc<World>);

impl Shared {
    pub(crate) fn world(test: &str) -> Option<Self> {
        Self::one_of(&RUNNING, test, Setting::default())
    }

    /// One without the admission policies.
    pub(crate) fn unguarded(test: &str) -> Option<Self> {
        Self::one_of(&UNGUARDED, test, Setting { unguarded: true, ..Setting::default() })
    }

    fn one_of(running: &Mutex<Weak<World>>, test: &str, setting: Setting) -> Option<Self> {
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(world) = running.upgrade() {
            return Some(Self(world));
        }
        let world = Arc::new(World::start(test, setting)?);
        *running = Arc::downgrade(&world);
        Some(Self(world))
    }
}

impl Deref for Shared {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the operator said\n{}", self.0.operator.said());
        }
    }
}

impl World {
    /// With a running operator.
    pub(crate) fn start(test: &str, setting: Setting) -> Option<Self> {
        let mut world = Self::prepare(test, setting)?;
        world.operator.start();
        Some(world)
    }

    /// With an operator that is not started.
    pub(crate) fn prepare(test: &str, setting: Setting) -> Option<Self> {
        let cluster = Setup { crds: true, controllers: setting.controllers, audit: setting.audit }.start(test)?;
        let server = setting.server.start(test)?;
        let mut operator = Operator::new(&cluster, &server);
        if !setting.unguarded {
            cluster.install_operator_rights();
            cluster.install_policies();
            if let Some(at) = setting.args.iter().position(|arg| *arg == "--tenancy") {
                cluster.set_tenancy(setting.args[at + 1]);
            }
        }
        for arg in setting.args {
            operator.arg(arg);
        }
        Some(Self { side: Side { operator, cluster }, server })
    }

    pub(crate) fn at(namespace: &str, name: &str) -> String {
        format!("{}/{name}", tofustates(namespace))
    }

    /// What OpenBao has under a key of the mount.
    pub(crate) fn entry(&self, key: &str) -> Option<Value> {
        let answer = self.server.api().ask("GET", &format!("states/data/{key}"), &Value::Null).unwrap();
        (answer.status == 200).then(|| answer.body["data"]["data"].clone())
    }

    /// The owner entry of a path.
    pub(crate) fn owner(&self, path: &str) -> Option<Value> {
        let entry = self.entry(&format!(".owners/{}", path.replace('/', ":")))?;
        let text = entry.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        Some(serde_json::from_str(&text).unwrap())
    }

    pub(crate) fn policy(namespace: &str, name: &str) -> String {
        format!("tofustate/{INSTANCE}/{namespace}/{name}")
    }

    /// Another cluster over the same OpenBao, with an operator of this installation, which looks at everything every 10 s.
    pub(crate) fn another(&self, test: &str, instance: &'static str) -> Side {
        let cluster = Setup { crds: true, ..Setup::default() }.start(test).expect("there is one already");
        let mut operator = Operator::of(instance, &cluster, &self.server);
        operator.arg("--resync").arg("10");
        operator.start();
        Side { operator, cluster }
    }
}

impl Side {
    pub(crate) fn api(&self) -> &Api {
        self.cluster.api()
    }

    /// Makes a resource `app` of the path `<namespace>/app`, and waits until it is ready.
    pub(crate) fn ready(&self, namespace: &str, fields: Value) -> Value {
        self.create(namespace, "app", fields);
        self.until_ready(namespace, "app")
    }

    /// Makes a resource of the path `<namespace>/<name>`, but for what `fields` says.
    pub(crate) fn create(&self, namespace: &str, name: &str, fields: Value) -> Value {
        self.try_create(namespace, name, fields).done()
    }

    pub(crate) fn try_create(&self, namespace: &str, name: &str, fields: Value) -> Answer {
        let mut spec = json!({"path": format!("{namespace}/{name}")});
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let object = json!({
            "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend", "metadata": {"name": name}, "spec": spec,
        });
        self.api().create(&format!("{}?fieldValidation=Strict", tofustates(namespace)), &object)
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Value> {
        self.api().get(&World::at(namespace, name))
    }

    /// Waits until a resource is so; a failure shows it with what the operator said.
    pub(crate) fn until(&self, namespace: &str, name: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        wait::until(what, || {
            let found = self.get(namespace, name).ok_or("it is not there")?;
            if so(&found) { Ok(found) } else { Err(format!("{found:#}; the operator said\n{}", self.operator.said())) }
        })
    }

    pub(crate) fn until_ready(&self, namespace: &str, name: &str) -> Value {
        self.until_condition(namespace, name, "Ready", "True", "")
    }

    /// Waits for a condition that speaks of the resource as it is now. An empty reason is any.
    pub(crate) fn until_condition(
        &self,
        namespace: &str,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> Value {
        self.until(namespace, name, &format!("{namespace}/{name}: {type_}={status} {reason}"), |found| {
            let current = found["status"]["observedGeneration"] == found["metadata"]["generation"];
            current
                && condition(found, type_).is_some_and(|condition| {
                    condition["status"] == status && (reason.is_empty() || condition["reason"] == reason)
                })
        })
    }

    /// Sets an annotation of a resource.
    pub(crate) fn annotate(&self, namespace: &str, name: &str, annotation: &str, value: impl Into<Value>) {
        let key = format!("tofustate.io/{annotation}");
        let patch = json!({"metadata": {"annotations": {key: value.into()}}});
        self.api().merge(&World::at(namespace, name), &patch).done();
    }

    /// Asks for a look now, and waits until it was taken.
    pub(crate) fn look(&self, namespace: &str, name: &str) -> Value {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let value = format!("{}", NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        self.annotate(namespace, name, "reconcile", value.clone());
        self.until(namespace, name, "it was looked at", |found| {
            found["status"]["lastHandled"]["reconcile"]["request"] == *value
        })
    }

    /// Changes the spec.
    pub(crate) fn change(&self, namespace: &str, name: &str, spec: Value) {
        self.api().merge(&World::at(namespace, name), &json!({"spec": spec})).done();
    }

    /// The API as a user of the namespace with these ClusterRoles, once they hold.
    pub(crate) fn user(&self, namespace: &str, name: &str, roles: &[&str]) -> Api {
        self.cluster.service_account(namespace, name);
        for role in roles {
            self.cluster.bind(role, namespace, name);
        }
        let user = self.api().with_token(&self.cluster.token(namespace, name, &[]));
        user.until(&tofustates(namespace), "the user has rights", |_| true);
        user
    }

    /// Makes a Secret.
    pub(crate) fn secret(&self, namespace: &str, name: &str, values: &[(&str, &str)]) {
        let values: BTreeMap<_, _> = values.iter().copied().collect();
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values});
        self.api().create(&format!("/api/v1/namespaces/{namespace}/secrets"), &secret).done();
    }

    /// Changes a value of a Secret.
    pub(crate) fn change_secret(&self, namespace: &str, name: &str, key: &str, value: &str) {
        let patch = json!({"stringData": {key: value}});
        self.api().merge(&format!("/api/v1/namespaces/{namespace}/secrets/{name}"), &patch).done();
    }

    /// The values of a Secret, as they are decoded.
    pub(crate) fn values(&self, namespace: &str, name: &str) -> Option<BTreeMap<String, String>> {
        let found = self.api().get(&format!("/api/v1/namespaces/{namespace}/secrets/{name}"))?;
        let data = found["data"].as_object().cloned().unwrap_or_default();
        Some(data.iter().map(|(key, value)| (key.clone(), decoded(value))).collect())
    }

    /// The token in a connection Secret.
    pub(crate) fn token(&self, namespace: &str, name: &str) -> String {
        let values = self.values(namespace, &format!("{name}-tofustate")).expect("the connection Secret");
        values["TF_HTTP_PASSWORD"].clone()
    }

    /// A folder in which a client runs with nothing but a connection Secret's environment.
    pub(crate) fn project(&self, client: &Client, namespace: &str, secret: &str, pieces: &[&str]) -> Project {
        let mut project = Project::new(client, &[&[BACKEND], pieces].concat());
        for (name, value) in self.values(namespace, secret).expect("the connection Secret") {
            project.env(&name, &value);
        }
        project
    }

    /// A request for the state of `<namespace>/<name>`.
    pub(crate) fn ask(&self, method: &str, path: &str, token: &str) -> Ask {
        ask(method, &self.operator.url(path)).token(token)
    }

    pub(crate) fn lock(&self, path: &str, token: &str, id: &str) {
        self.ask("LOCK", path, token).body(lock_info(id)).send().is(200);
    }

    pub(crate) fn unlock(&self, path: &str, token: &str, id: &str) {
        self.ask("UNLOCK", path, token).body(lock_info(id)).send().is(200);
    }

    /// Writes a state as a run does.
    pub(crate) fn write(&self, path: &str, token: &str, serial: u64) {
        let id = format!("run-{serial}");
        self.lock(path, token, &id);
        self.ask("POST", &format!("{path}?ID={id}"), token).body(state(serial, 10)).send().is(200);
        self.unlock(path, token, &id);
    }

    /// The Events about a resource with this reason, as their notes.
    pub(crate) fn events(&self, namespace: &str, reason: &str) -> Vec<String> {
        let all = self.api().get(&format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events")).unwrap();
        let all = all["items"].as_array().unwrap().iter().filter(|event| event["reason"] == reason);
        all.map(|event| event["note"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Waits for an Event.
    pub(crate) fn until_event(&self, namespace: &str, reason: &str) -> String {
        wait::until(&format!("an Event {reason} in {namespace}"), || {
            self.events(namespace, reason).pop().ok_or_else(|| format!("the operator said\n{}", self.operator.said()))
        })
    }

    /// Deletes a resource, and waits until it is gone. That a run has ended comes into the status a moment later, and until
    /// then the admission policy refuses.
    pub(crate) fn delete(&self, namespace: &str, name: &str) {
        wait::until(&format!("{namespace}/{name} may be deleted"), || {
            let answer = self.api().delete(&World::at(namespace, name));
            if answer.status == 403 { Err(answer.refused(403)) } else { Ok(answer.done()) }
        });
        self.until_gone(namespace, name);
    }

    pub(crate) fn until_gone(&self, namespace: &str, name: &str) {
        wait::until(&format!("{namespace}/{name} is gone"), || match self.get(namespace, name) {
            None => Ok(()),
            Some(found) => Err(format!("{found:#}; the operator said\n{}", self.operator.said())),
        });
    }
}

/// A value of a Secret.
pub(crate) fn decoded(value: &Value) -> String {
    String::from_utf8(STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap()
}

/// The message of a condition.
pub(crate) fn message<'a>(object: &'a Value, type_: &str) -> &'a str {
    condition(object, type_).unwrap_or_else(|| panic!("no {type_} in {object:#}"))["message"].as_str().unwrap()
}
