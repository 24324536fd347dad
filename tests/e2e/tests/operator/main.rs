//! `tofustate operator` in a real cluster, on a real OpenBao, with real runs: what becomes of a resource, from its creation
//! to its deletion.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod alone;
mod apart;
mod asked;
mod attacks;
mod begin;
mod claims;
mod early;
mod elsewhere;
mod end;
mod faults;
mod guarded;
mod kubectl;
mod limits;
mod react;
mod record;
mod refusing;
mod replicas;
mod restored;
mod storm;
mod world;
