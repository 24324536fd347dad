//! `examples/gitops`, run: rendered with Kustomize and helm, the health of real resources as Argo CD's Lua and Flux's library
//! read it, and the Job's own script as a run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod health;
mod rendered;
mod run;
mod world;
