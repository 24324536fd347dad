//! The operator: from a TofuStateBackend to an owner entry, a policy, a token, a connection Secret and a status. The stages
//! are observe, validate, plan, apply, status; `conditions`, `head` and `outputs` are pure.

pub mod conditions;
pub mod head;
pub mod outputs;
