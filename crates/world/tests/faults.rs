//! A mapped file that is cut under its reader reads as zeros; other faults end the process as ever.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Arc;
use world::{Files, Map, RealFiles};

/// Four of the largest pages there are.
const BYTES: usize = 4 << 16;

fn mapped(folder: &tempfile::TempDir, name: &str) -> (std::fs::File, Arc<Map>) {
    let path = folder.path().join(name);
    std::fs::write(&path, vec![7; BYTES]).unwrap();
    (std::fs::OpenOptions::new().write(true).open(&path).unwrap(), RealFiles.map(&path).unwrap())
}

#[test]
fn a_cut_file_reads_as_zeros_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (_kept, other) = mapped(&folder, "other");
    for round in 0..3 {
        let (file, map) = mapped(&folder, "cut");
        assert!(!map.is_faulty(), "{round}");
        file.set_len(10).unwrap();
        assert_eq!(map[BYTES - 1], 0);
        assert!(map.is_faulty());
        assert_eq!(map[..10], [7; 10]);
        assert_eq!(map.len(), BYTES);
        // From several threads, pages that were not touched yet.
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!(map[1 << 16..].iter().all(|byte| *byte == 0)));
            }
        });
    }
    assert!(!other.is_faulty());
    assert!(other.iter().all(|byte| *byte == 7));
}

/// A process of this test's own: it maps and cuts a file that the guard does not know.
#[test]
#[expect(unsafe_code, reason = "a map without the guard")]
fn a_fault_elsewhere_ends_the_process() {
    const ROLE: &str = "PYROPE_TEST_FAULT";
    if std::env::var_os(ROLE).is_some() {
        let folder = tempfile::tempdir().unwrap();
        let (_file, guarded) = mapped(&folder, "guarded");
        let path = folder.path().join("unguarded");
        std::fs::write(&path, vec![7; BYTES]).unwrap();
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        // SAFETY: this process is meant to die of it.
        let map = unsafe { memmap2::Mmap::map(&file).unwrap() };
        file.set_len(0).unwrap();
        std::process::exit(i32::from(std::hint::black_box(map[BYTES - 1] + guarded[0])));
    }
    let this = std::env::current_exe().unwrap();
    let child = Command::new(this).args(["--exact", "a_fault_elsewhere_ends_the_process"]).env(ROLE, "1").output().unwrap();
    assert_eq!(child.status.signal(), Some(7), "{child:?}");
}
