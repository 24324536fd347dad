//! A running HAProxy, where there is one: with a folder of its own, and the settings that a test gives.

use std::{fs, net::TcpStream, process::Command};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;

use crate::{ports, process::Process, tools::HAPROXY, wait};

/// HAProxy. It ends with the test.
pub struct Haproxy {
    process: Process,
    certificate: String,
    port: u16,
    _folder: TempDir,
}

impl Haproxy {
    /// Starts it, if it is there; says SKIPPED otherwise. `settings` is given its port for HTTPS and the file with a
    /// certificate and its key.
    pub fn start(test: &str, settings: impl FnOnce(u16, &str) -> String) -> Option<Self> {
        let found = HAPROXY.for_test(test)?;
        let (folder, port) = (TempDir::new().unwrap(), ports::free());
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (pem, file) = (folder.path().join("state.pem"), folder.path().join("haproxy.cfg"));
        fs::write(&pem, format!("{}{}", cert.pem(), signing_key.serialize_pem())).unwrap();
        fs::write(&file, settings(port, pem.to_str().unwrap())).unwrap();
        let mut command = Command::new(&found.program);
        // In the foreground.
        command.arg("-db").arg("-f").arg(&file);
        let mut process = Process::spawn("haproxy", &mut command);
        wait::until("haproxy listens", || {
            assert!(process.ended().is_none(), "haproxy ended: {}", process.said());
            TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|error| error.to_string())
        });
        Some(Self { process, certificate: cert.pem(), port, _folder: folder })
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}/{path}", self.port)
    }

    /// The certificate that its clients have to trust, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// What it said.
    pub fn said(&self) -> String {
        self.process.said()
    }
}
