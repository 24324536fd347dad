//! A running OpenTelemetry Collector, and the spans that it received: they are read from the file that it writes.

use std::{collections::BTreeMap, fmt::Write as _, fs, net::TcpStream, path::PathBuf, process::Command};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;
use tempfile::TempDir;
use tofustate_e2e::{
    ports,
    process::Process,
    standalone::Standalone,
    tools::{Found, OTELCOL},
    wait,
};

/// The protocols of OTLP, as the environment names them.
pub const PROTOCOLS: [&str; 2] = ["grpc", "http/protobuf"];

/// A collector: where it will listen, what it asks for, and what it received until now.
pub struct Collector {
    found: Found,
    folder: TempDir,
    ports: [u16; 2],
    /// The token that it asks for.
    pub token: Option<&'static str>,
    /// Whether it has TLS, and asks for a client's certificate.
    pub tls: bool,
    running: Option<Process>,
}

impl Collector {
    /// One that does not run yet, if the program is there; says SKIPPED otherwise.
    pub fn new(test: &str) -> Option<Self> {
        let found = OTELCOL.for_test(test)?;
        let collector = Self {
            found,
            folder: TempDir::new().unwrap(),
            ports: [ports::free(), ports::free()],
            token: None,
            tls: false,
            running: None,
        };
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(collector.file("ca.crt"), ca.pem()).unwrap();
        for (name, subject) in [("server", "127.0.0.1"), ("client", "tofustate")] {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new([subject.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
            fs::write(collector.file(&format!("{name}.crt")), certificate.pem()).unwrap();
            fs::write(collector.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Some(collector)
    }

    /// One that runs.
    pub fn running(test: &str) -> Option<Self> {
        let mut collector = Self::new(test)?;
        collector.start();
        Some(collector)
    }

    pub fn start(&mut self) {
        let mut each = String::new();
        if self.tls {
            let file = |name: &str| self.file(name).display().to_string();
            let (certificate, key, ca) = (file("server.crt"), file("server.key"), file("ca.crt"));
            write!(each, ", tls: {{cert_file: {certificate}, key_file: {key}, client_ca_file: {ca}}}").unwrap();
        }
        if self.token.is_some() {
            each.push_str(", auth: {authenticator: bearertokenauth}");
        }
        let [grpc, http] = self.ports;
        let config = format!(
            "extensions: {{bearertokenauth: {{token: {token}}}}}
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: 127.0.0.1:{grpc}{each}}}, http: {{endpoint: 127.0.0.1:{http}{each}}}}}}}}}
exporters: {{file: {{path: {file}, flush_interval: 50ms}}}}
service:
  extensions: [bearertokenauth]
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{traces: {{receivers: [otlp], exporters: [file]}}}}
",
            token = self.token.unwrap_or("none"),
            file = self.file("spans.json").display(),
        );
        fs::write(self.file("config.yaml"), config).unwrap();
        let mut process = Process::spawn(
            "the collector",
            Command::new(&self.found.program).arg("--config").arg(self.file("config.yaml")),
        );
        wait::until("the collector listens", || {
            assert!(process.ended().is_none(), "the collector ended: {}", process.said());
            let listens = self.ports.iter().try_for_each(|port| TcpStream::connect(("127.0.0.1", *port)).map(drop));
            listens.map_err(|error| error.to_string())
        });
        self.running = Some(process);
    }

    /// A file of its folder: the certificates `ca.crt`, `client.crt` with `client.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where a protocol is spoken.
    pub fn endpoint(&self, protocol: &str) -> String {
        let port = self.ports[PROTOCOLS.iter().position(|known| *known == protocol).unwrap()];
        format!("http{}://127.0.0.1:{port}", if self.tls { "s" } else { "" })
    }

    /// Makes a server send its spans here, often.
    pub fn receive_from(&self, server: &mut Standalone, protocol: &str) {
        server.env("OTEL_EXPORTER_OTLP_ENDPOINT", &self.endpoint(protocol));
        server.env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol).env("OTEL_BSP_SCHEDULE_DELAY", "50");
    }

    /// All that it received, as it wrote it.
    pub fn received(&self) -> String {
        fs::read_to_string(self.file("spans.json")).unwrap_or_default()
    }

    /// All that it said.
    pub fn said(&self) -> String {
        self.running.as_ref().map(Process::said).unwrap_or_default()
    }

    /// The spans that it received.
    pub fn spans(&self) -> Vec<Span> {
        // The last line may not be whole yet.
        let text = self.received();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().flat_map(|line| Span::all(&serde_json::from_str(line).unwrap())).collect()
    }

    /// Waits until there are so many spans of requests, and answers them.
    pub fn requests(&self, count: usize) -> Vec<Span> {
        wait::until(&format!("{count} requests at the collector"), || {
            let requests: Vec<Span> = self.spans().into_iter().filter(|span| span.name != "state").collect();
            if requests.len() >= count { Ok(requests) } else { Err(format!("{requests:#?}\n{}", self.said())) }
        })
    }
}

/// A span as it was received.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    /// 1: internal; 2: of a server.
    pub kind: u64,
    pub attributes: BTreeMap<String, String>,
    /// Who sent it.
    pub resource: BTreeMap<String, String>,
}

impl Span {
    fn all(line: &Value) -> Vec<Self> {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let mut spans = Vec::new();
        for sender in list(&line["resourceSpans"]) {
            let resource = attributes(&sender["resource"]["attributes"]);
            for span in list(&sender["scopeSpans"]).iter().flat_map(|scope| list(&scope["spans"])) {
                let text = |name: &str| span[name].as_str().unwrap_or_default().to_owned();
                spans.push(Self {
                    trace: text("traceId"),
                    id: text("spanId"),
                    parent: text("parentSpanId"),
                    name: text("name"),
                    kind: span["kind"].as_u64().unwrap_or_default(),
                    attributes: attributes(&span["attributes"]),
                    resource: resource.clone(),
                });
            }
        }
        spans
    }

    /// An attribute, empty where it is not there.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

fn attributes(list: &Value) -> BTreeMap<String, String> {
    let list = list.as_array().into_iter().flatten();
    list.map(|pair| {
        let value = pair["value"].as_object().and_then(|value| value.values().next()).unwrap();
        (pair["key"].as_str().unwrap().to_owned(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    })
    .collect()
}
