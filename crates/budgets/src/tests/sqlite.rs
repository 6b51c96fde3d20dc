//! What happens to files.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::contract::{NOON_MS, account, amount, contract, reservation};
use crate::account::{Account, Period, Scope};
use crate::amount::Limit;
use crate::error::BudgetError;
use crate::sqlite::SqliteStore;
use crate::store::{Claim, Standing, Store};

const DAY_MS: i64 = 86_400_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("budgets.sqlite")).unwrap());
    contract(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_the_contract() {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::in_memory().unwrap());
    contract(&store).await;
}

#[tokio::test]
async fn two_processes_may_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("budgets.sqlite");
    let [one, other] = [0, 1].map(|_| SqliteStore::open(&path).unwrap());
    let claims = [claim()];
    one.reserve(&reservation("a", &claims, amount(1.0))).await.unwrap();
    other
        .reserve(&reservation("b", &claims, amount(1.0)))
        .await
        .unwrap_err();
    other.settle("a", &[], amount(0.5), NOON_MS).await.unwrap_err();
    other.settle("a", &[team()], amount(0.5), NOON_MS).await.unwrap();
    assert_eq!(one.standing(&[team()], NOON_MS).await.unwrap()[0].spent, amount(0.5));
}

#[tokio::test]
async fn sums_are_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("budgets.sqlite");
    let store = SqliteStore::open(&path).unwrap();
    store.reserve(&reservation("a", &[claim()], amount(0.6))).await.unwrap();
    store.settle("b", &[team()], amount(0.2), NOON_MS).await.unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    let expected = Standing {
        spent: amount(0.2),
        held: amount(0.6),
    };
    assert_eq!(store.standing(&[team()], NOON_MS).await.unwrap(), [expected]);
}

#[tokio::test]
async fn a_locked_file_is_told_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("budgets.sqlite");
    let store = SqliteStore::open(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let began = Instant::now();
    let error = store
        .reserve(&reservation("a", &[claim()], amount(0.5)))
        .await
        .unwrap_err();
    said(&error, &["budgets.sqlite", "locked", "another process holds it"]);
    said(&SqliteStore::open(&path).unwrap_err(), &["another process holds it"]);
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    other.execute_batch("ROLLBACK").unwrap();
    store.reserve(&reservation("a", &[claim()], amount(0.5))).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_gone_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("budgets.sqlite");
    let store = SqliteStore::open(&path).unwrap();
    let ask = async |id: &str| store.reserve(&reservation(id, &[claim()], amount(0.1))).await;
    ask("a").await.unwrap();
    let aside = folder.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    said(
        &ask("b").await.unwrap_err(),
        &["deleted, moved or replaced", "put it back"],
    );
    std::fs::write(&path, "").unwrap();
    said(&ask("b").await.unwrap_err(), &["deleted, moved or replaced"]);
    std::fs::rename(&aside, &path).unwrap();
    ask("b").await.unwrap();
}

#[test]
fn files_that_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let check = |path: &Path, parts: &[&str]| said(&SqliteStore::open(path).unwrap_err(), parts);
    let at = |name: &str| folder.path().join(name);
    check(&at("nowhere/budgets.sqlite"), &["nowhere", "its folder must be there"]);
    std::fs::write(at("text"), "Dear diary, today I learnt what a database is.".repeat(30)).unwrap();
    check(&at("text"), &["no whole SQLite file"]);
    Connection::open(at("other"))
        .unwrap()
        .execute_batch("CREATE TABLE calls (id TEXT)")
        .unwrap();
    check(&at("other"), &["file of something else"]);
    drop(SqliteStore::open(&at("newer")).unwrap());
    Connection::open(at("newer"))
        .unwrap()
        .pragma_update(None, "user_version", 9)
        .unwrap();
    check(&at("newer"), &["format 9", "reads 1"]);
}

#[tokio::test]
async fn old_rows_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("budgets.sqlite");
    let store = SqliteStore::open(&path).unwrap();
    store.settle("total", &[team()], amount(0.1), NOON_MS).await.unwrap();
    for day in 0..200 {
        let accounts = [
            account(Scope::Key, "team", Period::Day),
            account(Scope::Session, &format!("session {day}"), Period::Total),
        ];
        let now_ms = NOON_MS + day * DAY_MS;
        store
            .settle(&format!("{day}"), &accounts, amount(0.1), now_ms)
            .await
            .unwrap();
    }
    store.sweep(NOON_MS + 200 * DAY_MS).await.unwrap();
    drop(store);
    let connection = Connection::open(&path).unwrap();
    let count = |of: &str| -> u32 {
        connection
            .query_row(&format!("SELECT count(*) FROM {of}"), [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(count("accounts WHERE key GLOB '*:day-*'"), 8);
    assert_eq!(count("accounts WHERE key GLOB 'session:*'"), 90);
    assert_eq!(count("accounts WHERE key = 'key:total:team'"), 1);
    assert_eq!(count("holds"), 0);
}

fn team() -> Account {
    account(Scope::Key, "team", Period::Total)
}

fn claim() -> Claim {
    Claim {
        account: team(),
        limit: Limit::new(Some(1.0), None).unwrap(),
    }
}

fn said(error: &BudgetError, parts: &[&str]) {
    let text = error.to_string();
    assert!(matches!(error, BudgetError::Unavailable { .. }), "{text}");
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
}
