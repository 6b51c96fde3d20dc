//! What is forgotten is in no file.

use std::fs;
use std::path::Path;

use tiercast_records::journal::Entry;

use super::rows::{check_holds, numbers, of_decision, of_session, patient, read, record, served, word};
use crate::{Journal, Range, Reader, What, forget};

/// Whether the bytes stand in any file that is not compressed.
fn stands_in_files(folder: &Path, text: &str) -> bool {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).any(|path| {
        fs::read(path)
            .unwrap()
            .windows(text.len())
            .any(|bytes| bytes == text.as_bytes())
    })
}

fn said(folder: &Path) -> Vec<f64> {
    let said = Reader::open(folder).unwrap().feedback(Range::ALL).unwrap();
    let (rows, _) = read(folder);
    let mut scores: Vec<f64> = rows
        .iter()
        .flat_map(|row| said.of_decision(&row.id))
        .filter_map(|word| word.score)
        .collect();
    scores.sort_by(f64::total_cmp);
    assert!(scores.len() <= said.len());
    scores
}

/// Rows 0..10 closed and 10..20 open, each half with feedback; a server goes on.
fn journal(folder: &Path) -> Journal {
    let journal = Journal::open(&patient(folder)).unwrap();
    for (rows, about) in [(0..10, [2, 4]), (10..20, [12, 14])] {
        record(&journal, rows.clone());
        for i in about {
            journal.record(Entry::Feedback(word(of_decision(i), "client", i as f64)));
        }
        journal.record(Entry::Feedback(word(of_session("session-2"), "client", 0.5)));
        journal.record(Entry::Feedback(word(of_session("session-4"), "client", 0.5)));
        journal.flush().unwrap();
        if rows.start == 0 {
            journal.rotate().unwrap();
        }
    }
    journal
}

#[test]
fn a_session_is_forgotten_while_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(folder.path());
    // Sessions are those of even rows: 2 and 12 are of session-2.
    assert!(stands_in_files(folder.path(), "session-2"));
    let forgotten = forget(folder.path(), &What::Session("session-2".to_owned())).unwrap();
    assert_eq!((forgotten.rows, forgotten.feedback, forgotten.segments), (2, 4, 2));
    assert!(forgotten.log_emptied);
    assert!(!stands_in_files(folder.path(), "session-2"));
    assert!(!stands_in_files(folder.path(), "What is 12?"));
    check_holds(folder.path(), (0..20).filter(|i| ![2, 12].contains(i)));
    assert_eq!(said(folder.path()), [4.0, 14.0]);
    assert_eq!(Reader::open(folder.path()).unwrap().verify().unwrap(), []);
    record(&journal, 20..22);
    journal.rotate().unwrap();
    check_holds(folder.path(), (0..22).filter(|i| ![2, 12].contains(i)));
    // Again finds nothing, and writes nothing anew.
    let again = forget(folder.path(), &What::Session("session-2".to_owned())).unwrap();
    assert_eq!((again.rows, again.feedback, again.segments), (0, 0, 0));
}

#[test]
fn a_segment_is_written_anew_more_than_once_and_may_vanish() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&patient(folder.path())).unwrap();
    record(&journal, [0, 2, 4]);
    journal.rotate().unwrap();
    for (session, left) in [("session-0", &[2, 4][..]), ("session-4", &[2]), ("session-2", &[])] {
        forget(folder.path(), &What::Session(session.to_owned())).unwrap();
        check_holds(folder.path(), left.iter().copied());
    }
    assert_eq!(fs::read_dir(folder.path().join("segments")).unwrap().count(), 0);
}

#[test]
fn a_cohort_takes_with_it_only_sessions_that_were_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(folder.path());
    let mut shared = served(100);
    shared.cohort = "cohort-9".into();
    shared.session = Some("session-2".to_owned());
    let mut own = served(101);
    own.cohort = "cohort-9".into();
    own.session = Some("own".to_owned());
    journal.record(Entry::Served(Box::new(shared)));
    journal.record(Entry::Served(Box::new(own)));
    journal.record(Entry::Feedback(word(of_session("own"), "client", 0.5)));
    journal.rotate().unwrap();
    let forgotten = forget(folder.path(), &What::Cohort("cohort-9".to_owned())).unwrap();
    assert_eq!((forgotten.rows, forgotten.feedback), (2, 1));
    check_holds(folder.path(), 0..20);
    let said = Reader::open(folder.path()).unwrap().feedback(Range::ALL).unwrap();
    assert_eq!(
        (said.of_session("session-2").len(), said.of_session("own").len()),
        (1, 0)
    );
    // Rows 0, 3, 6, ... are of cohort-0; of what was said, that of decision 12 is about one of them.
    let forgotten = forget(folder.path(), &What::Cohort("cohort-0".to_owned())).unwrap();
    assert_eq!((forgotten.rows, forgotten.feedback), (7, 1));
    check_holds(folder.path(), (0..20).filter(|i| i % 3 != 0));
}

#[test]
fn a_broken_segment_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    drop(journal(folder.path()));
    let segment = Reader::open(folder.path()).unwrap().manifest().unwrap().segments[0]
        .file
        .clone();
    fs::write(folder.path().join("segments").join(&segment), "PAR1").unwrap();
    let error = forget(folder.path(), &What::Session("session-2".to_owned()))
        .unwrap_err()
        .to_string();
    assert!(error.contains(&segment), "{error}");
    let (rows, _) = read(folder.path());
    assert_eq!(numbers(&rows), (10..20).collect::<Vec<_>>());
}
