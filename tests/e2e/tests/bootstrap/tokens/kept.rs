//! Tokens of states, where what keeps them is away, or keeps nothing any more in the midst of it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use serde_json::{Value, json};
use tofustate::openbao::{
    FileKeeper, Instance, Keeper, KeeperError, Kept, OpenBaoStores, PolicyName, Replica, Retired,
};

use super::{PATH, held, read, write};
use crate::world::{ROLE, World, instance, off, policy, run, state, until};

/// Keeps tokens in files, and what a test says happens meanwhile.
struct Meanwhile {
    files: FileKeeper,
    name: PolicyName,
    /// It cannot be told what is kept.
    away: AtomicBool,
    /// This process is stopped where it has found that nothing is kept and that it leads, and does not lead when it goes on.
    stops: AtomicBool,
    /// What is to be kept is not, and nothing is kept any more: the state was given up.
    given_up: AtomicBool,
    leads: AtomicBool,
}

impl Meanwhile {
    fn stores(world: &World, leads: bool) -> (OpenBaoStores, Arc<Self>) {
        let keeper = Arc::new(Self {
            files: FileKeeper::open(&world.kept()).unwrap(),
            name: PolicyName::new(&instance(), "team", "app").unwrap(),
            away: AtomicBool::new(false),
            stops: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            leads: AtomicBool::new(leads),
        });
        let role = keeper.clone();
        let leads = move || if role.leads.load(Ordering::SeqCst) { Replica::Leader } else { Replica::Other };
        let bao = world.connect();
        let login = world.login(&bao);
        (OpenBaoStores::new(bao, login, instance(), keeper.clone(), Arc::new(leads)).unwrap(), keeper)
    }
}

#[async_trait]
impl Keeper for Meanwhile {
    async fn load(&self, of: &PolicyName) -> Result<Option<Kept>, KeeperError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(KeeperError::Passes("it is away".to_owned()));
        }
        self.files.load(of).await
    }

    async fn left(&self, of: &PolicyName) -> Result<Vec<Retired>, KeeperError> {
        if self.stops.load(Ordering::SeqCst) {
            self.leads.store(false, Ordering::SeqCst);
        }
        self.files.left(of).await
    }

    async fn replace(&self, of: &PolicyName, old: Option<&str>, new: Option<&Kept>) -> Result<bool, KeeperError> {
        if self.given_up.load(Ordering::SeqCst) {
            self.files.replace(of, old, None).await?;
            return Err(KeeperError::Passes("the answer was lost".to_owned()));
        }
        self.files.replace(of, old, new).await
    }

    async fn list(&self, _: &Instance) -> Result<Vec<(PolicyName, Kept)>, KeeperError> {
        let found = self.files.load(&self.name).await?;
        Ok(found.map(|kept| (self.name.clone(), kept)).into_iter().collect())
    }

    async fn all(&self, instance: &Instance) -> Result<Vec<PolicyName>, KeeperError> {
        self.files.all(instance).await
    }
}

/// Whether the policy is there, and the tokens that have it.
fn left(world: &World) -> (bool, Vec<String>) {
    let policy = policy(PATH);
    let there = world.api().ask("GET", &format!("sys/policies/acl/{policy}"), &Value::Null).unwrap().status == 200;
    (there, world.tokens_of(&policy))
}

#[test]
fn a_token_that_was_read_with_all_others_is_renewed_where_it_cannot_be_read_again() {
    let test = "a_token_that_was_read_with_all_others_is_renewed_where_it_cannot_be_read_again";
    let Some(world) = World::set_up(test) else { return };
    run(async {
        off(|| world.api().must("POST", &format!("auth/token/roles/{ROLE}"), &json!({"token_period": "30s"})));
        write(&*state(&world.stores(), PATH)).await;
        let (stores, keeper) = Meanwhile::stores(&world, true);
        stores.read_ahead().await.unwrap();
        keeper.away.store(true, Ordering::SeqCst);
        // It is used as it is; nobody looked at it.
        read(&*state(&stores, PATH)).await.unwrap();
        let token = held(&stores);
        let accessor = token.accessor().unwrap();
        let (world, accessor) = (&world, &accessor);
        let ttl = || async { off(|| world.look_up(accessor)).expect("it lives")["ttl"].as_u64().unwrap() };
        until("half of it is over", || async {
            let left = ttl().await;
            if left < 15 { Ok(()) } else { Err(format!("{left} s are left")) }
        })
        .await;
        // A look, and the renewal.
        for _ in 0..2 {
            token.maintain(Replica::Leader).await.unwrap();
        }
        let left = ttl().await;
        assert!(left > 20, "{left} s are left after the renewal");
    });
}

#[test]
fn a_leader_that_was_stopped_makes_nothing_when_it_goes_on() {
    let Some(world) = World::set_up("a_leader_that_was_stopped_makes_nothing_when_it_goes_on") else { return };
    run(async {
        let (stores, keeper) = Meanwhile::stores(&world, true);
        keeper.stops.store(true, Ordering::SeqCst);
        state(&stores, PATH).get(PATH).await.unwrap_err();
        assert!(!keeper.leads.load(Ordering::SeqCst), "it was not stopped");
        assert_eq!(off(|| left(&world)), (false, vec![]));
        assert_eq!(keeper.files.load(&keeper.name).await.unwrap(), None);
    });
}

#[test]
fn a_replica_that_heals_a_token_of_a_state_that_is_given_up_meanwhile_leaves_no_policy() {
    let test = "a_replica_that_heals_a_token_of_a_state_that_is_given_up_meanwhile_leaves_no_policy";
    let Some(world) = World::set_up(test) else { return };
    run(async {
        write(&*state(&world.stores(), PATH)).await;
        let (stores, keeper) = Meanwhile::stores(&world, false);
        let kv = state(&stores, PATH);
        read(&*kv).await.unwrap();
        // The leader ends the token and deletes the policy; this one makes both anew, but for what keeps them.
        let accessor = held(&stores).accessor().unwrap();
        off(|| {
            let api = world.api();
            api.must("POST", "auth/token/revoke-accessor", &json!({"accessor": accessor}));
            api.must("DELETE", &format!("sys/policies/acl/{}", policy(PATH)), &Value::Null);
        });
        keeper.given_up.store(true, Ordering::SeqCst);
        until("it found that nothing is kept", || async {
            let _ = kv.get(PATH).await;
            let why = held(&stores).trouble().await.unwrap_or_default();
            if why.contains("the state was given up") { Ok(()) } else { Err(why) }
        })
        .await;
        assert_eq!(off(|| left(&world)), (false, vec![]));
    });
}
