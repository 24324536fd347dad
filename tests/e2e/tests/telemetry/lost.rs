//! Spans that cannot be sent: requests go on, and the log says so once. Spans that can be are sent before a stop.

use std::net::TcpListener;

use tofustate_e2e::wait;

use crate::{
    collector::{Collector, PROTOCOLS},
    lines, lock_and_unlock, server,
};

#[test]
fn a_receiver_that_is_away_is_one_line() {
    for protocol in PROTOCOLS {
        let Some(mut collector) = Collector::new("a_receiver_that_is_away_is_one_line") else { return };
        let mut server = server();
        collector.receive_from(&mut server, protocol);
        server.start();
        let mut runs = 0..;
        let mut run = || lock_and_unlock(&server, &format!("{}", runs.next().unwrap()));
        wait::until("a line on what failed", || {
            run();
            lines(&server, "spans cannot be sent").pop().ok_or_else(String::new)
        });
        for _ in 0..300 {
            run();
        }
        collector.start();
        wait::until("a line that it is over", || {
            run();
            lines(&server, "spans are sent again").pop().ok_or_else(String::new)
        });
        assert_eq!(lines(&server, "spans cannot be sent").len(), 1, "{:?}", server.log());
        run();
        server.terminate();
        let last = &collector.requests(2);
        assert!(last.iter().any(|span| span.name == "UNLOCK"), "{last:#?}");
    }
}

#[test]
fn the_last_spans_are_sent_at_a_stop() {
    for protocol in PROTOCOLS {
        let Some(collector) = Collector::running("the_last_spans_are_sent_at_a_stop") else { return };
        let mut server = server();
        collector.receive_from(&mut server, protocol);
        server.env("OTEL_BSP_SCHEDULE_DELAY", "3600000");
        server.start();
        lock_and_unlock(&server, "one");
        assert_eq!(collector.received(), "");
        server.terminate();
        collector.requests(2);
    }
}

#[test]
fn a_receiver_that_never_answers_does_not_keep_a_server_from_stopping() {
    for protocol in PROTOCOLS {
        // Connections are made by the kernel; nobody reads them.
        let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = server();
        server.env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", deaf.local_addr().unwrap()));
        server.env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol).env("OTEL_BSP_SCHEDULE_DELAY", "50");
        server.start();
        for run in 0..20 {
            lock_and_unlock(&server, &run.to_string());
        }
        server.terminate();
        assert_eq!(lines(&server, "the last spans could not be sent").len(), 1, "{:?}", server.log());
    }
}

#[test]
fn a_wrong_setting_is_one_line_at_the_start() {
    let cases = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "such as http://localhost:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://u:hush@localhost", "OTEL_EXPORTER_OTLP_ENDPOINT is not"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is not"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "it can be grpc or http/protobuf"),
        (
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "/no/such/file",
            "OTEL_EXPORTER_OTLP_CERTIFICATE: cannot read /no/such/file",
        ),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/dev/null", "go together"),
    ];
    for (name, value, said) in cases {
        let mut server = server();
        server.env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:9").env(name, value);
        server.start();
        lock_and_unlock(&server, "one");
        server.terminate();
        let log = lines(&server, "spans are not exported");
        assert_eq!(log.len(), 1, "{:?}", server.log());
        assert!(log[0]["fault"].as_str().unwrap().contains(said), "{log:?}");
        assert!(!format!("{:?}", server.log()).contains("hush"));
    }
}
