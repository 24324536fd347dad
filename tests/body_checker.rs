//! The body checker against serde_json, on generated states, on damaged ones and on any bytes, cut anywhere. Single
//! bodies by value are with the checker.

use proptest::{collection::vec, option, prelude::*, sample::select};

#[path = "reference/body.rs"]
mod reference;

/// White space, mostly none.
fn blank() -> impl Strategy<Value = String> {
    prop_oneof![6 => Just(String::new()), 1 => "[ \n\r\t]{1,3}", 1 => Just(format!("\n{}", " ".repeat(18)))]
}

/// A string as written, good or nearly so.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z0-9/:.-]{0,40}",
        1 => "[^\\p{C}\"\\\\]{0,5}",
        1 => select(vec![r"\n", r#"\""#, r"\\", r"\/", r"\u0061", r"\u00E9", r"\ud83d\ude00", r"\ud800", r"\udc00"])
            .prop_map(str::to_owned),
    ];
    vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => text(),
        1 => select(vec!["true", "false", "null"]).prop_map(str::to_owned),
        2 => "-?(0|[1-9][0-9]{0,21})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
        1 => any::<u64>().prop_map(|n| n.to_string()),
    ]
}

fn object(key: impl Strategy<Value = String>, value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let entry = (blank(), key, blank(), blank(), value, blank());
    vec(entry.prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}")), 0..6)
        .prop_map(|entries| format!("{{{}}}", entries.join(",")))
}

fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(6, 40, 6, |inner| {
        let element = (blank(), inner.clone(), blank()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        prop_oneof![vec(element, 0..6).prop_map(|all| format!("[{}]", all.join(","))), object(text(), inner)]
    })
}

/// A key that counts, perhaps with an escape in it, or another.
fn key() -> impl Strategy<Value = String> {
    let known = ["serial", "lineage", "terraform_version", "resources", "encrypted_data", "encryption_version"];
    let known = (select(known.to_vec()), option::weighted(0.2, any::<prop::sample::Index>()));
    let known = known.prop_map(|(key, escaped)| match escaped.map(|at| at.index(key.len())) {
        Some(at) => format!("\"{}\\u{:04x}{}\"", &key[..at], u32::from(key.as_bytes()[at]), &key[at + 1..]),
        None => format!("\"{key}\""),
    });
    prop_oneof![8 => known, 1 => text()]
}

/// A body that is good but for what `serial` may be.
fn body() -> impl Strategy<Value = String> {
    let serial = prop_oneof![1 => Just(String::new()), 4 => any::<u64>().prop_map(|n| format!("\"serial\":{n},"))];
    (blank(), serial, object(key(), value()), blank()).prop_map(|(before, serial, object, after)| {
        let rest = object.trim_start_matches('{');
        let serial = if rest == "}" { serial.trim_end_matches(',') } else { &serial };
        format!("{before}{{{serial}{rest}{after}")
    })
}

/// What befalls a body on its way.
#[derive(Clone, Debug)]
enum Damage {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Cut(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = prop_oneof![
        3 => select(b"{}[]\",:\\ \n-+.0123456789eEutfn/".to_vec()),
        1 => 0..0x21u8,
        1 => any::<u8>(),
    ];
    let at = any::<prop::sample::Index>;
    prop_oneof![
        3 => (at(), byte.clone()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        3 => (at(), byte).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        2 => (at(), 1..4usize).prop_map(|(at, n)| Damage::Remove(at, n)),
        1 => (at(), 1..20usize).prop_map(|(at, n)| Damage::Repeat(at, n)),
        1 => at().prop_map(Damage::Cut),
    ]
}

fn damaged(body: &str, all: &[Damage]) -> Vec<u8> {
    let mut bytes = body.as_bytes().to_vec();
    for damage in all {
        let len = bytes.len();
        let place = |at: &prop::sample::Index| at.index(len.max(1)).min(len);
        match damage {
            Damage::Set(at, byte) => bytes.iter_mut().skip(place(at)).take(1).for_each(|b| *b = *byte),
            Damage::Insert(at, byte) => bytes.insert(place(at), *byte),
            Damage::Remove(at, n) => drop(bytes.drain(place(at)..(place(at) + n).min(len))),
            Damage::Repeat(at, n) => {
                let again = bytes[place(at)..(place(at) + n).min(len)].to_vec();
                bytes.extend(again);
            }
            Damage::Cut(at) => bytes.truncate(place(at)),
        }
    }
    bytes
}

fn hold(body: &[u8], sizes: &[usize]) -> Result<(), TestCaseError> {
    let whole = reference::check(body, &[]);
    prop_assert_eq!(reference::disagreement(body, &whole), None);
    prop_assert_eq!(&reference::check(body, &[1]), &whole, "byte by byte");
    prop_assert_eq!(&reference::check(body, sizes), &whole, "in pieces");
    Ok(())
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![0..4usize, 0..40usize], 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_states_are_judged_alike(body in body(), sizes in sizes()) {
        hold(body.as_bytes(), &sizes)?;
        // What the generator makes is JSON, so this is about what is accepted.
        let refused = reference::check(body.as_bytes(), &[]).err();
        prop_assert!(
            matches!(refused, None | Some(tofustate::store::BodyError::NoSerial | tofustate::store::BodyError::BadSerial)),
            "{refused:?}"
        );
    }

    #[test]
    fn damaged_states_are_judged_alike(body in body(), damage in vec(damage(), 1..4), sizes in sizes()) {
        hold(&damaged(&body, &damage), &sizes)?;
    }

    #[test]
    fn any_bytes_are_judged_alike(body in vec(any::<u8>(), 0..40), inside in any::<bool>(), sizes in sizes()) {
        let body = if inside { [b"{\"serial\":1,\"a\":\"", &body[..], b"\"}"].concat() } else { body };
        hold(&body, &sizes)?;
    }

    #[test]
    fn soups_of_json_are_judged_alike(body in "[{}\\[\\]\",:\\\\ 0-9eE.+tfnu-]{0,24}", sizes in sizes()) {
        hold(body.as_bytes(), &sizes)?;
        hold(format!("{{\"serial\":{body}}}").as_bytes(), &sizes)?;
        hold(format!("{{\"serial\":1,\"resources\":[{body}]}}").as_bytes(), &sizes)?;
    }

    #[test]
    fn numbers_are_judged_alike(number in "-?[0-9]{0,3}[0-9eE.+-]{0,5}", sizes in sizes()) {
        hold(format!("{{\"serial\":{number}}}").as_bytes(), &sizes)?;
        hold(format!("{{\"serial\":1,\"a\":{number}").as_bytes(), &sizes)?;
    }
}
