//! Everything that knows OpenBao: the connection and its settings, the active node, what answers mean, states as KV v2
//! entries. Nothing outside this folder does.

mod active;
mod address;
pub mod adopt;
mod answer;
mod call;
mod client;
mod clock;
mod control;
mod credential;
mod entry;
mod fault;
mod keeper;
mod kv;
mod login;
mod names;
mod pace;
mod policy;
mod request;
mod scoped;
mod settings;
pub mod setup;
mod stores;
mod tls;
mod token;
mod tokens;
mod wire;

pub use active::Tenure;
pub use address::Address;
pub use client::Bao;
pub use control::Control;
pub use credential::{Credential, CredentialError, ServiceAccount, read_token};
pub use fault::Fault;
pub use keeper::{FileKeeper, Keeper, KeeperError, Kept, Retired};
pub use kv::OpenBaoKv;
pub use login::Login;
pub use names::{BadName, Instance, Mount, PolicyName, is_resource};
pub use policy::{Policy, Rule};
pub use scoped::{Leads, Replica, ScopedToken, Seen, alone};
pub(crate) use settings::env;
pub use settings::{Settings, SettingsError};
pub use stores::OpenBaoStores;
pub use token::{BadToken, Token, TokenSource};
pub use tokens::{Life, Minted, Tokens};
