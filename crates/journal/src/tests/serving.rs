//! What the server relies on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tiercast_records::journal::Entry;

use super::rows::{check_holds, numbers, of_decision, of_session, patient, read, record, served, word};
use crate::{Journal, JournalError, Range, Reader, Settings};

const DAY_MS: i64 = 86_400_000;

#[test]
fn what_was_recorded_is_there_open_and_closed_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&patient(folder.path())).unwrap();
    record(&journal, 0..100);
    check_holds(folder.path(), 0..100);
    journal.rotate().unwrap();
    record(&journal, 100..150);
    check_holds(folder.path(), 0..150);
    let (rows, _) = read(folder.path());
    assert!(
        rows.iter()
            .all(|row| *row == served(numbers(std::slice::from_ref(row))[0]))
    );
    drop(journal);
    let journal = Journal::open(&patient(folder.path())).unwrap();
    assert_eq!(journal.health().open_rows, 50);
    journal.rotate().unwrap();
    let health = journal.health();
    assert_eq!((health.n_segments, health.open_rows, health.failing), (2, 0, None));
    check_holds(folder.path(), 0..150);
}

#[test]
fn enough_rows_are_closed_without_being_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        rotate_rows: 100,
        ..patient(folder.path())
    };
    let journal = Journal::open(&settings).unwrap();
    record(&journal, 0..250);
    let until = Instant::now() + Duration::from_secs(60);
    while journal.health().n_segments == 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(journal.health().n_segments > 0);
    check_holds(folder.path(), 0..250);
}

#[test]
fn rows_in_order_of_arrival_whatever_their_clock_says() {
    let folder = tempfile::tempdir().unwrap();
    let now_ms = Arc::new(AtomicI64::new(100 * DAY_MS));
    let clock = Arc::clone(&now_ms);
    let settings = Settings {
        keep_days: Some(3),
        ..patient(folder.path())
    };
    let journal = Journal::open_with_clock(&settings, Arc::new(move || clock.load(Ordering::Relaxed))).unwrap();
    // The clock goes back by a year; rows keep the time they were given.
    for (at, day) in [(0, 100), (1, -265), (2, -265)] {
        now_ms.store(day * DAY_MS, Ordering::Relaxed);
        let mut row = served(at);
        row.time_ms = day * DAY_MS;
        journal.record(Entry::Served(Box::new(row)));
        if at != 1 {
            journal.rotate().unwrap();
        }
    }
    let (rows, _) = read(folder.path());
    let times: Vec<i64> = rows.iter().map(|row| row.time_ms / DAY_MS).collect();
    assert_eq!(times, [100, -265, -265]);
    // Put right again, what is old by then goes, and only that.
    now_ms.store(101 * DAY_MS, Ordering::Relaxed);
    journal.rotate().unwrap();
    check_holds(folder.path(), [0]);
    now_ms.store(104 * DAY_MS, Ordering::Relaxed);
    journal.rotate().unwrap();
    check_holds(folder.path(), []);
    assert_eq!(journal.health().n_segments, 0);
}

#[test]
fn a_full_queue_drops_and_counts_and_never_waits() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        queue: 4,
        ..patient(folder.path())
    };
    let journal = Journal::open(&settings).unwrap();
    // Another process holds the file, so nothing can be written.
    let other = Connection::open(folder.path().join("journal.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    (0..10).for_each(|i| journal.record(Entry::Served(Box::new(served(i)))));
    assert!(begun.elapsed().as_secs() < 2);
    let health = journal.health();
    assert_eq!((health.waiting, health.dropped, health.written), (4, 6, 0));
    other.execute_batch("ROLLBACK").unwrap();
    journal.flush().unwrap();
    let health = journal.health();
    assert_eq!((health.waiting, health.dropped, health.written), (0, 6, 4));
    check_holds(folder.path(), 0..4);
}

#[test]
fn what_comes_after_closing_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&patient(folder.path())).unwrap();
    let clone = journal.clone();
    journal.record(Entry::Served(Box::new(served(0))));
    journal.close().unwrap();
    clone.record(Entry::Served(Box::new(served(1))));
    assert_eq!(clone.health().dropped, 1);
    assert!(matches!(clone.flush(), Err(JournalError::Closed)));
    clone.close().unwrap();
    check_holds(folder.path(), [0]);
}

