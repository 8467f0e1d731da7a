//! Relabel rules: each looks at some labels of a series or target and drops it or changes its labels.
//!
//! A [`Rule`] is made, checked, from a [`RuleSpec`] of plain fields (what stands in the
//! configuration), and [`process`] runs rules in order over a [`LabelsBuilder`].
//!
//! ```
//! use model::LabelsBuilder;
//! use relabel::{NameScheme, Rule, RuleSpec, process};
//!
//! let spec = RuleSpec { source_labels: Some(vec!["a".into()]), target_label: Some("b".into()), ..RuleSpec::default() };
//! let rule = Rule::new(spec, NameScheme::Utf8)?;
//! let mut labels = LabelsBuilder::new();
//! labels.set("a", "1");
//! assert!(process(&mut labels, &[rule]));
//! assert_eq!(labels.get("b"), Some("1"));
//! # Ok::<(), relabel::Error>(())
//! ```

#![forbid(unsafe_code)]

mod case;
mod process;
mod rule;

pub use process::process;
pub use rule::{Action, Error, NameScheme, Rule, RuleSpec};
