//! Tokens of states as Secrets, with the rights that the operator has.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use tofustate::{
    controller::keeper::{INSTANCE_LABEL, RESOURCE, SecretKeeper, TYPE, name},
    openbao::{Instance, Keeper as _, Kept, PolicyName, Retired, Token},
};
use tofustate_e2e::kube::{Cluster, OPERATOR_NAMESPACE, Part, Setup};

use crate::world::{client, installed, off, run};

fn instance(name: &str) -> Instance {
    Instance::parse(name).unwrap()
}

fn policy(instance_name: &str, name: &str) -> PolicyName {
    PolicyName::new(&instance(instance_name), "team", name).unwrap()
}

fn kept(accessor: &str, retired: &[&str]) -> Kept {
    let since = Timestamp::UNIX_EPOCH;
    let retired = retired.iter().map(|accessor| Retired { accessor: (*accessor).to_owned(), since }).collect();
    Kept { token: Token::parse(&format!("s.secret-of-{accessor}")).unwrap(), accessor: accessor.to_owned(), retired }
}

fn secret(of: &PolicyName) -> String {
    format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets/{}", name(of))
}

#[test]
fn a_token_is_kept_as_a_secret_and_only_replaced_where_nobody_else_did() {
    let test = "a_token_is_kept_as_a_secret_and_only_replaced_where_nobody_else_did";
    let Some(cluster) = installed(test) else { return };
    let api = cluster.api();
    run(async {
        let keeper = SecretKeeper::new(off(|| client(&cluster, "keeper")).await, OPERATOR_NAMESPACE);
        let other = SecretKeeper::new(off(|| client(&cluster, "keeper")).await, OPERATOR_NAMESPACE);
        let of = policy("kept", "app");
        let (first, second) = (kept("first", &[]), kept("second", &["first"]));
        assert_eq!(keeper.load(&of).await, Ok(None));
        assert_eq!(keeper.replace(&of, Some("x"), Some(&first)).await, Ok(false), "there is none to replace");
        assert_eq!(keeper.replace(&of, Some("x"), None).await, Ok(false));
        assert_eq!(keeper.replace(&of, None, Some(&first)).await, Ok(true));
        assert_eq!(other.replace(&of, None, Some(&second)).await, Ok(false), "there is one by now");
        assert_eq!(other.load(&of).await, Ok(Some(first.clone())));
        assert_eq!(other.replace(&of, Some("first"), Some(&second)).await, Ok(true));
        assert_eq!(keeper.replace(&of, Some("first"), None).await, Ok(false));
        assert_eq!(keeper.load(&of).await, Ok(Some(second.clone())));

        // What it is, without the token where others may look.
        let found = off(|| api.get(&secret(&of))).unwrap();
        assert_eq!((&found["type"], &found["metadata"]["labels"][INSTANCE_LABEL]), (&json!(TYPE), &json!("kept")));
        assert_eq!(found["metadata"]["annotations"][RESOURCE], "team/app");
        assert!(!found["metadata"].to_string().contains("s.secret"), "{}", found["metadata"]);

        // Labels of others stay, and are no change of the token.
        off(|| api.merge(&secret(&of), &json!({"metadata": {"labels": {"team": "x"}}})).done());
        let third = kept("third", &[]);
        assert_eq!(keeper.replace(&of, Some("second"), Some(&third)).await, Ok(true));
        let found = off(|| api.get(&secret(&of))).unwrap();
        assert_eq!(found["metadata"]["labels"]["team"], "x");

        // Each installation has its own, also of the same resource.
        let elsewhere = policy("other", "app");
        assert_eq!(keeper.load(&elsewhere).await, Ok(None));
        assert_eq!(keeper.replace(&elsewhere, None, Some(&first)).await, Ok(true));
        assert_eq!(keeper.all(&instance("kept")).await, Ok(vec![of.clone()]));
        assert_eq!(keeper.all(&instance("other")).await, Ok(vec![elsewhere.clone()]));
        assert_eq!(keeper.all(&instance("none")).await, Ok(vec![]));
        assert_eq!(keeper.left(&of).await, Ok(vec![]));

        // A damaged one is as none; so is one that somebody put there from another state.
        off(|| api.merge(&secret(&of), &json!({"stringData": {"token.json": "{"}})).done());
        assert_eq!(keeper.load(&of).await, Ok(None));
        let theirs = off(|| api.get(&secret(&elsewhere))).unwrap()["data"].clone();
        off(|| api.merge(&secret(&of), &json!({"data": theirs})).done());
        assert_eq!(keeper.load(&of).await, Ok(None));
        assert_eq!(keeper.replace(&of, None, Some(&second)).await, Ok(true));
        assert_eq!(keeper.replace(&of, Some("second"), None).await, Ok(true));
        assert!(off(|| api.get(&secret(&of))).is_none());
        assert_eq!(keeper.load(&of).await, Ok(None));
    });
}

