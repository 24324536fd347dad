//! The resource type `TofuStateBackend`: its fields, what they admit, and the CustomResourceDefinition that is installed.
//! No client code, and nothing that reads or writes a store.

mod admission;
pub mod annotations;
pub mod conditions;
mod definition;
mod duration;
mod error;
mod observed;
mod path;
mod policy;
mod quantity;
mod reference;
mod rules;
mod secrets;
mod settings;
mod spec;
mod status;

pub use admission::{Violation, admit, wrong_type};
pub use definition::{definition, yaml};
pub use duration::{DurationError, parse_duration};
pub use error::{FieldError, Invalid};
pub use observed::{
    Endpoints, Handled, HistoryEntry, LastHandled, LockStatus, OpenBaoStatus, StateStatus, event, outcome,
};
pub use path::{MAX_PATH, MAX_SEGMENTS, PathError, StatePath};
pub use policy::{ClientForceUnlock, DeletionPolicy, LockPolicy, Retention, StaleAction};
pub use quantity::{QuantityError, parse_quantity};
pub use reference::reference;
pub use secrets::{Access, AccessRole, DEFAULT_TOKEN_KEY, SecretKeyRef};
pub use settings::{LockSettings, RetentionSettings, Settings, is_label, is_subdomain};
pub use spec::{DEFAULT_MAX_SIZE, GROUP, TofuStateBackend, TofuStateBackendSpec, VERSION};
pub use status::{MAX_CLIENT_TEXT, MAX_HISTORY, TofuStateBackendStatus, clip, plain, shown};
