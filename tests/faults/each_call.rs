//! Each call of the store fails once, in every way; and each two calls that follow one another.

use crate::{
    scenario::Run,
    store::{Fault, Kind},
};

const ALL: &[Fault] = &[
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
        Fault::Before(Kind::Denied),
    ];
    for number in 1..=calls {
        for first in kinds {
            for second in kinds {
                run(&[(number, first), (number + 1, second)]);
            }
        }
    }
}
