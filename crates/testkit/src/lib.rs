//! For tests only: a naive store, a simulated clock, faulty files, misbehaving targets

pub mod disk;
pub mod store;
