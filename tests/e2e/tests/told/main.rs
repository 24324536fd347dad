//! What is told of the work on OpenBao, by logs, spans and metrics, and what never is. A binary of its own: whether a line
//! is logged at all is decided once for a process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

#[path = "../../../common/log.rs"]
mod log;

use std::sync::Arc;

use prometheus_client::{encoding::text::encode, registry::Registry};
use tofustate::{
    openbao::{Address, Bao, OpenBaoKv, Settings, Token},
    store::{Expect, Kv, KvError, Part, PartLabel, Revision, Value},
    telemetry::OpenBaoMetrics,
};
use tofustate_e2e::bao::{Setup, fixture};
use tracing_subscriber::{EnvFilter, fmt::format::FmtSpan};

const MARKER: &str = "h4rdly-a-s3cret";

#[test]
fn calls_are_told_and_secrets_never() {
    let Some(server) = Setup::default().start("calls_are_told_and_secrets_never") else { return };
    let good = fixture::states(&server.api());
    let rightless = fixture::token(&server.api(), &["no-such-policy"]);
    let log = log::Log::default();
    // All that any library says, but those two that say too much: tofustate's own log leaves them out always.
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("trace,vaultrs=off,rustify=off"))
        .with_writer(log.clone())
        .with_ansi(false)
        .with_span_events(FmtSpan::FULL)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let metrics = OpenBaoMetrics::default();
    let mut said = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let settings = Settings::new(vec![Address::parse(&server.url(0), false).unwrap()]);
        let bao = Bao::new(settings, metrics.clone()).unwrap();
        let of = |secret: &str| OpenBaoKv::new(bao.clone(), Arc::new(Token::parse(secret).unwrap()));
        let kv = of(&good.secret);
        let document = Value::Document(format!("{{\"{MARKER}\":1}}").into());
        let label = PartLabel { sha256: String::new(), path: "a".into(), object: "1-a".into(), index: 0 };
        let part = Value::Part(Part { label, bytes: MARKER.as_bytes().into() });
        kv.put("team/app", &document, Expect::Absent).await.unwrap();
        kv.put(".versions/team:app/1-a", &part, Expect::Absent).await.unwrap();
        kv.get("team/app").await.unwrap();
        kv.get(".versions/team:app/1-a").await.unwrap();
        assert_eq!(kv.list_parts(".versions/team:app/").await.unwrap().len(), 1);
        kv.delete_part(".versions/team:app/1-a").await.unwrap();
        let mut fails = Vec::new();
        fails.push(kv.put("team/app", &document, Expect::At(Revision(9))).await.unwrap_err());
        for secret in [&rightless.secret, MARKER] {
            fails.push(of(secret).put("team/app", &document, Expect::At(Revision(1))).await.unwrap_err());
        }
        assert!(matches!(fails[..], [KvError::CasMismatch, KvError::Denied(_), KvError::Denied(_)]), "{fails:?}");
        said.extend(fails.iter().map(|error| format!("{error} {error:?}")));
        for secret in [good.secret.as_str(), MARKER] {
            let token = Token::parse(secret).unwrap();
            let control = bao.control(Some(&token)).await.unwrap();
            said.push(format!("{token:?} {control:?} {bao:?} {kv:?}"));
            let refused = bao
                .run(Some(&token), |client| async move { vaultrs::sys::mount::list(&**client).await.map(drop) })
                .await;
            let fault = refused.unwrap_err();
            said.push(format!("{fault} {fault:?}"));
        }
    });
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for line in logged.lines().chain(said.iter().flat_map(|said| said.lines())) {
        for secret in [MARKER, &good.secret, &rightless.secret] {
            assert!(!line.contains(secret), "{line}");
        }
    }
    assert!(
        logged.contains("the active OpenBao node") && logged.contains("openbao{operation=\"put\""),
        "{logged:.4000}"
    );

    let mut registry = Registry::with_prefix("tofustate");
    metrics.register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for line in [
        "tofustate_openbao_calls_total{operation=\"put\",outcome=\"ok\"} 2",
        "tofustate_openbao_calls_total{operation=\"put\",outcome=\"cas_mismatch\"} 1",
        "tofustate_openbao_calls_total{operation=\"put\",outcome=\"denied\"} 1",
        "tofustate_openbao_calls_total{operation=\"put\",outcome=\"invalid_token\"} 1",
        "tofustate_openbao_calls_total{operation=\"age\",outcome=\"ok\"} 1",
        "tofustate_openbao_call_seconds_count{operation=\"list\"} 1",
        "tofustate_openbao_active_node_changes_total 1",
    ] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
}
