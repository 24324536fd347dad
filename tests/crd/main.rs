//! The CustomResourceDefinition: its shape, its defaults, and what it admits, next to what the Rust types and parsers
//! admit. Its CEL rules are evaluated by kube's implementation; no API server here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admission;
mod agreement;
mod rules;
mod schema;
mod status;
