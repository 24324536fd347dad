//! A kubelet, as far as the operator's container needs one: its files, its arguments and its environment; and a name server.

use std::{
    fs,
    net::UdpSocket,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
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
    kube::{Cluster, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE},
    standalone::{binary, clean},
    tools::Found,
};

/// What a kubelet does with a container, as far as this one needs it.
pub(crate) struct Kubelet<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) spec: &'a Value,
    pub(crate) root: &'a Path,
    /// The program of the image, which is started with `root` as its root; else the one that is tested, outside of it.
    pub(crate) image: Option<&'a Found>,
}

impl Kubelet<'_> {
    pub(crate) fn write(&self, file: &str, bytes: impl AsRef<[u8]>) {
        let file = self.root.join(file.trim_start_matches('/'));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }

    /// The volumes' files, in the folder that stands for the root.
    pub(crate) fn mount(&self) {
        let pod = &self.spec["template"]["spec"];
        for mount in pod["containers"][0]["volumeMounts"].as_array().unwrap() {
            let folder = mount["mountPath"].as_str().unwrap();
            let mut volumes = pod["volumes"].as_array().unwrap().iter();
            let volume = volumes.find(|volume| volume["name"] == mount["name"]).unwrap();
            if let Some(name) = volume["secret"]["secretName"].as_str() {
                self.secret(folder, name, &volume["secret"]);
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

    /// A Secret's files: links to a folder that is replaced as a whole, root's and of the Pod's group, where there is a root.
    fn secret(&self, folder: &str, name: &str, volume: &Value) {
        let path = format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets/{name}");
        let data = self.cluster.api().get(&path).unwrap()["data"].clone();
        let items: Vec<_> = match volume["items"].as_array() {
            Some(items) => items.iter().map(|item| (item["key"].clone(), item["path"].clone())).collect(),
            None => data.as_object().unwrap().keys().map(|key| (json!(key), json!(key))).collect(),
        };
        let at = self.root.join(folder.trim_start_matches('/'));
        fs::create_dir_all(&at).unwrap();
        let now = format!("..{:016x}", fs::read_dir(&at).unwrap().count());
        fs::create_dir(at.join(&now)).unwrap();
        let user = &self.spec["template"]["spec"]["securityContext"];
        for (key, path) in items {
            let (key, path) = (key.as_str().unwrap(), path.as_str().unwrap());
            let file = at.join(&now).join(path);
            fs::write(&file, STANDARD.decode(data[key].as_str().unwrap()).unwrap()).unwrap();
            let mode = u32::try_from(volume["defaultMode"].as_u64().unwrap_or(0o644)).unwrap();
            if rustix::process::geteuid().is_root() {
                // Outside of the image the program runs as whoever tests.
                let group = self.image.map_or(0, |_| u32::try_from(user["fsGroup"].as_u64().unwrap()).unwrap());
                chown(&file, Some(0), Some(group)).unwrap();
                fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            } else {
                fs::set_permissions(&file, fs::Permissions::from_mode(mode & 0o700)).unwrap();
            }
            let _ = symlink(format!("..data/{path}"), at.join(path));
        }
        symlink(&now, at.join("..new")).unwrap();
        fs::rename(at.join("..new"), at.join("..data")).unwrap();
    }

    /// The program, with its files where they are and its listeners on loopback.
    pub(crate) fn command(&self, ports: [u16; 2]) -> Command {
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

/// A name server for which every name is this machine. Port 53, on an address of loopback that is nobody else's.
pub(crate) struct Names {
    pub(crate) address: String,
    pub(crate) asked: Arc<AtomicUsize>,
}

impl Names {
    pub(crate) fn serve() -> Self {
        // Another test of this process may have one, too.
        let mut addresses = (0..50).map(|more| {
            let number = std::process::id() + more;
            format!("127.{}.{}.{}", 1 + number % 200, number / 200 % 250, 1 + number / 50_000 % 250)
        });
        let free = |address: String| Some((UdpSocket::bind((address.as_str(), 53)).ok()?, address));
        let (socket, address) = addresses.find_map(free).expect("an address of loopback has its port 53");
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
