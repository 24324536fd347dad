//! The Helm chart, with the real helm and a real API server: what it refuses, what the API server takes, what the operator may
//! do with it, what the policies refuse, and what an upgrade and an uninstall keep.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod admission;
mod container;
mod copies;
mod foreign;
mod ingress;
mod kubelet;
mod life;
mod names;
mod network;
mod notes;
mod nulls;
mod rendered;
mod rights;
mod several;
mod values;
mod variables;
mod watched;
mod world;
