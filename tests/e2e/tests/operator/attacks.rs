//! What others do at the worst moment: two at once, an end in the middle, a hand in what is tofustate's own.

use std::{thread, time::Duration};

use serde_json::{Value, json};
use tofustate_e2e::{
    ask::{lock_info, state},
    kube::{Part, condition},
    operator::file,
    wait,
};

use crate::world::{Setting, Shared, World, message};

impl World {
    /// Whether the operator wrote the Secret of this name for this resource.
    fn wrote(&self, resource: &str, secret: &str) -> bool {
        let lines = self.operator.lines("written");
        lines.iter().any(|line| line["resource"] == resource && line["kind"] == "Secret" && line["name"] == secret)
    }

    pub(crate) fn until_status(&self, path: &str, token: &str, status: u16) {
        wait::until(&format!("{path} answers {status}"), || {
            let got = self.ask("GET", path, token).try_send().map(|answer| answer.status());
            if matches!(got, Ok(got) if got == status) {
                return Ok(());
            }
            Err(format!("{got:?}; the operator said\n{}", self.operator.said()))
        });
    }
}

#[test]
fn a_secret_that_changed_while_nothing_was_watched_is_followed() {
    let test = "a_secret_that_changed_while_nothing_was_watched_is_followed";
    let Some(mut world) = World::start(test, Setting::default()) else { return };
    let namespace = world.cluster.namespace("unwatched");
    let (old, new) = ("the-old-token-of-this-state", "the-new-token-of-this-state");
    world.secret(&namespace, "mine", &[("token", old)]);
    world.ready(&namespace, json!({"accessTokenSecretRef": {"name": "mine"}}));
    world.create(&namespace, "other", json!({}));
    world.until_ready(&namespace, "other");
    // Until it is tried again at long intervals only.
    world.cluster.kill(Part::ApiServer);
    wait::until("it is noticed", || {
        let told = world.operator.lines("cannot be watched");
        if told.len() >= 3 { Ok(()) } else { Err(world.operator.said()) }
    });
    thread::sleep(Duration::from_secs(12));
    world.cluster.restart(Part::ApiServer);
    world.change_secret(&namespace, "mine", "token", new);
    let secret = format!("/api/v1/namespaces/{namespace}/secrets/other-tofustate");
    let config = format!("/api/v1/namespaces/{namespace}/configmaps/other-tofustate");
    world.api().delete(&secret).done();
    world.api().delete(&config).done();
    world.until_status("unwatched/app", new, 404);
    world.ask("GET", "unwatched/app", old).send().is(403);
    world.api().until(&secret, "it is there again", |_| true);
    world.api().until(&config, "it is there again", |_| true);
}

#[test]
fn one_that_came_anew_is_served_though_the_end_of_the_former_is_seen_late() {
    let test = "one_that_came_anew_is_served_though_the_end_of_the_former_is_seen_late";
    let Some(mut world) = World::start(test, Setting::default()) else { return };
    let namespace = world.cluster.namespace("anew");
    // One whose every look takes seconds: its head is gone, and is waited for.
    world.create(&namespace, "slow", json!({}));
    world.until_ready(&namespace, "slow");
    world.ready(&namespace, json!({}));
    world.operator.kill();
    let none = json!({"metadata": {"finalizers": null}});
    world.api().merge(&World::at(&namespace, "slow"), &none).done();
    world.api().delete(&World::at(&namespace, "slow")).done();
    world.api().until_gone(&World::at(&namespace, "slow"));
    world.server.api().must("DELETE", "states/metadata/anew/slow", &Value::Null);
    world.create(&namespace, "slow", json!({}));
    world.operator.start();
    world.until_condition(&namespace, "slow", "Stalled", "True", "HeadLost");
    let token = world.token(&namespace, "app");
    for n in 0..3 {
        world.until_status("anew/app", &token, 404);
        world.annotate(&namespace, "slow", "reconcile", format!("{n}"));
        thread::sleep(Duration::from_millis(200));
        world.api().merge(&World::at(&namespace, "slow"), &none).done();
        world.api().delete(&World::at(&namespace, "slow")).done();
        world.api().until_gone(&World::at(&namespace, "slow"));
        world.delete(&namespace, "app");
        world.ready(&namespace, json!({}));
        world.create(&namespace, "slow", json!({}));
        world.until_condition(&namespace, "slow", "Stalled", "True", "HeadLost");
        world.ask("GET", "anew/app", &world.token(&namespace, "app")).send().is(404);
    }
}
