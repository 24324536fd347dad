//! Bodies by value, every cutting of them, and the bound on memory. The comparison with another parser is
//! `tests/body_checker.rs`.

use super::*;

const REAL: &str = concat!(
    "{\n  \"version\": 4,\n  \"terraform_version\": \"1.12.6\",\n  \"serial\": 17,\n",
    "  \"lineage\": \"4ccf0dd0-306a-1ce6-33d9-10574069e7e0\",\n",
    "  \"outputs\": {\"größe\": {\"value\": -1.5e+3, \"type\": \"number\"}},\n",
    "  \"resources\": [\n    {\"instances\": [{\"attributes\": {\"a\": \"\\\"日本\\u00e9\\n\", \"b\": [true, false, null]}}]},\n",
    "    {\"serial\": \"nested\", \"lineage\": [], \"resources\": [1, 2, 3]}\n  ],\n  \"check_results\": null\n}\n",
);

fn check(pieces: &[&[u8]]) -> Result<StateFacts, BodyError> {
    let mut checker = Checker::new();
    for piece in pieces {
        checker.push(piece)?;
    }
    checker.finish()
}

fn whole(body: impl AsRef<[u8]>) -> Result<StateFacts, BodyError> {
    check(&[body.as_ref()])
}

/// The offset of a body that is not JSON.
#[track_caller]
fn not_json(body: impl AsRef<[u8]>) -> u64 {
    match whole(body) {
        Err(BodyError::NotJson { offset, .. }) => offset,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_real_state_tells_its_facts() {
    let facts = StateFacts {
        serial: 17,
        lineage: Some("4ccf0dd0-306a-1ce6-33d9-10574069e7e0".into()),
        tool_version: Some("1.12.6".into()),
        resources: Some(2),
        encrypted: false,
    };
    assert_eq!(whole(REAL), Ok(facts));
    assert_eq!(whole(r#"{"serial":0}"#), Ok(StateFacts::default()));
    assert_eq!(whole(" \r\n\t{ \"serial\" : 5 } \r\n\t").unwrap().serial, 5);
    assert_eq!(whole(r#"{"serial":18446744073709551615}"#).unwrap().serial, u64::MAX);
}

#[test]
fn an_encrypted_state_is_seen_as_one() {
    let encrypted = |body: &str| whole(body).unwrap().encrypted;
    assert!(encrypted(
        r#"{"serial":1,"lineage":"x","meta":{"k":"v"},"encrypted_data":"QUJD","encryption_version":"v0"}"#
    ));
    assert!(encrypted(r#"{"encryption_version":"v0","encrypted_data":"","version":4,"resources":[],"serial":1}"#));
    assert!(!encrypted(r#"{"serial":1,"encrypted_data":"QUJD"}"#));
    assert!(!encrypted(r#"{"serial":1,"encryption_version":"v0"}"#));
    assert!(!encrypted(r#"{"serial":1,"a":{"encrypted_data":"QUJD","encryption_version":"v0"}}"#));
}

#[test]
fn keys_count_whatever_way_they_are_written() {
    assert_eq!(whole(r#"{"seri\u0061l":3,"\u006CINEAGE":1,"l\u0069neage":"x"}"#).unwrap().lineage, Some("x".into()));
    for other in
        [r#"{"Serial":3}"#, r#"{"serial ":3}"#, r#"{"seria":3}"#, r#"{"serial\u0000":3}"#, r#"{"a":{"serial":3}}"#]
    {
        assert_eq!(whole(other), Err(BodyError::NoSerial), "{other}");
    }
    let long = format!(r#"{{"encryption_version{}":1,"encrypted_data":1,"serial":1}}"#, "x".repeat(100));
    assert!(!whole(long).unwrap().encrypted);
}

#[test]
fn the_last_of_a_key_counts() {
    assert_eq!(whole(r#"{"serial":3,"serial":4}"#).unwrap().serial, 4);
    assert_eq!(whole(r#"{"serial":-3,"serial":"x","serial":4}"#).unwrap().serial, 4);
    assert_eq!(whole(r#"{"serial":3,"serial":null}"#), Err(BodyError::BadSerial));
    let facts = whole(r#"{"serial":1,"lineage":"a","lineage":1,"terraform_version":"a","terraform_version":"b"}"#);
    assert_eq!(facts.as_ref().unwrap().lineage, None);
    assert_eq!(facts.unwrap().tool_version, Some("b".into()));
    assert_eq!(whole(r#"{"resources":[1,2],"resources":[3],"serial":1}"#).unwrap().resources, Some(1));
    assert_eq!(whole(r#"{"resources":[1,2],"resources":{},"serial":1}"#).unwrap().resources, None);
}

#[test]
fn resources_are_counted_at_the_top_only() {
    let resources = |value: &str| whole(format!(r#"{{"resources":{value},"serial":1,"x":[0,0]}}"#)).unwrap().resources;
    assert_eq!(resources("[]"), Some(0));
    assert_eq!(resources("[ [1,2,[3]] , {\"a\":[1,2]}, \"x\", null, -1, 0, 12 ]"), Some(7));
    for other in ["{\"a\":1}", "\"[]\"", "null", "3"] {
        assert_eq!(resources(other), None, "{other}");
    }
}

#[test]
fn captured_strings_are_unescaped_and_cut() {
    let lineage = |text: &str| whole(format!(r#"{{"lineage":"{text}","serial":1}}"#)).unwrap().lineage.unwrap();
    assert_eq!(lineage(r#"\"\\\/\b\f\n\r\t\u00E9\ud83d\ude00é"#), "\"\\/\u{8}\u{c}\n\r\t\u{e9}\u{1f600}é");
    assert_eq!(lineage(r"a\ud800b\udc00c\ud800\ud83d\ude00\ud800"), "a\u{fffd}b\u{fffd}c\u{fffd}\u{1f600}\u{fffd}");
    assert_eq!(lineage(r"\ud800\n"), "\u{fffd}\n");
    assert_eq!(lineage(&"é".repeat(256)), "é".repeat(256));
    assert_eq!(lineage(&"é".repeat(257)), "é".repeat(256));
    assert_eq!(lineage(&r"\ud83d\ude00".repeat(300)), "\u{1f600}".repeat(256));
}

#[test]
fn a_serial_is_an_unsigned_64_bit_integer() {
    let bad = [
        "-1",
        "-0",
        "1.0",
        "1e3",
        "1E0",
        "0.0",
        "0e1",
        "18446744073709551616",
        "99999999999999999999999",
        "\"1\"",
        "null",
        "true",
        "{}",
        "[1]",
    ];
    for serial in bad {
        assert_eq!(whole(format!(r#"{{"serial":{serial}}}"#)), Err(BodyError::BadSerial), "{serial}");
    }
    assert_eq!(whole("{}"), Err(BodyError::NoSerial));
}

#[test]
fn what_is_no_state_is_refused() {
    for empty in ["", " ", "\n\r\t "] {
        assert_eq!(whole(empty), Err(BodyError::Empty), "{empty:?}");
    }
    for other in ["[]", "[1,", "null", "true", "false", "\"x\"", "0", "-1", " 12"] {
        assert_eq!(whole(other), Err(BodyError::NotObject), "{other}");
    }
    let body = r#"{"serial":1}"#;
    for (after, offset) in [("{}", 12), (" x", 13), ("\n\n}", 14), (",", 12), ("\0", 12)] {
        assert_eq!(whole(format!("{body}{after}")), Err(BodyError::TrailingData { offset }), "{after:?}");
    }
    for cut in 1..REAL.trim_end().len() {
        assert_eq!(whole(&REAL.as_bytes()[..cut]), Err(BodyError::Truncated), "{cut}");
    }
}

#[test]
fn what_is_no_json_is_refused() {
    for (body, at) in [
        ("\u{feff}{}", 0),
        ("<html>", 0),
        ("}", 0),
        ("{,}", 1),
        ("{1:2}", 1),
        ("{'a':2}", 1),
        (r#"{"a" 1}"#, 5),
        (r#"{"a":}"#, 5),
        (r#"{"a":1,}"#, 7),
        (r#"{"a":1 "b":2}"#, 7),
        (r#"{"a":1]"#, 6),
        (r#"{"a":[1}"#, 7),
        (r#"{"a":[1,]}"#, 8),
        (r#"{"a":[,1]}"#, 6),
        (r#"{"a":é}"#, 5),
        (r#"{"a":tru}"#, 8),
        (r#"{"a":trUe}"#, 7),
        (r#"{"a":nulll}"#, 9),
        (r#"{"a":NaN}"#, 5),
        (r#"{"a":/**/1}"#, 5),
        ("{\"a\":\u{b}1}", 5),
        ("{\"a\":\u{a0}1}", 5),
    ] {
        assert_eq!(not_json(body), at, "{body}");
    }
    for (number, at) in [
        ("+1", 0),
        ("01", 1),
        ("-01", 2),
        (".5", 0),
        ("1.", 2),
        ("1.e1", 2),
        ("-", 1),
        ("-a", 1),
        ("1e", 2),
        ("1e+", 3),
        ("1e+-1", 3),
        ("1ee1", 2),
        ("1.2.3", 3),
        ("0x1", 1),
        ("1_0", 1),
        ("--1", 1),
        ("1e1.5", 3),
    ] {
        assert_eq!(not_json(format!("{{\"a\":{number}}}")), 5 + at, "{number}");
    }
    for number in ["0", "-0", "10", "0.50", "-1.25", "0e0", "1E+5", "1e-05", "123456789012345678901234567890"] {
        assert_eq!(whole(format!("{{\"a\":{number}}}")), Err(BodyError::NoSerial), "{number}");
    }
}

#[test]
fn strings_have_their_own_rules() {
    for (text, at) in [(r"\x", 1), (r"\'", 1), (r"\U0041", 1), (r"\u00g1", 4), (r"\u12", 4), ("\\\n", 1)] {
        assert_eq!(not_json(format!("{{\"a\":\"{text}\"}}")), 6 + at, "{text}");
    }
    for control in 0..0x20 {
        // Wherever it stands to the eight bytes that are looked at together.
        for before in 0..70 {
            let text = format!("{{\"a\":\"{}{}\"}}", "x".repeat(before), char::from(control));
            assert_eq!(not_json(text), 6 + before as u64, "{control}");
        }
    }
    assert_eq!(whole("{\"a\":\"\u{7f}\u{80}\u{2028}\\ud800\\uDFFF\"}"), Err(BodyError::NoSerial));
}

#[test]
fn bytes_that_are_no_utf8_are_refused_where_they_stand() {
    let head = b"{\"a\":\"\xC3\xA9";
    for bad in [
        &b"\xFF"[..],
        b"\xC3\x28",
        b"\xC0\x80",
        b"\xED\xA0\x80",
        b"\xF4\x90\x80\x80",
        b"\x80",
        b"\xE2\x82\"",
        b"\xF0\x9F\x98x",
    ] {
        let body = [head, bad, b"\"}"].concat();
        assert_eq!(whole(&body), Err(BodyError::InvalidUtf8 { offset: 8 }), "{bad:?}");
    }
    assert_eq!(whole(b"\xFF\xFE{\0"), Err(BodyError::InvalidUtf8 { offset: 0 }));
    // The end inside a character that can stand there, and inside one that cannot.
    assert_eq!(whole(b"{\"a\":\"\xE2\x82"), Err(BodyError::Truncated));
    assert_eq!(whole(b"{\"a\":\xE2\x82"), Err(BodyError::InvalidUtf8 { offset: 5 }));
    // The first fault is told.
    assert_eq!(not_json(b"{x\xFF"), 1);
}

#[test]
fn every_cutting_has_the_same_result() {
    let encrypted =
        r#" {"serial":1,"lineage":"\ud83d\ude00日","meta":{},"encrypted_data":"QQ==","encryption_version":"v0"}"#;
    let bodies: [&[u8]; 12] = [
        REAL.as_bytes(),
        encrypted.as_bytes(),
        br#"{"seri\u0061l":18446744073709551615,"resources":[0,[],{},"",true]}  "#,
        br#"{"serial":18446744073709551616}"#,
        br#"{"serial":1} {"serial":2}"#,
        br#"{"serial":12,"a":[1,2,}"#,
        "{\"lineage\":\"日本\u{1f600}\u{1}".as_bytes(),
        b"\xEF\xBB\xBF{}",
        b"{\"a\":\"\xE2\x82\"}",
        b"{\"a\":\"\xE2\x82",
        b"{\"a\": \xF0\x9F\x98",
        b"[1]",
    ];
    for body in bodies {
        let expected = whole(body);
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(check(&bytes), expected);
        for first in 0..=body.len() {
            let (a, rest) = body.split_at(first);
            for second in 0..=rest.len().min(80) {
                let (b, c) = rest.split_at(second);
                assert_eq!(check(&[a, b, b"", c]), expected, "cut at {first} and {second} more");
            }
        }
    }
}

#[test]
fn a_failed_check_stays_failed() {
    let mut checker = Checker::new();
    let failed = Err(BodyError::NotJson { offset: 1, found: "a letter" });
    assert_eq!(checker.push(b"{x"), failed);
    assert_eq!(checker.push(b"\xFF"), failed);
    assert_eq!(checker.push(b""), failed);
    assert_eq!(checker.finish(), failed.map(|()| StateFacts::default()));
}

#[test]
fn nesting_ends_at_ten_thousand() {
    // The outer object is one.
    let nested = |open: &str, close: &str, times: usize| {
        format!("{{\"serial\":1,\"a\":{}0{}}}", open.repeat(times), close.repeat(times))
    };
    for (open, close, each) in [("[", "]", 1), ("{\"\":", "}", 1), ("[{\"a\":", "}]", 2)] {
        let most = (MAX_DEPTH - 1) / each;
        assert_eq!(whole(nested(open, close, most)).map(|f| f.serial), Ok(1), "{open}");
        assert_eq!(whole(nested(open, close, most + 1)), Err(BodyError::TooDeep), "{open}");
    }
    // Each level is closed by its own kind.
    let crossed = nested("[{\"a\":", "}]", 4_000).replacen("}]}]", "}]]}", 1);
    assert!(matches!(whole(crossed), Err(BodyError::NotJson { .. })));
    assert_eq!(whole("[".repeat(100_000)), Err(BodyError::NotObject));
    assert_eq!(whole(nested("[", "", 100_000)), Err(BodyError::TooDeep));
}

/// Feeds `piece` so many times between two ends; the heap stays small all the while.
fn stream(begin: &str, piece: &[u8], times: usize, end: &str) -> Result<StateFacts, BodyError> {
    let mut checker = Checker::new();
    checker.push(begin.as_bytes())?;
    for _ in 0..times {
        checker.push(piece)?;
        assert!(checker.heap_bytes() < 8 * 1024, "{} bytes", checker.heap_bytes());
    }
    checker.push(end.as_bytes())?;
    checker.finish()
}

#[test]
fn memory_is_bounded_whatever_the_body() {
    assert!(size_of::<Checker>() < 512, "{}", size_of::<Checker>());
    let mebibyte = vec![b'x'; 1 << 20];
    let facts = stream("{\"serial\":1,\"a\":\"", &mebibyte, 100, "\"}").unwrap();
    assert_eq!(facts.serial, 1);
    let facts = stream("{\"serial\":1,\"lineage\":\"", &mebibyte, 100, "\"}").unwrap();
    assert_eq!(facts.lineage, Some("x".repeat(256)));
    let facts = stream("{\"serial\":1,\"", &mebibyte, 100, "\":2}").unwrap();
    assert_eq!(facts.serial, 1);
    let digits = vec![b'7'; 1 << 20];
    assert_eq!(stream("{\"serial\":", &digits, 10, "}"), Err(BodyError::BadSerial));
    let escapes = r"\ud83d\ude00\n".repeat(1 << 16);
    let facts = stream("{\"serial\":1,\"lineage\":\"", escapes.as_bytes(), 10, "\"}").unwrap();
    assert_eq!(facts.lineage.unwrap().chars().count(), 256);
    assert_eq!(stream("", &b" \n".repeat(1 << 19), 20, ""), Err(BodyError::Empty));
}

#[test]
fn a_million_keys_and_elements_are_streamed() {
    let facts = stream("{\"serial\":1,", &b"\"key\":\"value\",".repeat(1000), 1000, "\"serial\":2}").unwrap();
    assert_eq!(facts.serial, 2);
    let facts = stream("{\"serial\":1,\"resources\":[", &b"{},".repeat(1000), 1000, "{}]}").unwrap();
    assert_eq!(facts.resources, Some(1_000_001));
}

/// Prints megabytes a second: `cargo test --release --lib check::tests::throughput -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, worth something in a release build only"]
fn throughput() {
    let resource = concat!(
        "    {\n      \"mode\": \"managed\",\n      \"type\": \"aws_instance\",\n      \"name\": \"node\",\n",
        "      \"provider\": \"provider[\\\"registry.opentofu.org/hashicorp/aws\\\"]\",\n      \"instances\": [\n        {\n",
        "          \"index_key\": 17,\n          \"schema_version\": 1,\n          \"attributes\": {\n",
        "            \"arn\": \"arn:aws:ec2:eu-central-1:123456789012:instance/i-0123456789abcdef0\",\n",
        "            \"enabled\": true,\n            \"size\": 8,\n            \"password_data\": null,\n",
        "            \"security_groups\": [\n              \"sg-0a1b2c3d\",\n              \"sg-4e5f6a7b\"\n            ],\n",
        "            \"policy\": \"{\\\"Version\\\":\\\"2012-10-17\\\",\\\"Statement\\\":[{\\\"Effect\\\":\\\"Allow\\\"}]}\"\n",
        "          },\n          \"sensitive_attributes\": []\n        }\n      ]\n    }",
    );
    let resources = vec![resource; 60_000].join(",\n");
    let body = format!("{{\n  \"version\": 4,\n  \"serial\": 17,\n  \"resources\": [\n{resources}\n  ]\n}}\n");
    let dense: String = body.replace("  ", "").replace('\n', "");
    for (kind, body) in [("indented", body), ("compact", dense)] {
        let rate = (0..5).map(|_| {
            let start = std::time::Instant::now();
            let pieces: Vec<&[u8]> = body.as_bytes().chunks(16 * 1024).collect();
            assert_eq!(check(&pieces).unwrap().resources, Some(60_000));
            body.len() as f64 / 1e6 / start.elapsed().as_secs_f64()
        });
        println!("{kind}: {:.0} MB/s of {} bytes", rate.fold(0.0, f64::max), body.len());
    }
}
