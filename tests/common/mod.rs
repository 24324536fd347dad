//! What several test binaries use.

pub(crate) mod kv_conformance;
