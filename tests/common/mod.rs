//! What several test binaries use.

pub(crate) mod disk;
pub(crate) mod kv_conformance;
