//! Points and spans of time, both in milliseconds, as Prometheus stores them.

use std::ops::{Add, Sub};

/// A point in time: milliseconds since the Unix epoch, may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Timestamp(pub i64);

/// A span of time in milliseconds, may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Millis(pub i64);

impl Timestamp {
    /// The earliest point that can be said.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest point that can be said.
    pub const MAX: Self = Self(i64::MAX);
}

impl Sub for Timestamp {
    type Output = Millis;
    /// Saturates: the distance between the ends of time is as far as a span reaches.
    fn sub(self, other: Self) -> Millis {
        Millis(self.0.saturating_sub(other.0))
    }
}

impl Add<Millis> for Timestamp {
    type Output = Self;
    fn add(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Millis> for Timestamp {
    type Output = Self;
    fn sub(self, span: Millis) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}
