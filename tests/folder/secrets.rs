//! Secrets and Namespaces beside the resources.

use tofustate::{
    registry::{
        Role, Tenancy,
        folder::{ChangeKind, FolderOptions, Reason, api_token},
    },
    store::{
        StatePath,
        owners::{self, Claimant, Leftover},
    },
};

use crate::world::*;

#[tokio::test]
async fn secrets_come_change_and_go() {
    let (disk, kv) = (Disk::new(), memory());
    let spec = "  accessTokenSecretRef: {name: s}\n  access: [{name: ci, role: ReadOnly, secretRef: {name: ci}}]\n";
    disk.write("net.yaml", &manifest_with("net", "a/net", spec));
    let mut world = disk.start(&kv);
    let report = world.pass().await;
    assert!(paths(&report).is_empty() && report.generated.is_empty());
    let said: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    assert!(said.len() == 2 && said.iter().all(|line| line.contains("SecretNotFound")), "{said:?}");

    let (first, second, reader) = ("first-0123456789abcdef", "second-0123456789abcdef", "reader-0123456789abcdef");
    disk.write("s.yaml", &secret("a", "s", first));
    let report = world.pass().await;
    assert_eq!(report.served[0].identities, ["token"]);
    problem(&report, Reason::SecretNotFound);
    disk.write("ci.yaml", &secret("a", "ci", reader));
    let report = world.pass().await;
    quiet(&report);
    assert_eq!(changes(&report), [("a/net", ChangeKind::Credentials)]);
    assert_eq!(world.admits("a/net", reader), Some(("access/ci".to_owned(), Role::ReadOnly)));

    let state = world.state("a/net");
    disk.write("s.yaml", &secret("a", "s", second));
    let report = world.pass().await;
    assert_eq!(changes(&report), [("a/net", ChangeKind::Credentials)]);
    assert!(world.admits("a/net", first).is_none() && world.admits("a/net", second).is_some());
    assert!(world.state("a/net").is(&state));

    // A wrong Secret is not a missing one.
    disk.write("s.yaml", &secret("a", "s", second).replace("stringData", "data"));
    let report = world.pass().await;
    let said = problem(&report, Reason::InvalidSpec).to_string();
    assert!(said.contains("data.token: this is not base64") && !said.contains(second), "{said}");
    assert!(world.admits("a/net", second).is_some());
    disk.write("s.yaml", &secret("a", "s", "short"));
    let report = world.pass().await;
    assert!(world.admits("a/net", "short").is_some());
    assert!(problem(&report, Reason::WeakToken).message.contains("longer"));
    disk.write("s.yaml", &secret("a", "s", reader));
    let report = world.pass().await;
    assert_eq!(world.admits("a/net", reader), Some(("token".to_owned(), Role::ReadWrite)));
    problem(&report, Reason::SameToken);
    disk.remove("s.yaml");
    let report = world.pass().await;
    assert_eq!((paths(&report).len(), changes(&report)), (0, vec![("a/net", ChangeKind::Removed)]));
    problem(&report, Reason::SecretNotFound);
}

#[tokio::test]
async fn namespaces_decide_who_may_have_what() {
    let (disk, kv) = (Disk::new(), memory());
    let named = |namespace: &str| manifest("net", "a/net").replace("namespace: a", &format!("namespace: {namespace}"));
    disk.write("net.yaml", &named("b"));
    let report = disk.start(&kv).pass().await;
    assert!(problem(&report, Reason::PathNotAllowed).message.contains("first segment"));
    let annotated = Disk::start_with(FolderOptions { tenancy: Tenancy::Annotation, ..disk.options() }, &kv);
    let mut world = annotated;
    problem(&world.pass().await, Reason::PathNotAllowed);
    let namespace = |annotations: &str| {
        format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: b\n  annotations: {{{annotations}}}\n")
    };
    disk.write("ns.yaml", &namespace("tofustate.io/path-prefixes: 'x/,a/'"));
    let report = world.pass().await;
    quiet(&report);
    assert_eq!(paths(&report), ["a/net"]);

    // What another resource left is taken over on a word of the namespace only.
    let path = StatePath::parse("a/left").unwrap();
    let other = Claimant { instance: "test".into(), namespace: "c".into(), name: "old".into(), uid: None };
    let claim = owners::claim(&*kv, &path, &other, false, &mut budget()).await.unwrap();
    owners::release(&*kv, &path, &other, claim, Leftover::State, &mut budget()).await.unwrap();
    disk.write("left.yaml", &named("b").replace("name: net", "name: left").replace("a/net", "a/left"));
    let report = world.pass().await;
    assert!(problem(&report, Reason::PathHasState).message.contains("tofustate.io/adopt"));
    disk.write("ns.yaml", &namespace("tofustate.io/path-prefixes: a, tofustate.io/adopt: a/left"));
    let report = world.pass().await;
    quiet(&report);
    assert_eq!(paths(&report), ["a/left", "a/net"]);
}

#[tokio::test]
async fn a_suspended_resource_is_served_as_it_was() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("net.yaml", &manifest("net", "a/net"));
    disk.write("new.yaml", &manifest_with("new", "a/new", "  suspend: true\n"));
    let mut world = disk.start(&kv);
    let report = world.pass().await;
    problem(&report, Reason::Suspended);
    assert_eq!(paths(&report), ["a/net"]);
    disk.remove("new.yaml");
    disk.write("net.yaml", &manifest_with("net", "a/net", "  suspend: true\n  maxSize: 1Ki\n"));
    let report = world.pass().await;
    problem(&report, Reason::Suspended);
    assert_eq!((paths(&report), report.changes.len()), (vec!["a/net"], 0));
    assert_eq!(paths(&disk.start(&kv).pass().await), ["a/net"], "after a restart, too");
    disk.write("net.yaml", &manifest_with("net", "a/net", "  maxSize: 1Ki\n"));
    assert_eq!(changes(&world.pass().await), [("a/net", ChangeKind::Settings)]);
}

#[tokio::test]
async fn a_token_of_all_states() {
    let (disk, kv) = (Disk::new(), memory());
    disk.write("net.yaml", &manifest("net", "a/net"));
    let mut options = disk.options();
    let (token, warnings) = api_token("one-for-all-of-them".as_ref()).unwrap();
    assert_eq!(warnings.len(), 1, "it is short: {warnings:?}");
    options.api_token = Some(token);
    let mut world = Disk::start_with(options, &kv);
    let report = world.pass().await;
    quiet(&report);
    assert!(report.generated.is_empty() && !disk.data().join("tokens/a/net").exists());
    assert_eq!(world.admits("a/net", "one-for-all-of-them"), Some(("api-token".to_owned(), Role::ReadWrite)));
    assert_eq!(changes(&world.pass().await), [], "nothing is tried again and again");
    for bad in ["", " \n", "two\nlines-of-a-long-token"] {
        let refused = api_token(bad.as_ref()).unwrap_err().to_string();
        assert!(refused.starts_with("API_TOKEN: ") && !refused.contains("two"), "{refused}");
    }
}
