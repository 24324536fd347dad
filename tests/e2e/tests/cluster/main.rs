//! What the operator leans on in a cluster, each part alone on a real API server and with the operator's own rights: tokens
//! kept as Secrets, heads told in the status, its rights, the admission policies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod admission;
mod annotations;
mod away;
mod keeper;
mod latency;
mod report;
mod rights;
mod tenancy;
mod world;
