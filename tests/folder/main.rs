//! A folder of manifests as the registry, over the embedded store: what is served after each change of the folder, of the
//! store and of the data folder.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod manifests;
mod restart;
mod secrets;
mod store;
mod world;
