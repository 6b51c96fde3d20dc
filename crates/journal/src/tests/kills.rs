//! `kill -9` of a process that writes: what it knew to be stored is there, once.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tiercast_records::journal::Entry;

use super::rows::{patient, read, served};
use super::told;
use crate::{Journal, Reader, Settings};

const FOLDER: &str = "TIERCAST_TEST_JOURNAL";
const FIRST: &str = "TIERCAST_TEST_FIRST";
const N_KILLS: usize = 20;

/// Rows of one process; more than it gets to.
const SPAN: usize = 10_000_000;

fn settings(folder: &Path) -> Settings {
    Settings {
        flush_ms: 20,
        // So often that many kills fall into a rotation.
        rotate_rows: 300,
        ..patient(folder)
    }
}

/// The process that is killed: records rows and notes how many of them are stored.
#[test]
#[ignore = "runs in the process that the test below kills"]
fn writes_until_killed() {
    let Some(folder) = told(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let first: usize = told(FIRST).unwrap().parse().unwrap();
    let journal = Journal::open(&settings(&folder.join("journal"))).unwrap();
    for i in first..first + SPAN {
        if i - first > 1500 {
            // Enough to be killed at; the machine may be slow to do it.
            std::thread::sleep(Duration::from_millis(1));
        }
        journal.record(Entry::Served(Box::new(served(i))));
        if i % 50 == 0 {
            // Entries are stored in order, so the number says which; a rename is whole or not there.
            let health = journal.health();
            fs::write(folder.join("new"), format!("{} {}", first, health.written)).unwrap();
            fs::rename(folder.join("new"), folder.join("stored")).unwrap();
            assert_eq!(health.dropped, 0);
        }
    }
}

#[test]
fn twenty_kills_lose_nothing_that_was_stored_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut stored = BTreeSet::new();
    for kill in 0..N_KILLS {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["tests::kills::writes_until_killed", "--exact", "--ignored"])
            .env(FOLDER, folder.path())
            .env(FIRST, (kill * SPAN).to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Not by time, which a busy machine stretches: by what it has done, and each time at another point.
        let n_wanted = 500 + 37 * kill;
        let until = Instant::now() + Duration::from_secs(120);
        while n_stored(folder.path(), kill) < n_wanted {
            assert!(
                Instant::now() < until && child.try_wait().unwrap().is_none(),
                "it does not write"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        stored.extend((0..n_stored(folder.path(), kill)).map(|i| kill * SPAN + i));

        let (rows, problems) = read(&folder.path().join("journal"));
        assert_eq!(problems, []);
        let found: BTreeSet<usize> = rows.iter().map(|row| row.id["dec_".len()..].parse().unwrap()).collect();
        assert_eq!(found.len(), rows.len(), "a row is there twice");
        assert!(stored.is_subset(&found), "a row is lost");
    }
    assert_eq!(
        Reader::open(&folder.path().join("journal")).unwrap().verify().unwrap(),
        []
    );
    assert!(stored.len() > N_KILLS * 500);
}

/// Rows that the process of this kill knew to be stored.
fn n_stored(folder: &Path, kill: usize) -> usize {
    let text = fs::read_to_string(folder.join("stored")).unwrap_or_default();
    match text.split_once(' ') {
        Some((first, n)) if first == (kill * SPAN).to_string() => n.parse().unwrap(),
        _ => 0,
    }
}
