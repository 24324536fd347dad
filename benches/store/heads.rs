//! What a head weighs with a short and a long history, and what that makes of a transition.

use std::{sync::Arc, time::Instant};

use tofustate::store::{EmbeddedKv, Head};

use crate::{
    budget,
    cycle::cycle,
    engine, micros,
    paced::Paced,
    runtime, state, states,
    table::{print, show, spread},
};

const SIZE: usize = 20_000;
const MEASURED: u64 = 200;

pub(crate) fn run() {
    let mut rows = vec![
        ["versions kept", "head, bytes", "inline bytes", "encode", "parse", "LOCK", "GET", "POST", "UNLOCK"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for versions in [1, 20, 200] {
        rows.push(runtime().block_on(measure(versions)));
    }
    print(&format!("The head with {SIZE} byte states, in memory; microseconds, median (min-max)"), &rows);
}

async fn measure(versions: u32) -> Vec<String> {
    let kv = Arc::new(Paced::new(Arc::new(EmbeddedKv::in_memory().unwrap()), false));
    let state = state(&engine(), kv.clone(), versions).await;
    let mut steps = [const { Vec::new() }; 4];
    let (mut encode, mut parse, mut bytes, mut inline) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let before = u64::from(versions) + 20;
    for number in 0..before + MEASURED {
        kv.next();
        let body = states::whole(2, number, SIZE);
        let taken = cycle(&state, number, &body).await;
        if number >= before {
            let head = state.head(&mut budget()).await.unwrap();
            let begin = Instant::now();
            let text = head.encode();
            encode.push(micros(begin.elapsed()));
            let begin = Instant::now();
            let read = Head::parse(&text).unwrap();
            parse.push(micros(begin.elapsed()));
            assert_eq!(read, *head);
            bytes.push(text.len() as f64);
            inline.push(head.inline_bytes() as f64);
            for (step, time) in steps.iter_mut().zip(taken) {
                step.push(micros(time));
            }
        }
        state.maintain().await.unwrap();
    }
    let mut row = vec![versions.to_string(), show(spread(bytes), 0), show(spread(inline), 0)];
    row.extend([encode, parse].into_iter().chain(steps).map(|figures| show(spread(figures), 0)));
    row
}
