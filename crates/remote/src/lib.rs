//! Remote write receiver
