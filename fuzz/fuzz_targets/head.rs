//! Any entry: what reads as a head is one, and reads the same after it was written.

#![no_main]

use tofustate::store::Head;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(head) = Head::parse(text) else { return };
    let written = head.encode();
    let again = Head::parse(&written);
    assert_eq!(again.as_ref(), Ok(&head), "{written}");
    assert_eq!(again.map(|again| again.encode()).as_deref(), Ok(&*written));

    // What every reader asks of it.
    assert_eq!(head.current.is_some(), head.current().is_some());
    let _ = (head.inline_bytes(), head.owner.to_string());
    for version in &head.versions {
        assert_eq!(head.version(version.number), Some(version));
        let object = version.body.object();
        assert!(object.is_none_or(|object| head.names(&object.name) && !head.trashed(&object.name)));
    }
});
