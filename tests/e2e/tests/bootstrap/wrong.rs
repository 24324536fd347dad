//! What a person is told who gave a token, a mount or an address that is wrong.

use serde_json::json;
use tempfile::TempDir;
use tofustate::{
    openbao::{Address, Bao, Settings},
    telemetry::OpenBaoMetrics,
};
use tofustate_e2e::bao::{Setup as Server, fixture};

use crate::world::{World, path, private, run, said};

#[test]
fn a_token_that_is_not_taken_is_told_once_and_nothing_is_called_missing() {
    let name = "a_token_that_is_not_taken_is_told_once_and_nothing_is_called_missing";
    let Some(world) = World::start(name, Some("team/tofu")) else { return };
    let file = world.folder.path().join("admin");
    let admin = ["--admin-token-file", path(&file)];
    let told = |check: bool| {
        let done = world.bootstrap_with(&[&admin[..], if check { &["--check"] } else { &[] }].concat());
        assert!(!done.status.success());
        let text = String::from_utf8(done.stderr.clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    };
    private(&file, "s.not-a-token-of-this-server");
    for check in [true, false] {
        let text = told(check);
        assert_eq!(text.matches("OpenBao does not know the token").count(), 1, "{text}");
        assert!(text.contains("the admin's token of this server") && !text.contains("missing"), "{text}");
    }
    // Nor where the namespace is there.
    let done = world.bootstrap(&[]);
    assert!(done.status.success(), "{}", said(&done));
    assert!(told(true).contains("OpenBao does not know the token"));
    // One of the namespace between, which may look at nothing, is one.
    let team = world.server.api().in_namespace("team");
    fixture::policy(&team, "little", &json!({"path": {"x": {"capabilities": ["read"]}}}));
    private(&file, &fixture::token(&team, &["little"]).secret);
    let done = world.bootstrap_with(&[&admin[..], &["--check"]].concat());
    assert!(!done.status.success() && said(&done).contains("this token may not read"), "{}", said(&done));
}

#[test]
fn a_mount_of_another_type_is_told_with_what_is_there() {
    let Some(world) = World::start("a_mount_of_another_type_is_told_with_what_is_there", None) else { return };
    for (mount, is) in [("identity", "identity"), ("cubbyhole", "cubbyhole"), ("sys", "system")] {
        let says = format!("the KV v2 mount {mount} differs: type is {is} and should be kv version 2");
        let check = world.bootstrap(&["--check", "--mount", mount]);
        let text = said(&check);
        assert!(!check.status.success() && text.contains(&format!("- {says}\n")), "{text}");
        assert!(text.contains("- the token role tofustate-prod is missing\n"), "the rest is told as well: {text}");
        let refused = world.bootstrap(&["--mount", mount]);
        assert!(!refused.status.success() && said(&refused).contains(&says), "{}", said(&refused));
    }
    let check = world.bootstrap(&["--check", "--kubernetes-auth=token"]);
    let says = "- the Kubernetes login at auth/token differs: type is token and should be kubernetes\n";
    assert!(!check.status.success() && said(&check).contains(says), "{}", said(&check));
}

#[test]
fn an_address_of_the_other_scheme_is_told_with_what_to_write() {
    let name = "an_address_of_the_other_scheme_is_told_with_what_to_write";
    let folder = TempDir::new().unwrap();
    let ca = folder.path().join("ca.pem");
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(&ca, rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem()).unwrap();
    for (tls, is, given) in [(false, "http://", "https://"), (true, "https://", "http://")] {
        let Some(server) = (Server { tls, ..Server::default() }).start(name) else { return };
        let url = server.url(0).replacen(is, given, 1);
        assert_ne!(url, server.url(0));
        let settings = Settings { ca: Some(ca.clone()), ..Settings::new(vec![Address::parse(&url, false).unwrap()]) };
        let fault = run(async { Bao::new(settings, OpenBaoMetrics::default()).unwrap().active().await.unwrap_err() });
        let text = fault.to_string();
        assert!(text.contains(&url) && text.contains(&format!("write {is} in its address")), "{text}");
    }
}
