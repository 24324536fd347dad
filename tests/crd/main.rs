//! The CustomResourceDefinition: its shape, its defaults, and what it admits, next to what the Rust types and parsers
//! admit. Its CEL rules are evaluated by kube's implementation; no API server here:
//! `tests/e2e` asks one the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admission;
mod agreement;
mod cases;
mod rules;
mod schema;
mod status;
