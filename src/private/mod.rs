//! Files that only their owner may read: tokens, and records of what was seen.

mod file;
mod folder;

pub use file::{NotPrivate, read, read_mounted, write};
pub use folder::PrivateFolder;
