//! A running nginx: Debian's program with a folder of its own, and no more settings than a test gives.

use std::{fs, net::TcpStream, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{ports, process::Process, tools::NGINX, wait};

/// nginx, with one server. It ends with the test.
pub struct Nginx {
    process: Process,
    folder: TempDir,
    /// Its port for HTTP.
    pub plain: u16,
    /// Its port for HTTPS, where there is one.
    pub tls: u16,
}

impl Nginx {
    /// Starts it, if it is there; says SKIPPED otherwise. `server` is given the ports for HTTP and HTTPS and the files of
    /// a certificate, and answers blocks for the inside of `http`.
    pub fn start(test: &str, server: impl FnOnce(&Place) -> String) -> Option<Self> {
        let found = NGINX.for_test(test)?;
        let folder = TempDir::new().unwrap();
        // As root, nginx works as a user who may do less.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let place = Place {
            plain: ports::free(),
            tls: ports::free(),
            certificate: folder.path().join("server.crt"),
            key: folder.path().join("server.key"),
        };
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        fs::write(&place.certificate, cert.pem()).unwrap();
        fs::write(&place.key, signing_key.serialize_pem()).unwrap();
        settings(&folder, &server(&place));
        let mut command = Command::new(&found.program);
        command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
        let mut process = Process::spawn("nginx", &mut command);
        wait::until("nginx listens", || {
            assert!(process.ended().is_none(), "nginx ended: {}", process.said());
            TcpStream::connect(("127.0.0.1", place.plain)).map(drop).map_err(|error| error.to_string())
        });
        Some(Self { process, folder, plain: place.plain, tls: place.tls })
    }

    /// With other blocks from now on. Requests that are under way end as they began.
    pub fn reload(&self, blocks: &str) {
        let reloaded = || self.process.stderr().matches("reconfiguring").count();
        let before = reloaded();
        settings(&self.folder, blocks);
        self.process.signal(Signal::HUP);
        wait::until("nginx has the other settings", || {
            if reloaded() > before { Ok(()) } else { Err(self.process.stderr()) }
        });
    }

    /// The address of a path over HTTP.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.plain)
    }

    /// The address of a path over HTTPS.
    pub fn tls_url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}/{path}", self.tls)
    }

    /// The certificate that its clients have to trust, PEM.
    pub fn certificate(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.crt")).unwrap()
    }

    /// What it warned of.
    pub fn log(&self) -> String {
        let all = self.process.stderr();
        all.lines().filter(|line| !line.contains("[notice]")).map(|line| format!("{line}\n")).collect()
    }
}

/// Writes its settings: where it may write, and the log's level; all else is its default.
fn settings(folder: &TempDir, blocks: &str) {
    let paths = "access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;";
    let text =
        format!("daemon off;\npid nginx.pid;\nerror_log stderr notice;\nevents {{}}\nhttp {{\n{paths}\n{blocks}\n}}\n");
    fs::write(folder.path().join("nginx.conf"), text).unwrap();
}

/// What a server block is made for.
pub struct Place {
    /// The port for HTTP.
    pub plain: u16,
    /// The port for HTTPS.
    pub tls: u16,
    /// The file of the certificate.
    pub certificate: PathBuf,
    /// The file of its key.
    pub key: PathBuf,
}
