//! Remote write, the receiving side: what arrives in a request becomes a batch for the store.
//!
//! Nothing here knows HTTP or waits for anything but the store: [`Receiver::write`] takes the two
//! headers that matter and the body, and says what to answer.

#![forbid(unsafe_code)]

mod cache;
mod headers;
mod histogram;
mod message;
mod message2;
mod receiver;
mod space;
mod version2;
mod wire;

pub use headers::Version;
pub use receiver::{Options, Receiver, Response, Stats};
