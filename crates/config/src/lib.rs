//! The typed prometheus.yml
