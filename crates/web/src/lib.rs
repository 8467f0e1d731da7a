//! The HTTP side: Prometheus's API, the server's own metrics, lifecycle, and the listeners.
//!
//! [`App`] holds what handlers need; [`serve`] runs the listeners until it is told to stop. Handlers
//! that compute or touch the store run on blocking threads, never on the I/O runtime, and each is
//! awaited by the request that asked for it: a client that goes away cancels its query.

#![forbid(unsafe_code)]

pub mod api;
mod app;
pub mod json;
pub mod links;
mod listen;
mod metrics;
mod page;
pub mod params;
pub mod queries;
mod respond;
mod routes;

pub use api::admin::Admin;
pub use api::explain::to_json as explanation_json;
pub use app::{App, AppOptions, BuildInfo, Lifecycle, ReloadRequest};
pub use listen::{Limits, serve};
pub use routes::router;
