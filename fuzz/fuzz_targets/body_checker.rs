//! Any body, cut as the input's first bytes say: the same result as uncut, and serde_json agrees.

#![no_main]

#[path = "../../tests/reference/body.rs"]
mod reference;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (sizes, body) = data.split_at_checked(3).unwrap_or((data, &[]));
    let sizes: Vec<usize> = sizes.iter().map(|size| usize::from(*size)).collect();

    let whole = reference::check(body, &[]);
    assert_eq!(reference::check(body, &sizes), whole, "cut at {sizes:?}");
    assert_eq!(reference::check(body, &[1]), whole, "byte by byte");
    assert_eq!(reference::disagreement(body, &whole), None);
});
