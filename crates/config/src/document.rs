//! The file as it was read, for the status page.

/// A configuration's effective YAML.
#[derive(Clone, Debug, Default)]
pub(crate) struct Document {
    pub(crate) yaml: String,
}
