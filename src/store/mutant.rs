//! Seeded bugs, to show that the tests would see a real one. Without the feature `mutants` every question answers
//! `false` at compile time.

/// The bugs, by the name that `TOFUSTATE_MUTANT` takes.
pub const ALL: &[&str] = &[
    "no-cas",
    "no-operation-id",
    "fresh-id-each-attempt",
    "head-before-parts",
    "pre-apply-version-pruned",
    "sweep-without-age",
    "head-deleted",
    "released-ids-forgotten",
    "answer-from-cached-head",
    "parts-deleted-after-cas",
    "lost-head-made-anew",
    "root-deleted-while-needed",
];

/// Whether this bug is switched on.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub(crate) const fn is(_name: &str) -> bool {
    false
}

/// Whether this bug is switched on.
#[cfg(feature = "mutants")]
pub(crate) fn is(name: &str) -> bool {
    static ON: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("TOFUSTATE_MUTANT").ok());
    debug_assert!(ALL.contains(&name), "unknown mutant {name}");
    ON.as_deref() == Some(name)
}