#[test]
fn feedback_finds_its_row_open_or_closed_early_or_late() {
    let folder = tempfile::tempdir().unwrap();
    let say = |journal: &Journal, about, source, score| {
        journal.record(Entry::Feedback(word(about, source, score)));
        journal.flush().unwrap();
    };
    let check = |i: usize, expected: &[f64]| {
        let said = Reader::open(folder.path()).unwrap().feedback(Range::ALL).unwrap();
        assert_eq!(said.problems, []);
        let scores: Vec<f64> = said.of(&served(i)).filter_map(|word| word.score).collect();
        assert_eq!(scores, expected);
    };
    let journal = Journal::open(&patient(folder.path())).unwrap();
    say(&journal, of_decision(0), "client", 0.25);
    record(&journal, 0..6);
    check(0, &[0.25]);
    journal.rotate().unwrap();
    check(0, &[0.25]);
    // Said again, and otherwise, and by another, and of the session, after a restart.
    drop(journal);
    let journal = Journal::open(&patient(folder.path())).unwrap();
    say(&journal, of_decision(0), "client", 0.25);
    check(0, &[0.25]);
    say(&journal, of_decision(0), "client", 1.0);
    say(&journal, of_decision(0), "judge", 0.5);
    say(&journal, of_session("session-0"), "client", 0.125);
    check(0, &[1.0, 0.5, 0.125]);
    journal.rotate().unwrap();
    say(&journal, of_decision(0), "judge", 0.75);
    check(0, &[1.0, 0.75, 0.125]);
    check(1, &[]);
    assert_eq!(
        Reader::open(folder.path()).unwrap().feedback(Range::ALL).unwrap().len(),
        3
    );
}

#[test]
fn a_file_that_is_taken_away_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&patient(folder.path())).unwrap();
    record(&journal, 0..3);
    journal.rotate().unwrap();
    for file in ["journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm"] {
        let _ = std::fs::remove_file(folder.path().join(file));
    }
    // Numbers go on, so the new rows are not taken for closed ones.
    record(&journal, 3..5);
    check_holds(folder.path(), 0..5);
    journal.rotate().unwrap();
    check_holds(folder.path(), 0..5);
}

/// A power cut may cost rows whose segments had reached the disk; a copy put back is as old.
#[test]
fn numbers_go_on_above_the_segments_where_the_file_is_older() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old.sqlite");
    let path = folder.path().join("journal.sqlite");
    drop(Journal::open(&patient(folder.path())).unwrap());
    std::fs::copy(&path, &old).unwrap();
    let journal = Journal::open(&patient(folder.path())).unwrap();
    record(&journal, 0..3);
    journal.rotate().unwrap();
    drop(journal);
    std::fs::copy(&old, &path).unwrap();
    let journal = Journal::open(&patient(folder.path())).unwrap();
    record(&journal, 3..5);
    journal.rotate().unwrap();
    check_holds(folder.path(), 0..5);
}

#[test]
fn what_is_no_journal_of_ours_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let check = |sql: &str, expected: &str| {
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let error = Journal::open(&patient(folder.path())).unwrap_err().to_string();
        assert!(error.contains("journal.sqlite") && error.contains(expected), "{error}");
    };
    check("CREATE TABLE mine (a)", "of something else");
    std::fs::remove_file(&path).unwrap();
    Journal::open(&patient(folder.path())).unwrap();
    check(
        "PRAGMA user_version = 9",
        "version 9, and this build reads versions up to 1",
    );
    let nowhere = Reader::open(&folder.path().join("nowhere")).unwrap_err().to_string();
    assert!(nowhere.contains("no journal in"), "{nowhere}");
}
