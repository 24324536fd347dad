//! Others at the same time, lost answers, and a command that is killed at any step.

use serde_json::{Value, json};
use std::time::Duration;
use tofustate_e2e::{
    bao::Setup,
    proxy::{self, Fault},
    wait,
};

use crate::{
    old::{Old, state},
    world::said,
};

/// A step of the command that writes: its method and path begin so.
const WRITES: &[&str] = &["/v1/states/data/.owners/", "/v1/states/data/.versions/", "/v1/states/data/team/app"];

fn proxied(test: &str) -> Option<Old> {
    Old::of(test, Setup { proxied: true, ..Setup::default() })
}

fn writes(start: &'static str) -> impl Fn(&str, &str) -> bool + Send + 'static {
    move |method, path| method == "POST" && path.starts_with(start)
}

/// Waits until the proxy has so many requests in its hands, or had.
fn held(old: &Old, count: u64) {
    wait::until("the request is held", || {
        let injected = old.world.server.proxy(0).injected();
        if injected.values().sum::<u64>() >= count { Ok(()) } else { Err(format!("{injected:?}")) }
    });
}

#[test]
fn of_many_commands_one_adopts() {
    let Some(old) = Old::start("of_many_commands_one_adopts") else { return };
    for (round, len) in [(1, 10), (2, 60_000), (3, 10)] {
        let key = format!("team/app-{round}");
        old.put(&key, &json!({ "state": state(7, len) }));
        // The last round: two resources want it.
        let name = |at: usize| if round == 3 && at % 2 == 1 { "other".to_owned() } else { format!("app-{round}") };
        let mut all: Vec<_> = (0..6).map(|at| old.spawn(&key, &name(at))).collect();
        let said: Vec<_> = all.iter_mut().map(|process| (process.wait().status.success(), process.said())).collect();
        let count = |text: &str| said.iter().filter(|(_, told)| told.contains(text)).count();
        assert_eq!(count(": adopted for team/"), 1, "{said:?}");
        for (good, told) in &said {
            let well = told.contains(": adopted for") || told.contains("already adopted");
            let lost = told.contains("changed while it was adopted") || told.contains("belongs to team/");
            assert!(*good == well && (well || lost), "{told}");
        }
        let winner = if count("adopted for team/other of") == 1 { "other".to_owned() } else { name(0) };
        old.serves(&key, &winner, state(7, len).as_bytes());
    }
}

#[test]
fn a_writer_of_the_old_service_in_between_is_not_written_over() {
    let test = "a_writer_of_the_old_service_in_between_is_not_written_over";
    let Some(old) = proxied(test) else { return };
    old.put("team/app", &json!({ "state": state(7, 10) }));
    let proxy = old.world.server.proxy(0);
    proxy.script(writes("/v1/states/data/team/app"), [Some(Fault::HoldRequest(Duration::from_secs(4)))]);
    let mut command = old.spawn("team/app", "app");
    held(&old, 1);
    let newer = json!({ "state": state(8, 10) });
    let version = old.put("team/app", &newer);
    let done = command.wait();
    assert!(
        !done.status.success() && said(&done).contains("states/team/app changed while it was adopted"),
        "{}",
        said(&done)
    );
    assert_eq!((old.get("team/app"), version), (newer, 2));
    old.must("team/app");
    old.serves("team/app", "app", state(8, 10).as_bytes());
    proxy::injected(test, [proxy]);
}

#[test]
fn a_lock_that_is_taken_meanwhile_is_seen() {
    let test = "a_lock_that_is_taken_meanwhile_is_seen";
    let Some(old) = proxied(test) else { return };
    let data = json!({ "state": state(7, 10) });
    old.put("team/app", &data);
    let proxy = old.world.server.proxy(0);
    proxy.script(writes("/v1/states/data/.versions/"), [Some(Fault::HoldRequest(Duration::from_secs(4)))]);
    let mut command = old.spawn("team/app", "app");
    held(&old, 1);
    old.put("team/app.lock", &json!({ "lock": r#"{"ID":"8c3a","Who":"ada@desk"}"# }));
    let done = command.wait();
    assert!(!done.status.success() && said(&done).contains("held by ada@desk"), "{}", said(&done));
    assert_eq!(old.get("team/app"), data);
    old.world.api().must("DELETE", "states/metadata/team/app.lock", &Value::Null);
    old.must("team/app");
    old.serves("team/app", "app", state(7, 10).as_bytes());
    proxy::injected(test, [proxy]);
}

#[test]
fn a_lost_answer_to_any_write_is_found_out() {
    let test = "a_lost_answer_to_any_write_is_found_out";
    let Some(old) = proxied(test) else { return };
    let proxy = old.world.server.proxy(0);
    let faults = [Fault::DropAnswer, Fault::DropRequest, Fault::Answer(503, None), Fault::CutAnswer];
    for (round, fault) in faults.into_iter().enumerate() {
        for (at, start) in WRITES.iter().enumerate() {
            proxy.calm();
            let key = format!("team/app-{round}-{at}");
            let body = state(7, 60_000);
            old.put(&key, &json!({ "state": body }));
            proxy.script(writes(start), [Some(fault)]);
            let done = old.adopt_with(&key, "lost", &["--dry-run"]);
            assert!(done.status.success(), "{}", said(&done));
            let name = format!("app-{round}-{at}");
            let done = old.adopt_with(&key, &name, &[]);
            assert!(done.status.success() && said(&done).contains(": adopted for"), "{start}: {}", said(&done));
            old.serves(&key, &name, body.as_bytes());
        }
    }
    assert_eq!(proxy::injected(test, [proxy]), (faults.len() * WRITES.len()) as u64);
}

#[test]
fn a_command_that_was_killed_at_any_write_is_run_again() {
    let test = "a_command_that_was_killed_at_any_write_is_run_again";
    let Some(old) = proxied(test) else { return };
    let proxy = old.world.server.proxy(0);
    // Before the write was done, after it, and a write that arrives when the command is long gone.
    let faults = [Fault::HoldAnswer(Duration::from_secs(3)), Fault::HoldRequest(Duration::from_secs(1))];
    let mut count = 0;
    for (round, fault) in faults.into_iter().enumerate() {
        for (at, start) in WRITES.iter().enumerate() {
            // Each write of that kind: an original in two parts, and the state's own.
            for nth in 0..if *start == "/v1/states/data/.versions/" { 3 } else { 1 } {
                proxy.calm();
                let name = format!("app-{round}-{at}-{nth}");
                let (key, body) = (format!("team/{name}"), state(7, 700_000));
                old.put(&key, &json!({ "state": body }));
                let script = std::iter::repeat_n(None, nth).chain([Some(fault)]);
                proxy.script(writes(start), script.collect::<Vec<_>>());
                let mut command = old.spawn(&key, &name);
                count += 1;
                held(&old, count);
                command.kill();
                // The late write may come between: then once more.
                let told = wait::until("it is adopted", || {
                    let done = old.adopt_with(&key, &name, &[]);
                    if done.status.success() { Ok(said(&done)) } else { Err(said(&done)) }
                });
                assert!(told.contains(": adopted for") || told.contains("already adopted"), "{told}");
                let again = old.must_of(&key, &name);
                assert!(again.contains("already adopted"), "{again}");
                old.serves(&key, &name, body.as_bytes());
            }
        }
    }
    assert_eq!(proxy::injected(test, [proxy]), count);
}
