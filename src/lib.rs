//! tofustate registers OpenTofu/Terraform state paths as Kubernetes resources and serves them over the `http` backend
//! protocol.

pub mod cli;
pub mod crd;
pub mod redacted;
pub mod store;
pub mod telemetry;
