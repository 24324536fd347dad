//! The resource type `TofuStateBackend`. No client code.

mod path;

pub use path::{MAX_PATH, MAX_SEGMENTS, PathError, StatePath};
