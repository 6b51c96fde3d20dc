//! Reading while everything goes on, and what cannot be read.

use std::fs;
use std::ops::ControlFlow;

use tiercast_records::journal::Parts;

use super::rows::{check_holds, numbers, patient, read, read_parts, record};
use crate::{Journal, Range, Reader, What, forget};

#[test]
fn a_rotation_between_listing_and_reading_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&patient(folder.path())).unwrap();
    record(&journal, 0..10);
    journal.rotate().unwrap();
    record(&journal, 10..20);
    let parts = Reader::open(folder.path())
        .unwrap()
        .scan(Range::ALL, Parts::ALL)
        .unwrap();
    record(&journal, 20..30);
    journal.rotate().unwrap();
    let (rows, problems) = read_parts(parts);
    assert_eq!(problems, []);
    assert_eq!(numbers(&rows), (0..20).collect::<Vec<_>>());
    check_holds(folder.path(), 0..30);
}

#[test]
fn forgetting_between_listing_and_reading_leaves_the_others_readable() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&patient(folder.path())).unwrap();
    record(&journal, 0..10);
    journal.rotate().unwrap();
    let parts = Reader::open(folder.path())
        .unwrap()
        .scan(Range::ALL, Parts::ALL)
        .unwrap();
    forget(folder.path(), &What::Session("session-4".to_owned())).unwrap();
    let (rows, problems) = read_parts(parts);
    assert_eq!(problems, []);
    assert_eq!(numbers(&rows), [0, 1, 2, 3, 5, 6, 7, 8, 9]);
}

#[test]
fn a_segment_that_retention_removed_meanwhile_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&patient(folder.path())).unwrap();
    record(&journal, 0..10);
    journal.rotate().unwrap();
    let parts = Reader::open(folder.path())
        .unwrap()
        .scan(Range::ALL, Parts::ALL)
        .unwrap();
    drop(journal);
    let mut settings = patient(folder.path());
    settings.keep_days = Some(1);
    Journal::open(&settings).unwrap().rotate().unwrap();
    let (rows, problems) = read_parts(parts);
    assert_eq!((rows.len(), problems.len()), (0, 1));
    assert!(problems[0].to_string().contains("removed meanwhile"), "{}", problems[0]);
}

#[test]
fn a_cut_segment_is_named_and_the_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&patient(folder.path())).unwrap();
    for rows in [0..10, 10..20, 20..30] {
        record(&journal, rows);
        journal.rotate().unwrap();
    }
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!(reader.verify().unwrap(), []);
    let middle = folder
        .path()
        .join("segments")
        .join(&reader.manifest().unwrap().segments[1].file);
    let whole = fs::read(&middle).unwrap();
    fs::write(&middle, &whole[..whole.len() / 2]).unwrap();
    let (rows, problems) = read(folder.path());
    assert_eq!(numbers(&rows), (0..10).chain(20..30).collect::<Vec<_>>());
    let problem = problems[0].to_string();
    assert!(
        problem.contains(middle.to_str().unwrap()) && problem.contains("move it away"),
        "{problem}"
    );
    assert_eq!((problems.len(), reader.verify().unwrap().len()), (1, 1));
}

#[test]
fn only_what_is_wanted_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&patient(folder.path())).unwrap();
    record(&journal, 0..10);
    journal.rotate().unwrap();
    record(&journal, 10..20);
    let check = |since_ms, until_ms, expected: std::ops::Range<usize>| {
        let range = Range { since_ms, until_ms };
        let parts = Reader::open(folder.path())
            .unwrap()
            .scan(range, Parts::default())
            .unwrap();
        let (rows, problems) = read_parts(parts);
        assert_eq!(problems, []);
        assert_eq!(numbers(&rows), expected.collect::<Vec<_>>());
        assert!(
            rows.iter()
                .all(|row| row.prompt.is_none() && row.tiers[0].quality_pmf.is_empty())
        );
    };
    check(None, None, 0..20);
    check(Some(1_005), Some(1_015), 5..15);
    check(Some(1_010), None, 10..20);
    check(None, Some(1_000), 0..0);
    let range = Range {
        since_ms: Some(1_010),
        until_ms: None,
    };
    let parts = Reader::open(folder.path())
        .unwrap()
        .scan(range, Parts::default())
        .unwrap();
    assert_eq!(parts.len(), 1, "the segment lies before the range");
    let mut n_rows = 0;
    for part in Reader::open(folder.path())
        .unwrap()
        .scan(Range::ALL, Parts::default())
        .unwrap()
    {
        part.read(&mut |_| {
            n_rows += 1;
            ControlFlow::Break(())
        });
    }
    assert_eq!(n_rows, 2, "each part ends when it is told to");
}
