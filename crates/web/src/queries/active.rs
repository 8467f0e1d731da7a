//! `<data>/queries.active`: the queries under way, so that the next start can name those that a crash ended.
//!
//! Layout as Prometheus's: `[`, then for each query that may run at one time 1,000 bytes, either zero or a JSON object
//! `{"query":…,"timestamp_sec":…}`, zeros, and a comma.

use crate::json;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

const ENTRY_BYTES: usize = 1000;
/// A file is read up to so many bytes: whatever wrote it, it cannot make us hold more.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The file, open for as long as queries may run.
#[derive(Debug)]
pub struct ActiveQueries {
    file: File,
    free: Mutex<Vec<usize>>,
}

/// A query under way; its entry is wiped when it is dropped.
#[derive(Debug)]
pub struct ActiveQuery {
    queries: Arc<ActiveQueries>,
    slot: usize,
}

impl ActiveQueries {
    /// Begins a new file with room for `concurrency` queries. Also gives what an earlier run left unfinished, as a JSON list.
    ///
    /// # Errors
    /// When the file can't be read or made.
    pub fn open(path: &Path, concurrency: usize) -> io::Result<(Self, Option<String>)> {
        let unfinished = match File::open(path) {
            Ok(mut file) => {
                let mut bytes = Vec::new();
                io::Read::read_to_end(&mut io::Read::take(&mut file, FILE_BYTES_MAX), &mut bytes)?;
                unfinished(&bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        // Written and not only reserved: a full disk is to be found now.
        let mut empty = vec![0; 1 + concurrency * ENTRY_BYTES];
        empty[0] = b'[';
        file.write_all_at(&empty, 0)?;
        Ok((Self { file, free: Mutex::new((0..concurrency).rev().collect()) }, unfinished))
    }

    /// Notes a query. None if more run than there is room for.
    pub fn begin(self: &Arc<Self>, query: &str, now_s: i64) -> Option<ActiveQuery> {
        let slot = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        self.write(slot, &entry(query, now_s));
        Some(ActiveQuery { queries: self.clone(), slot })
    }

    /// The file is a help, no promise: a query does not fail because its entry cannot be written.
    fn write(&self, slot: usize, entry: &[u8; ENTRY_BYTES]) {
        let _ = self.file.write_all_at(entry, (1 + slot * ENTRY_BYTES) as u64);
    }
}

impl Drop for ActiveQuery {
    fn drop(&mut self) {
        self.queries.write(self.slot, &[0; ENTRY_BYTES]);
        self.queries.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.slot);
    }
}

/// The query's entry, its text cut at a character's border so that it fits.
fn entry(query: &str, now_s: i64) -> [u8; ENTRY_BYTES] {
    let with = |query: &str| {
        let mut json = br#"{"query":"#.to_vec();
        json::text(&mut json, query);
        json.extend_from_slice(format!(r#","timestamp_sec":{now_s}}}"#).as_bytes());
        json
    };
    let mut room = query.len().min(ENTRY_BYTES - 1);
    let json = loop {
        while !query.is_char_boundary(room) {
            room -= 1;
        }
        let json = with(&query[..room]);
        if json.len() < ENTRY_BYTES {
            break json;
        }
        // Escapes took more room than the characters.
        room -= (json.len() - ENTRY_BYTES + 1).div_ceil(6).min(room);
    };
    let mut entry = [0; ENTRY_BYTES];
    entry[..json.len()].copy_from_slice(&json);
    entry[ENTRY_BYTES - 1] = b',';
    entry
}

/// The entries of a file as a list, if there are any.
fn unfinished(bytes: &[u8]) -> Option<String> {
    let text: String = String::from_utf8_lossy(bytes).chars().filter(|c| *c != '\0').collect();
    let entries = text.strip_suffix(',')?;
    Some(format!("{entries}]"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_was_under_way_is_told_by_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queries.active");
        let open = || {
            let (queries, unfinished) = ActiveQueries::open(&path, 2).unwrap();
            (Arc::new(queries), unfinished)
        };
        let (queries, unfinished) = open();
        assert_eq!((unfinished, std::fs::metadata(&path).unwrap().len()), (None, 2001));
        let done = queries.begin("up", 1).unwrap();
        let crashed = queries.begin("sum(\"ä\")", 2).unwrap();
        assert!(queries.begin("too many", 3).is_none());
        drop(done);
        std::mem::forget(crashed);
        let (queries, unfinished) = open();
        assert_eq!(unfinished.unwrap(), r#"[{"query":"sum(\"ä\")","timestamp_sec":2}]"#);
        drop(queries.begin("up", 4));
        assert_eq!(open().1, None);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        for text in ["ä".repeat(2000), "\n".repeat(3000), "\u{1}".repeat(990), "x".repeat(999)] {
            let entry = entry(&text, 1_700_000_000);
            assert_eq!(entry[ENTRY_BYTES - 1], b',');
            let json = String::from_utf8(entry[..ENTRY_BYTES - 1].to_vec()).unwrap();
            assert!(json.trim_end_matches('\0').ends_with(r#"","timestamp_sec":1700000000}"#), "{json}");
            assert!(json.trim_end_matches('\0').len() > 900);
        }
    }
}
