//! The body of LOCK and UNLOCK.

/// What OpenTofu sends with LOCK and UNLOCK; each `number` has an id of its own.
pub(crate) fn lock_info(number: u64) -> (String, String) {
    let id = format!("6f1e8c1a-0000-4d7e-9b1a-{number:012x}");
    let info = format!(
        r#"{{"ID":"{id}","Operation":"OperationTypeApply","Info":"","Who":"runner@ci-7f9c6d5b8-x2x4q","Version":"1.12.6","Created":"2026-11-21T08:42:11.052417Z","Path":""}}"#
    );
    (id, info)
}
