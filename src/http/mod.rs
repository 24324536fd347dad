//! The HTTP backend: the OpenTofu `http` protocol for registered paths, and the admin listener. Knows neither the
//! controller nor a Kubernetes client.

mod admin;
mod auth;
mod body;
mod delete;
mod idle;
mod lock;
mod read;
mod reply;
mod router;
mod rows;
mod server;
mod target;
mod throttle;
mod tls;
mod write;

pub use admin::{Gates, admin_router};
pub use body::BodyTimes;
pub use router::{App, HttpOptions, router};
pub use rows::{LockRow, StateRow};
pub(crate) use server::MAX_WAITING;
pub use server::{ServeError, ServerOptions, ServerTimes, serve};
pub use throttle::Rate;
pub use tls::{TlsError, TlsFiles};
