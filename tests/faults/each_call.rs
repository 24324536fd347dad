//! Each call of the store fails once, in every way; and each two calls that follow one another.

use tofustate::store::{
    StatePath,
    owners::{ClaimError, Claimant, Leftover, claim, raise, release},
};

use crate::{
    scenario::{Run, budget},
    store::{Fault, Kind, PATH, Store},
};

pub(crate) const ALL: &[Fault] = &[
    Fault::Before(Kind::Unavailable),
    Fault::Before(Kind::Other),
    Fault::Before(Kind::TooLarge),
    Fault::Before(Kind::Denied),
    Fault::Before(Kind::Gone),
    Fault::After(Kind::Unavailable),
    Fault::After(Kind::Other),
    Fault::Late(Kind::Unavailable, 1),
    Fault::Late(Kind::Other, 2),
    Fault::Silent,
    Fault::DoneAndSilent,
    Fault::Twice,
    Fault::Overtaken,
    Fault::Clock(-3_600),
    Fault::Clock(366 * 24 * 3_600),
    Fault::Suspended,
    Fault::Generation,
];

/// Runs the whole with these faults; answers how many calls of the store it took.
fn run(faults: &[(usize, Fault)]) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut run = Run::new();
        for (number, fault) in faults {
            run.store.fail(*number, *fault);
        }
        if let Err(fault) = run.finish(0).await {
            panic!("with {faults:?}: {fault}");
        }
        run.store.calls()
    })
}

#[test]
fn any_one_call_may_fail_in_any_way() {
    let calls = run(&[]);
    assert!((50..200).contains(&calls), "{calls}");
    for number in 1..=calls {
        for fault in ALL {
            run(&[(number, *fault)]);
        }
    }
}

#[test]
fn any_two_calls_may_fail_one_after_the_other() {
    let calls = run(&[]);
    let kinds = [
        Fault::Before(Kind::Unavailable),
        Fault::After(Kind::Unavailable),
        Fault::Late(Kind::Unavailable, 3),
        Fault::Overtaken,
    ];
    for number in 1..=calls {
        for first in kinds {
            for second in kinds {
                run(&[(number, first), (number + 1, second)]);
            }
        }
    }
}

/// Asks until it is done.
async fn insist<T, F: Future<Output = Result<T, ClaimError>>>(call: impl Fn() -> F) -> T {
    for _ in 0..3 {
        match call().await {
            Ok(done) => return done,
            Err(ClaimError::Store { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    call().await.unwrap()
}

/// A path that is claimed, raised, given up, and claimed by another. Answers the calls of the store.
fn claims(faults: &[(usize, Fault)]) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (store, path) = (Store::new(), StatePath::parse(PATH).unwrap());
        for (number, fault) in faults {
            store.fail(*number, *fault);
        }
        let who = |name: &str| Claimant {
            instance: "test".into(),
            namespace: "team".into(),
            name: name.into(),
            uid: Some("u".into()),
        };
        let (kv, path, a, b) = (&*store, &path, who("a"), who("b"));
        assert_eq!(insist(async || claim(kv, path, &a, false, &mut budget()).await).await, 1);
        assert_eq!(insist(async || raise(kv, path, &a, 4, &mut budget()).await).await, 5);
        insist(async || release(kv, path, &a, 5, Leftover::State, &mut budget()).await).await;
        assert_eq!(insist(async || claim(kv, path, &b, true, &mut budget()).await).await, 6, "{faults:?}");
        let late = release(kv, path, &a, 5, Leftover::Nothing, &mut budget()).await;
        assert!(!matches!(late, Ok(())), "{faults:?}: a release of before took the path");
        store.calls()
    })
}

#[test]
fn a_claim_survives_any_two_faults() {
    let calls = claims(&[]);
    for number in 1..=calls {
        for first in ALL {
            claims(&[(number, *first)]);
            for second in ALL {
                claims(&[(number, *first), (number + 1, *second)]);
            }
        }
    }
}
