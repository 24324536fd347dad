//! tofustate registers OpenTofu/Terraform state paths as Kubernetes resources and serves them over the `http` backend
//! protocol. See `ARCHITECTURE.md` for the layers and what must always be true.
//!
//! The state engine is usable as a library, over any [`store::Kv`]:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use tofustate::{
//!     store::{
//!         Budget, EmbeddedKv, Engine, EngineOptions, LockCall, Registration, Settings, StatePath, WriteCall, owners,
//!     },
//!     telemetry::EngineMetrics,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let kv = Arc::new(EmbeddedKv::in_memory()?);
//! let path = StatePath::parse("team-a/network")?;
//! let mut budget = Budget::new(Duration::from_secs(25));
//!
//! // A path is claimed before it is opened: one resource has it, whoever else asks.
//! let who = owners::Claimant {
//!     instance: "docs".into(),
//!     namespace: "team-a".into(),
//!     name: "network".into(),
//!     uid: None,
//! };
//! let claim = owners::claim(&*kv, &path, &who, false, &mut budget).await?;
//!
//! let engine = Engine::new(EngineOptions::default(), EngineMetrics::default());
//! let state = engine.open(Registration {
//!     path,
//!     kv,
//!     owner: who.owner(claim),
//!     mark: None,
//!     settings: Settings::default(),
//! });
//! state.register(&mut budget).await?;
//! assert!(state.read(&mut budget).await?.is_none(), "registered, never written");
//!
//! let lock = LockCall { info: br#"{"ID":"8c3a","Who":"ada@desk"}"#, identity: "token", ..LockCall::default() };
//! state.lock(lock, &mut budget).await?;
//! let body = br#"{"version":4,"serial":1,"lineage":"l","resources":[]}"#;
//! let call = WriteCall { lock: Some("8c3a"), identity: "token", ..WriteCall::default() };
//! let written = state.write(call, body, &mut budget).await?;
//! assert_eq!(written.version, Some(1));
//! state.unlock(br#"{"ID":"8c3a"}"#, "token", &mut budget).await?;
//!
//! let reader = state.read(&mut budget).await?.ok_or("no state")?;
//! assert_eq!(reader.read_to_end(&mut budget).await?, body);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok(())
//! # }
//! ```

pub mod cli;
pub mod controller;
pub mod crd;
pub mod http;
pub mod openbao;
pub mod private;
pub mod rate;
pub mod registry;
pub mod store;
pub mod telemetry;
