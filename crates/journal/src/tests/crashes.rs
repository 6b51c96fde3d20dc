//! A kill between any two steps of a rotation.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use tiercast_records::journal::Entry;

use super::rows::{check_holds, of_decision, served, word};
use crate::JournalError;
use crate::folder::Folder;
use crate::manifest::Manifest;
use crate::open_rows::OpenRows;
use crate::rotation::{publish, recover, rotate, write_segments};
use crate::stored::Encoded;

/// How far a rotation gets before the process is killed.
#[derive(Debug, Clone, Copy)]
enum Kill {
    /// Segments are written, and nothing names them.
    Written,
    /// The manifest names them; the rows are still there.
    Published,
    /// Some of the rows are removed.
    HalfCleared,
    /// All of it.
    Done,
}

static RUNNING: AtomicBool = AtomicBool::new(false);

struct Bench {
    _root: tempfile::TempDir,
    folder: Folder,
    n_rows: usize,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path());
        folder.make().unwrap();
        Manifest::make(&folder).unwrap();
        Self {
            _root: root,
            folder,
            n_rows: 0,
        }
    }

    fn root(&self) -> &Path {
        self.folder.root()
    }

    fn rows(&self) -> OpenRows {
        let rotated_to = Manifest::read(&self.folder).unwrap().rotated_to;
        OpenRows::open(&self.folder.open_rows(), rotated_to).unwrap()
    }

    fn add(&mut self, n: usize) {
        let entry = |i| match i % 4 {
            3 => Entry::Feedback(word(of_decision(i), "client", 1.0)),
            _ => Entry::Served(Box::new(served(i))),
        };
        let rows: Vec<Encoded> = (self.n_rows..self.n_rows + n).map(|i| Encoded::of(entry(i))).collect();
        self.rows().append(&rows).unwrap();
        self.n_rows += n;
    }

    fn rotate(&self, kill: Kill) {
        let lock = self.folder.lock().unwrap();
        let mut rows = self.rows();
        if let Kill::Done = kill {
            rotate(&self.folder, &mut rows, &lock, &RUNNING).unwrap();
            return;
        }
        let manifest = Manifest::read(&self.folder).unwrap();
        let (n, last) = rows.after(manifest.rotated_to).unwrap();
        if n == 0 {
            return;
        }
        let (segments, _) = write_segments(&self.folder, &rows, manifest.rotated_to, last, &RUNNING).unwrap();
        if let Kill::Written = kill {
            return;
        }
        publish(&self.folder, manifest, segments, last, &lock).unwrap();
        if let Kill::HalfCleared = kill {
            rows.remove_to(last, 2).unwrap();
        }
    }

    fn recover(&self) {
        let lock = self.folder.lock().unwrap();
        recover(&self.folder, &self.rows(), &lock).unwrap();
    }

    fn check(&self) {
        check_holds(self.root(), (0..self.n_rows).filter(|i| i % 4 != 3));
        let said = crate::Reader::open(self.root())
            .unwrap()
            .feedback(crate::Range::ALL)
            .unwrap();
        assert_eq!(said.len(), (0..self.n_rows).filter(|i| i % 4 == 3).count());
    }

    fn check_tidy(&self) {
        let manifest = Manifest::read(&self.folder).unwrap();
        let named: Vec<&str> = manifest.segments.iter().map(|segment| segment.file.as_str()).collect();
        let mut found = self.folder.segment_files().unwrap();
        found.sort_by_key(|file| named.iter().position(|name| name == file));
        assert_eq!(found, named);
        assert_eq!(
            self.rows().after(0).unwrap().0,
            self.rows().after(manifest.rotated_to).unwrap().0
        );
    }
}

#[test]
fn a_kill_at_any_step_leaves_every_row_once() {
    for kill in [Kill::Written, Kill::Published, Kill::HalfCleared, Kill::Done] {
        let mut bench = Bench::new();
        bench.add(10);
        bench.rotate(kill);
        bench.check();
        bench.recover();
        bench.check();
        bench.check_tidy();
        bench.add(5);
        bench.rotate(Kill::Done);
        bench.check();
        bench.check_tidy();
    }
}

#[test]
fn parts_of_files_are_removed_and_files_of_others_are_not() {
    let mut bench = Bench::new();
    bench.add(10);
    bench.rotate(Kill::Done);
    std::fs::write(bench.folder.segment(".served-1-9.parquet.77-0.part"), "half").unwrap();
    std::fs::write(bench.folder.segment("served-1-9.parquet"), "unnamed").unwrap();
    std::fs::write(bench.folder.segment("notes.txt"), "mine").unwrap();
    bench.recover();
    bench.check_tidy();
    assert!(bench.folder.segment("notes.txt").exists());
}

#[test]
fn closing_ends_a_rotation_and_loses_nothing() {
    let mut bench = Bench::new();
    bench.add(10);
    let lock = bench.folder.lock().unwrap();
    let stopped = rotate(&bench.folder, &mut bench.rows(), &lock, &AtomicBool::new(true));
    assert!(matches!(stopped, Err(JournalError::Closed)));
    drop(lock);
    bench.check();
    bench.check_tidy();
}

#[test]
fn a_row_that_cannot_be_read_stays_and_holds_up_no_other() {
    let mut bench = Bench::new();
    bench.add(3);
    let newer = "INSERT INTO entries (kind, time_ms, decision, cohort, body) VALUES (0, 1, 'x', 'c', x'7b7d')";
    let connection = rusqlite::Connection::open(bench.folder.open_rows()).unwrap();
    connection.execute_batch(newer).unwrap();
    bench.rotate(Kill::Done);
    bench.recover();
    let (rows, problems) = super::rows::read(bench.root());
    assert_eq!(super::rows::numbers(&rows), [0, 1, 2]);
    let problem = problems[0].to_string();
    assert!(
        problem.contains("journal.sqlite: row 4 cannot be read") && problem.contains("newer"),
        "{problem}"
    );
    assert_eq!((problems.len(), bench.rows().after(0).unwrap().0), (1, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_course_of_writing_rotating_and_dying_leaves_every_row_once(
        steps in prop::collection::vec((0_usize..6, 0_usize..5), 1..8),
    ) {
        let mut bench = Bench::new();
        for (n, step) in steps {
            bench.add(n);
            match step {
                0 => bench.rotate(Kill::Written),
                1 => bench.rotate(Kill::Published),
                2 => bench.rotate(Kill::HalfCleared),
                3 => bench.rotate(Kill::Done),
                _ => bench.recover(),
            }
            bench.check();
        }
        bench.recover();
        bench.check();
        bench.check_tidy();
    }
}
