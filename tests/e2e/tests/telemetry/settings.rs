//! The variables of OpenTelemetry: who sends, tokens, certificates.

use tofustate_e2e::wait;

use crate::{
    collector::{Collector, PROTOCOLS},
    lines, lock_and_unlock, server,
};

#[test]
fn the_environment_says_who_sends() {
    let Some(collector) = Collector::running("the_environment_says_who_sends") else { return };
    let mut server = server();
    collector.receive_from(&mut server, PROTOCOLS[1]);
    server.env(
        "OTEL_RESOURCE_ATTRIBUTES",
        "service.name=of-the-attributes,service.version=9,deployment.environment=test",
    );
    server.start();
    lock_and_unlock(&server, "one");
    let resource = &collector.requests(2)[0].resource;
    let of = |name: &str| resource[name].as_str();
    assert_eq!((of("service.name"), of("service.version")), ("of-the-attributes", "9"));
    assert_eq!(of("deployment.environment"), "test");
    server.terminate();
    server.env("OTEL_SERVICE_NAME", "of-its-own");
    server.start();
    lock_and_unlock(&server, "two");
    assert_eq!(collector.requests(4)[3].resource["service.name"], "of-its-own");
}

#[test]
fn headers_are_sent_and_never_shown() {
    for protocol in PROTOCOLS {
        let Some(mut collector) = Collector::new("headers_are_sent_and_never_shown") else { return };
        collector.token = Some("hush-the-right-one");
        collector.start();
        let mut server = server();
        collector.receive_from(&mut server, protocol);
        server.env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hush-a-wrong-one");
        server.start();
        lock_and_unlock(&server, "one");
        let warned = wait::until("a line on what failed", || {
            lines(&server, "spans cannot be sent").pop().ok_or_else(String::new)
        });
        let error = warned["error"].as_str().unwrap();
        assert!(error.contains("401") || error.contains("Unauthenticated"), "{warned}");
        server.terminate();
        assert_eq!(collector.received(), "");

        server.env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hush-the-right-one");
        server.start();
        lock_and_unlock(&server, "two");
        collector.requests(2);
        server.terminate();
        let all = server.printed() + &format!("{:?}", server.log()) + &collector.received();
        assert!(!all.contains("hush"), "{all}");
    }
}

#[test]
fn certificates_of_both_sides() {
    for protocol in PROTOCOLS {
        let Some(mut collector) = Collector::new("certificates_of_both_sides") else { return };
        collector.tls = true;
        collector.start();
        let mut server = server();
        collector.receive_from(&mut server, protocol);
        server.start();
        lock_and_unlock(&server, "one");
        let warned = wait::until("a line on what failed", || {
            lines(&server, "spans cannot be sent").pop().ok_or_else(String::new)
        });
        assert!(warned["error"].as_str().unwrap().contains("invalid peer certificate: UnknownIssuer"), "{warned}");
        server.terminate();

        let file = |name: &str| collector.file(name).display().to_string();
        server.env("OTEL_EXPORTER_OTLP_CERTIFICATE", &file("ca.crt"));
        server.env("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &file("client.crt"));
        server.env("OTEL_EXPORTER_OTLP_CLIENT_KEY", &file("client.key"));
        server.start();
        lock_and_unlock(&server, "two");
        collector.requests(2);
    }
}

#[test]
fn a_password_in_an_address_is_not_shown() {
    for protocol in PROTOCOLS {
        let mut server = server();
        server.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hush@127.0.0.1:9").env("OTEL_BSP_SCHEDULE_DELAY", "50");
        server.env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
        server.start();
        lock_and_unlock(&server, "one");
        let warned = wait::until("a line on what failed", || {
            lines(&server, "spans cannot be sent").pop().ok_or_else(String::new)
        });
        assert!(warned["error"].as_str().unwrap().contains("Connection refused"), "{warned}");
        assert!(!format!("{:?}", server.log()).contains("hush"), "{:?}", server.log());
    }
}
