//! Numbers that nobody can foretell, handed in.

use std::hash::{BuildHasher as _, RandomState};

/// Gives numbers of which each bit is as likely set as not.
pub trait Random: Send + Sync {
    /// The next one.
    fn next(&self) -> u64;
}

/// Numbers from the machine's randomness: for names, not for secrets.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn next(&self) -> u64 {
        RandomState::new().hash_one(0)
    }
}
