//! Where targets come from. Each mechanism gives target groups; so far there is the static one.
//!
//! ```
//! use model::Labels;
//!
//! let group = config::StaticGroup { targets: vec!["db:9100".into()], labels: Labels::from_pairs([("env", "prod")]) };
//! let groups = discovery::static_groups(&[group]);
//! assert_eq!(groups[0].targets[0].get("__address__"), Some("db:9100"));
//! ```

#![forbid(unsafe_code)]

use model::Labels;

/// The label that holds a target's host and port.
pub const ADDRESS: &str = "__address__";

/// Targets that were found together and share labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Which group it is among those of its job: a position for static ones.
    pub source: String,
    /// Labels of every target that does not have them itself.
    pub labels: Labels,
    /// Each target's own labels.
    pub targets: Vec<Labels>,
}

/// The groups that a configuration lists itself.
pub fn static_groups(configured: &[config::StaticGroup]) -> Vec<Group> {
    configured
        .iter()
        .enumerate()
        .map(|(index, group)| Group {
            source: index.to_string(),
            labels: group.labels.clone(),
            targets: group.targets.iter().map(|address| Labels::from_pairs([(ADDRESS, address.as_str())])).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_groups_keep_their_order_and_labels() {
        let labels = Labels::from_pairs([("a", "b")]);
        let groups = static_groups(&[
            config::StaticGroup { targets: vec!["x:1".into(), "y:2".into()], labels: labels.clone() },
            config::StaticGroup::default(),
        ]);
        assert_eq!(groups.len(), 2);
        assert_eq!((groups[0].source.as_str(), &groups[0].labels), ("0", &labels));
        assert_eq!(groups[0].targets.iter().map(|t| t.get(ADDRESS)).collect::<Vec<_>>(), [Some("x:1"), Some("y:2")]);
        assert_eq!(groups[1].targets, []);
    }
}
