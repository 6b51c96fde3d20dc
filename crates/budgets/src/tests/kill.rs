//! `kill -9` at any moment: what was answered is in the file, and nothing is torn.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusqlite::Connection;

use super::contract::{NOON_MS, account, amount, reservation};
use crate::account::{Account, Period, Scope};
use crate::amount::{Amount, Limit};
use crate::sqlite::SqliteStore;
use crate::store::{Claim, Store};

/// Tells the child its file and its round.
const CHILD: &str = "TIERCAST_BUDGETS_KILLED";

/// Tasks of the child, so that transactions hold several operations.
const N_TASKS: u64 = 8;

#[test]
fn what_was_answered_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("budgets.sqlite");
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let mut acknowledged = BTreeSet::new();
    for round in 0..5 {
        let mut child = start(&path, round);
        let n_lines = random.random_range(20..2000);
        // Read on to the end: what was printed before the kill was answered before it.
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for (number, line) in lines.enumerate() {
            acknowledged.insert(line.unwrap());
            if number == n_lines {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success());
        check(&path, &acknowledged);
    }
    assert!(acknowledged.len() > 1000, "{}", acknowledged.len());
}

/// Not a test: the process that is killed.
#[test]
#[ignore = "started by the test above"]
#[expect(
    clippy::disallowed_methods,
    reason = "a test that starts itself has no other arguments"
)]
fn child() {
    let Ok(given) = std::env::var(CHILD) else { return };
    let (round, path) = given.split_once(' ').unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = std::sync::Arc::new(SqliteStore::open(Path::new(path)).unwrap());
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..N_TASKS {
            tasks.spawn(spend(std::sync::Arc::clone(&store), format!("{round}-{task}")));
        }
        tasks.join_all().await;
    });
}

/// Reserves, and settles two in three, until it is killed.
async fn spend(store: std::sync::Arc<SqliteStore>, task: String) {
    let claims = accounts().map(|account| Claim {
        account,
        limit: Limit::new(Some(1e6), None).unwrap(),
    });
    for call in 0.. {
        let id = format!("{task}-{call}");
        store.reserve(&reservation(&id, &claims, most(&id))).await.unwrap();
        say(&format!("held {id}"));
        if call % 3 != 0 {
            store.settle(&id, &accounts(), used(&id), NOON_MS).await.unwrap();
            say(&format!("settled {id}"));
        }
    }
}

/// One write, so that a kill leaves no half a line.
fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn accounts() -> [Account; 2] {
    [
        account(Scope::Key, "team", Period::Total),
        account(Scope::All, "", Period::Day),
    ]
}

fn most(id: &str) -> Amount {
    amount(id.bytes().map(f64::from).sum::<f64>() / 1e6)
}

fn used(id: &str) -> Amount {
    amount(id.bytes().map(f64::from).sum::<f64>() / 3e6)
}

fn start(path: &Path, round: u32) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "tests::kill::child", "--ignored", "--nocapture"]);
    command.env(CHILD, format!("{round} {}", path.display()));
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Every acknowledged operation is there; the sums are those of the calls, each in one state.
fn check(path: &Path, acknowledged: &BTreeSet<String>) {
    drop(SqliteStore::open(path).unwrap());
    let connection = Connection::open(path).unwrap();
    let whole: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(whole, "ok");
    let mut select = connection.prepare("SELECT id, state FROM holds").unwrap();
    let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
    let (mut spent, mut held, mut found) = (Amount::ZERO, Amount::ZERO, BTreeSet::new());
    for (id, state) in rows.unwrap().map(Result::unwrap) {
        match state.as_str() {
            "settled" => spent = spent.plus(used(&id)),
            _ => held = held.plus(most(&id)),
        }
        found.insert(format!("held {id}"));
        found.insert(format!("{state} {id}"));
    }
    // Libtest prints too, before and between our lines.
    let ours = |line: &&String| line.starts_with("held ") || line.starts_with("settled ");
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(ours)
        .filter(|line| !found.contains(*line))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
    let mut select = connection
        .prepare("SELECT spent_nano_usd, spent_tokens, held_nano_usd, held_tokens FROM accounts")
        .unwrap();
    let rows = select.query_map([], |row| {
        Ok((
            Amount::stored(row.get(0)?, row.get(1)?),
            Amount::stored(row.get(2)?, row.get(3)?),
        ))
    });
    let rows: Vec<(Amount, Amount)> = rows.unwrap().map(Result::unwrap).collect();
    assert_eq!(rows, [(spent, held); 2]);
}
