//! Tokens of states: a resource has one policy, whatever its path is.

use std::sync::Arc;

use tofustate::{
    openbao::{FileKeeper, OpenBaoStores, TokenSource as _, alone},
    store::{Kv, KvError, StatePath, Stores as _, head::Owner},
};

use super::{PATH, held, write};
use crate::{
    log::Log,
    world::{INSTANCE, World, instance, policy, run, state},
};

const MOVED: &str = "team/moved";

/// The store of the same resource, registered with another path.
fn elsewhere(stores: &OpenBaoStores) -> Arc<dyn Kv> {
    let (namespace, name) = PATH.split_once('/').unwrap();
    let (instance, namespace, name) = (INSTANCE.to_owned(), namespace.to_owned(), name.to_owned());
    let owner = Owner { instance, namespace, name, claim: 1, released: false };
    stores.state(&StatePath::parse(MOVED).unwrap(), &owner)
}

#[test]
fn a_resource_that_moves_to_another_path_takes_its_policy_along() {
    let Some(world) = World::set_up("a_resource_that_moves_to_another_path_takes_its_policy_along") else { return };
    run(async {
        let stores = world.stores();
        let before = state(&stores, PATH);
        write(&*before).await;
        let old = held(&stores);
        let after = elsewhere(&stores);
        assert_eq!(after.get(MOVED).await.unwrap(), None);
        for _ in 0..3 {
            assert!(matches!(before.get(PATH).await, Err(KvError::Denied(_))), "the former path is given up");
            assert_eq!(after.get(MOVED).await.unwrap(), None, "and does not take the policy back");
        }
        assert!(old.refused(&old.token().unwrap()).await.eq(&false));
    });
}

#[test]
fn processes_that_differ_on_a_resources_path_are_told_so_once_each() {
    let name = "processes_that_differ_on_a_resources_path_are_told_so_once_each";
    let Some(world) = World::set_up(name) else { return };
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Of this thread alone: the runtime has no other.
    let _guard = tracing::subscriber::set_default(subscriber);
    // What other tests, which have no subscriber, came by at this very moment would else be off for good.
    tracing::callsite::rebuild_interest_cache();
    let told = || -> Vec<String> {
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().filter(|line| line.contains("WARN"));
        lines
            .inspect(|line| assert!(line.contains("serves this resource with another path"), "{line}"))
            .map(str::to_owned)
            .collect()
    };
    runtime.block_on(async {
        let one = world.stores();
        let bao = world.connect();
        let keeper = Arc::new(FileKeeper::open(&world.folder.path().join("other/openbao")).unwrap());
        let other = OpenBaoStores::new(bao.clone(), world.login(&bao), instance(), keeper, alone()).unwrap();
        let (here, there) = (state(&one, PATH), elsewhere(&other));
        for round in 1..=4 {
            assert_eq!(here.get(PATH).await.unwrap(), None, "round {round}");
            assert_eq!(there.get(MOVED).await.unwrap(), None, "round {round}");
            match round {
                1 => assert_eq!(told(), Vec::<String>::new(), "it may be one that moves"),
                2 => assert_eq!(told().len(), 1, "{:?}", told()),
                _ => assert_eq!(told().len(), 2, "once each: {:?}", told()),
            }
        }
    });
    let told = told();
    for (line, path, other) in [(&told[0], MOVED, PATH), (&told[1], PATH, MOVED)] {
        let says = [policy(PATH), format!("path={path}"), format!("other={other}"), "the same manifests".to_owned()];
        assert!(says.iter().all(|part| line.contains(part)), "{line}");
    }
}
