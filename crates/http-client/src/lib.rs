//! An HTTP client made from the settings of a configuration
