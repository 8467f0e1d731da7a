//! Relabel rules
