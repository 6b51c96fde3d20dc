//! A disk without room: a limit on the size of files, in a process of its own. Past it the system refuses to
//! write, as it does on a full disk.

use std::env;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tiercast_records::journal::Entry;

use super::rows::{check_holds, patient, record, served};
use super::told;
use crate::{Journal, JournalError, Settings};

const FOLDER: &str = "TIERCAST_TEST_FULL_DISK";

fn limit(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    let limit = Rlimit {
        current: bytes.or(maximum),
        maximum,
    };
    setrlimit(Resource::Fsize, limit).unwrap();
}

#[test]
fn a_full_disk_is_told_and_overcome() {
    let folder = tempfile::tempdir().unwrap();
    let test = env::current_exe().unwrap();
    // The signal that comes with the limit would end the process; what is ignored stays so over `exec`.
    let run = "trap '' XFSZ; exec \"$0\" tests::full_disk::writes_to_a_full_disk --exact --ignored --nocapture";
    let output = Command::new("sh")
        .args(["-c", run])
        .arg(test)
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
#[ignore = "runs in the process that the test above starts"]
fn writes_to_a_full_disk() {
    let Some(folder) = told(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let settings = Settings {
        queue: 50,
        ..patient(folder)
    };
    let journal = Journal::open(&settings).unwrap();
    record(&journal, 0..10);

    limit(Some(1));
    (10..100).for_each(|i| journal.record(Entry::Served(Box::new(served(i)))));
    let error = journal.flush().unwrap_err();
    assert!(
        matches!(&error, JournalError::Failing(what) if what.contains("Make room")),
        "{error}"
    );
    let health = journal.health();
    let failing = health.failing.unwrap();
    assert!(
        failing.what.contains("journal.sqlite") && failing.since_ms > 0,
        "{failing:?}"
    );
    // What fits the queue waits, the rest is dropped and counted.
    assert_eq!((health.written, health.waiting, health.dropped), (10, 50, 40));
    let _ = journal.flush();
    assert_eq!(journal.health().failing.unwrap().since_ms, failing.since_ms);

    // Room again: it writes by itself.
    limit(None);
    while journal.health().waiting > 0 {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let health = journal.health();
    assert_eq!((health.written, health.dropped, health.failing), (60, 40, None));
    check_holds(folder, 0..60);

    // No room for segments: rows stay open, and nothing half is left.
    limit(Some(100));
    let error = journal.rotate().unwrap_err();
    assert!(matches!(error, JournalError::Failing(_)), "{error}");
    assert!(journal.health().failing.is_some());
    limit(None);
    journal.rotate().unwrap();
    assert_eq!(journal.health().failing, None);
    check_holds(folder, 0..60);
}
