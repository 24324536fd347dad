//! Set-ups that meet: several at once on an empty server, and one whose namespace is just being deleted.

use std::fs;

use serde_json::Value;
use tofustate_e2e::{process::Process, tools};

use crate::world::{World, path, said};

#[test]
fn set_ups_at_once_all_come_to_their_end() {
    let Some(mut world) = World::start("set_ups_at_once_all_come_to_their_end", None) else { return };
    let (root, ca) = (world.server.root_token_file(), world.folder.path().join("ca.pem"));
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(&ca, rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem()).unwrap();
    let cluster =
        ["--kubernetes-auth", "--kubernetes-host=https://api.example:6443", "--kubernetes-ca-file", path(&ca)];
    let namespaces: &[Option<&str>] = match tools::OPENBAO.find().unwrap().is_stand_in() {
        true => &[None],
        false => &[None, Some("one/tofu"), Some("two/tofu"), Some("three/tofu"), Some("four/tofu")],
    };
    for namespace in namespaces {
        world.namespace = *namespace;
        let args = [&["--admin-token-file", path(&root)], &cluster[..]].concat();
        let all: Vec<Process> = (0..4).map(|_| world.spawn_bootstrap(&args)).collect();
        for mut one in all {
            let done = one.wait();
            assert!(done.status.success(), "{namespace:?}: {}", said(&done));
        }
        let check = world.bootstrap(&[&["--check"], &cluster[..]].concat());
        assert!(check.status.success(), "{namespace:?}: {}", said(&check));
    }
}

#[test]
fn a_namespace_that_is_just_being_deleted_is_waited_for_and_made_anew() {
    let name = "a_namespace_that_is_just_being_deleted_is_waited_for_and_made_anew";
    let Some(world) = World::start(name, Some("tofu")) else { return };
    for _ in 0..5 {
        let done = world.bootstrap(&[]);
        assert!(done.status.success(), "{}", said(&done));
        assert!(said(&done).contains("the namespace tofu: made\n"), "{}", said(&done));
        world.server.api().must("DELETE", "sys/namespaces/tofu", &Value::Null);
    }
}
