//! Target groups
