//! A rotation does not hold up the writer.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{scope, yield_now};

use rusqlite::Connection;
use tiercast_records::journal::Entry;

use super::rows::{check_holds, served};
use crate::folder::Folder;
use crate::manifest::Manifest;
use crate::open_rows::OpenRows;
use crate::rotation::{REMOVE, rotate};
use crate::stored::Encoded;
use crate::turns::{State, Turns};

const N_BATCHES: usize = 4;
const N_ROWS: usize = N_BATCHES * REMOVE as usize;

/// Notes with each new row how many old ones are there.
const NOTE: &str = "
    CREATE TABLE noted (n_old INTEGER NOT NULL);
    CREATE TRIGGER note AFTER INSERT ON entries
    BEGIN INSERT INTO noted SELECT count(*) FROM entries WHERE seq < new.seq; END;
";

#[test]
fn rows_that_come_in_a_rotation_are_stored_before_more_are_removed() {
    let root = tempfile::tempdir().unwrap();
    let folder = Folder::new(root.path());
    folder.make().unwrap();
    Manifest::make(&folder).unwrap();
    let turns = Arc::new(Turns::default());
    let open = || OpenRows::open(&folder.open_rows(), 0).unwrap().by_turns(&turns);
    let mut writer = open();
    writer.append(&encoded(0..N_ROWS)).unwrap();
    Connection::open(folder.open_rows())
        .unwrap()
        .execute_batch(NOTE)
        .unwrap();

    scope(|threads| {
        let turn = turns.first();
        let rotation = threads.spawn(|| {
            let lock = folder.lock().unwrap();
            rotate(&folder, &mut open(), &lock, &AtomicBool::new(false)).unwrap()
        });
        while turns.now().n_after == 0 {
            assert!(!rotation.is_finished(), "it removed rows in the turn of another");
            yield_now();
        }
        // It came first and would be next, if it did not let the writer go before it.
        threads.spawn(|| writer.append(&encoded(N_ROWS..N_ROWS + 1)).unwrap());
        while turns.now().n_first == 0 {
            yield_now();
        }
        let after_this_turn = State {
            is_taken: false,
            ..turns.now()
        };
        assert!(
            !after_this_turn.is_free_for_others(),
            "the rotation may go before the writer"
        );
        drop(turn);
    });

    assert_eq!(n_old(&folder.open_rows()), N_ROWS, "rows were removed first");
    // The last turn finds nothing left. Each batch is one: between two the writer has its turn.
    assert_eq!(turns.now().n_after_had, N_BATCHES + 1);
    check_holds(root.path(), 0..N_ROWS + 1);
}

fn encoded(numbers: std::ops::Range<usize>) -> Vec<Encoded> {
    numbers
        .map(|i| Encoded::of(Entry::Served(Box::new(served(i)))))
        .collect()
}

fn n_old(open_rows: &Path) -> usize {
    let connection = Connection::open(open_rows).unwrap();
    connection
        .query_row("SELECT n_old FROM noted", [], |row| row.get(0))
        .unwrap()
}
