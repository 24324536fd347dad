//! The resource type `TofuStateBackend`. No client code.

mod duration;
mod error;
mod path;
mod quantity;

pub use duration::{DurationError, parse_duration};
pub use error::{FieldError, Invalid};
pub use path::{MAX_PATH, MAX_SEGMENTS, PathError, StatePath};
pub use quantity::{QuantityError, parse_quantity};