#[test]
fn what_keeps_a_token_from_being_kept_is_told() {
    let Some(cluster) = installed("what_keeps_a_token_from_being_kept_is_told") else { return };
    let api = cluster.api();
    run(async {
        let client = off(|| client(&cluster, "keeper-told")).await;
        let keeper = SecretKeeper::new(client.clone(), OPERATOR_NAMESPACE);
        let of = policy("told", "app");
        // Of somebody else.
        let foreign = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name(&of)}, "stringData": {"password": "p"},
        });
        off(|| api.create(&format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets"), &foreign).done());
        for error in [
            keeper.load(&of).await.unwrap_err(),
            keeper.replace(&of, None, Some(&kept("a", &[]))).await.unwrap_err(),
            keeper.replace(&of, None, None).await.unwrap_err(),
        ] {
            let says = format!("the Secret tofustate/{} was not made by tofustate, its type is Opaque", name(&of));
            assert!(error.to_string().contains(&says) && error.to_string().contains("delete it"), "{error}");
        }
        assert_eq!(off(|| api.get(&secret(&of))).unwrap()["data"]["password"], "cA==");
        off(|| api.delete(&secret(&of)).done());
        // Where the operator has no right to change Secrets, and where there is no such namespace.
        let elsewhere = SecretKeeper::new(client.clone(), "default");
        let (a, b) = (kept("a", &[]), kept("b", &[]));
        assert_eq!(elsewhere.replace(&of, None, Some(&a)).await, Ok(true), "making one is its right everywhere");
        let error = elsewhere.replace(&of, Some("a"), Some(&b)).await.unwrap_err().to_string();
        assert!(error.contains("changing the Secret default/") && error.contains("cannot update resource"), "{error}");
        assert!(!error.contains("s.secret"), "{error}");
        assert_eq!(elsewhere.replace(&of, Some("a"), None).await, Ok(true));
        let nowhere = SecretKeeper::new(client, "nowhere");
        let error = nowhere.replace(&of, None, Some(&a)).await.unwrap_err().to_string();
        assert!(error.contains("namespaces \"nowhere\" not found"), "{error}");
    });
}

#[test]
fn of_two_replicas_that_replace_a_token_at_once_one_does() {
    let Some(cluster) = installed("of_two_replicas_that_replace_a_token_at_once_one_does") else { return };
    const EACH: usize = 40;
    run(async {
        let of = policy("raced", "app");
        let mut racing = Vec::new();
        for replica in ["a", "b"] {
            let keeper =
                SecretKeeper::new(off(|| client(&cluster, &format!("keeper-{replica}"))).await, OPERATOR_NAMESPACE);
            let of = of.clone();
            racing.push(tokio::spawn(async move {
                let (mut won, mut lost) = (Vec::new(), 0_usize);
                while won.len() < EACH {
                    let now = keeper.load(&of).await.unwrap();
                    let accessor = format!("{replica}-{}", won.len());
                    let mut next = kept(&accessor, &[]);
                    // Each remembers all before it, so one that was written over unseen would be missing at the end.
                    next.retired = now.iter().flat_map(|now| now.retired.clone()).collect();
                    next.retired.extend(
                        now.iter().map(|now| Retired { accessor: now.accessor.clone(), since: Timestamp::UNIX_EPOCH }),
                    );
                    let old = now.as_ref().map(|now| now.accessor.as_str());
                    if keeper.replace(&of, old, Some(&next)).await.unwrap() {
                        won.push(accessor);
                    } else {
                        lost += 1;
                    }
                }
                (won, lost)
            }));
        }
        let (mut won, mut lost) = (BTreeSet::new(), 0);
        for replica in racing {
            let (theirs, times) = replica.await.unwrap();
            won.extend(theirs);
            lost += times;
        }
        let keeper = SecretKeeper::new(off(|| client(&cluster, "keeper-a")).await, OPERATOR_NAMESPACE);
        let last = keeper.load(&of).await.unwrap().unwrap();
        let chain: Vec<_> =
            last.retired.iter().map(|retired| retired.accessor.clone()).chain([last.accessor]).collect();
        println!("{} replaced, {lost} lost to the other replica", chain.len());
        assert_eq!(chain.len(), 2 * EACH, "each that was told it won stands there, once");
        assert_eq!(chain.into_iter().collect::<BTreeSet<_>>(), won);
        assert!(lost > 0, "they never met");
    });
}

#[test]
fn an_api_server_that_is_away_is_an_error_and_comes_back() {
    let setup = Setup { crds: true, ..Setup::default() };
    let Some(mut cluster): Option<Cluster> = setup.start("an_api_server_that_is_away_is_an_error_and_comes_back")
    else {
        return;
    };
    cluster.install_operator_rights();
    run(async {
        let keeper = SecretKeeper::new(off(|| client(&cluster, "keeper")).await, OPERATOR_NAMESPACE);
        let (of, first) = (policy("away", "app"), kept("first", &[]));
        assert_eq!(keeper.replace(&of, None, Some(&first)).await, Ok(true));
        off(|| cluster.kill(Part::ApiServer));
        let error = keeper.load(&of).await.unwrap_err().to_string();
        assert!(error.contains("reading the Secret tofustate/"), "{error}");
        keeper.replace(&of, Some("first"), None).await.unwrap_err();
        off(|| cluster.restart(Part::ApiServer));
        assert_eq!(keeper.load(&of).await, Ok(Some(first)));
        // One that is frozen while it is asked answers when it wakes: what it did then is not taken for another's work.
        let second = kept("second", &[]);
        off(|| cluster.freeze(Part::ApiServer));
        let replacing = tokio::spawn({
            let (keeper, of, second) = (keeper.clone(), of.clone(), second.clone());
            async move { keeper.replace(&of, Some("first"), Some(&second)).await }
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        off(|| cluster.thaw(Part::ApiServer));
        assert_eq!(replacing.await.unwrap(), Ok(true));
        assert_eq!(keeper.load(&of).await, Ok(Some(second)));
        let found: Value = off(|| cluster.api().get(&secret(&of))).unwrap();
        assert_eq!(found["type"], TYPE);
    });
}
