//! What a target says of its metric families, for `/api/v1/targets/metadata`.
//!
//! Families come in the same order in each scrape, so the next one is looked for where it was last time; the map is
//! asked only after a surprise. Readers copy: the lock is held for a line or for a copy, never for a scrape.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{Metadata, MetricType};

/// For how many good scrapes a family that vanished is still known.
const KEPT_SCRAPES: u64 = 10;

/// The families of one target.
#[derive(Debug, Default)]
pub struct MetadataStore(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    families: Vec<Family>,
    by_name: HashMap<Box<str>, usize, foldhash::fast::RandomState>,
    /// The family of the last line.
    last: usize,
    scrape: u64,
}

#[derive(Debug)]
struct Family {
    name: Box<str>,
    metadata: Metadata,
    last_scrape: u64,
}

impl MetadataStore {
    /// A `# TYPE` line.
    pub fn set_type(&self, name: &str, kind: MetricType) {
        self.state().family(name).kind = kind;
    }

    /// A `# HELP` line.
    pub fn set_help(&self, name: &str, text: &str) {
        replace(&mut self.state().family(name).help, text);
    }

    /// A `# UNIT` line.
    pub fn set_unit(&self, name: &str, unit: &str) {
        replace(&mut self.state().family(name).unit, unit);
    }

    /// A scrape has ended. After a good one, families that it and those before it did not have are forgotten.
    pub fn finish(&self, good: bool) {
        let mut state = self.state();
        if good {
            state.forget_old();
        }
        state.scrape += 1;
        state.last = 0;
    }

    /// All families.
    pub fn list(&self) -> Vec<(String, Metadata)> {
        self.state().families.iter().map(|family| (family.name.to_string(), family.metadata.clone())).collect()
    }

    /// How many families there are, and the bytes of what they say.
    pub fn size(&self) -> (u64, u64) {
        let state = self.state();
        let bytes = |family: &Family| family.metadata.help.len() + family.metadata.unit.len() + family.metadata.kind.as_str().len();
        (state.families.len() as u64, state.families.iter().map(bytes).sum::<usize>() as u64)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is complete in itself: after a panic elsewhere the state is still good.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn family(&mut self, name: &str) -> &mut Metadata {
        let near = [self.last, self.last + 1].into_iter().find(|at| self.families.get(*at).is_some_and(|f| *f.name == *name));
        let at = near.or_else(|| self.by_name.get(name).copied()).unwrap_or_else(|| {
            self.families.push(Family { name: name.into(), metadata: Metadata::default(), last_scrape: 0 });
            self.by_name.insert(name.into(), self.families.len() - 1);
            self.families.len() - 1
        });
        self.last = at;
        self.families[at].last_scrape = self.scrape;
        &mut self.families[at].metadata
    }

    fn forget_old(&mut self) {
        let now = self.scrape;
        let old = |family: &Family| now - family.last_scrape > KEPT_SCRAPES;
        if self.families.iter().any(old) {
            self.families.retain(|family| !old(family));
            self.by_name = self.families.iter().enumerate().map(|(at, family)| (family.name.clone(), at)).collect();
        }
    }
}

fn replace(text: &mut String, new: &str) {
    if text != new {
        new.clone_into(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_gather_what_the_lines_say() {
        let store = MetadataStore::default();
        store.set_help("a", "first");
        store.set_type("a", MetricType::Counter);
        store.set_unit("b_seconds", "seconds");
        store.set_help("a", "second");
        let list = store.list();
        assert_eq!(list[0].0, "a");
        assert_eq!(list[0].1, Metadata { kind: MetricType::Counter, help: "second".into(), unit: String::new() });
        assert_eq!(list[1].1.unit, "seconds");
        assert_eq!(store.size(), (2, 6 + 7 + 7 + 7));
    }

    #[test]
    fn a_family_outlives_its_last_scrape_by_ten() {
        let store = MetadataStore::default();
        store.set_type("gone", MetricType::Gauge);
        store.set_type("kept", MetricType::Gauge);
        for scrape in 0..=11 {
            store.set_type("kept", MetricType::Gauge);
            assert_eq!(store.list().len(), 2, "{scrape}");
            store.finish(scrape != 5);
        }
        assert_eq!(store.list().iter().map(|family| family.0.as_str()).collect::<Vec<_>>(), ["kept"]);
        store.set_help("kept", "still found");
        assert_eq!(store.list()[0].1.help, "still found");
    }
}
