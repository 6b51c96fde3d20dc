//! Pairs of reserve and settle per second, by 1, 8 and 64 tasks at once: one JSON line per store and
//! number of tasks.
//!
//! `throughput FOLDER [VALKEY_URL]`: SQLite in memory, SQLite in a new file in FOLDER, and Valkey where its
//! URL is given. Each request has four accounts: a session of its own task, a key of eight, a cohort of two, and all.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement prints and stops at what is wrong"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tiercast_budgets::account::{Account, Period, Scope};
use tiercast_budgets::amount::{Amount, Limit};
use tiercast_budgets::sqlite::SqliteStore;
use tiercast_budgets::store::{Claim, Reservation, Store};
use tiercast_budgets::valkey::ValkeyStore;
use tokio::task::JoinSet;

const SECONDS: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let file = Path::new(&arguments[0]).join("throughput.sqlite");
    assert!(
        !file.exists(),
        "{} is there already: name another folder",
        file.display()
    );
    let mut stores: Vec<(&str, Arc<dyn Store>)> = vec![
        ("sqlite in memory", Arc::new(SqliteStore::in_memory().unwrap())),
        ("sqlite file", Arc::new(SqliteStore::open(&file).unwrap())),
    ];
    if let Some(url) = arguments.get(1) {
        stores.push((
            "valkey",
            Arc::new(ValkeyStore::connect(url, "throughput", SECONDS).await.unwrap()),
        ));
    }
    for (name, store) in stores {
        for n_tasks in [1, 8, 64] {
            measure(name, &store, n_tasks).await;
        }
    }
}

async fn measure(name: &str, store: &Arc<dyn Store>, n_tasks: usize) {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..n_tasks {
        let store = Arc::clone(store);
        tasks.spawn(async move { spend(store.as_ref(), began, &format!("{n_tasks}-{task}"), task).await });
    }
    let mut latencies: Vec<Duration> = tasks.join_all().await.concat();
    let pairs_per_s = latencies.len() as f64 / began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |share: f64| latencies[(share * (latencies.len() - 1) as f64) as usize].as_secs_f64() * 1e3;
    println!(
        "{{\"store\": \"{name}\", \"tasks\": {n_tasks}, \"pairs_per_s\": {pairs_per_s:.0}, \
         \"reserve_p50_ms\": {:.3}, \"reserve_p99_ms\": {:.3}}}",
        at(0.5),
        at(0.99)
    );
}

/// How long each reservation took.
async fn spend(store: &dyn Store, began: Instant, name: &str, task: usize) -> Vec<Duration> {
    let claim = |scope, name: &str, period| Claim {
        account: Account::new(scope, name, period).unwrap(),
        limit: Limit::new(Some(1e6), Some(1e15)).unwrap(),
    };
    let claims = vec![
        claim(Scope::Session, name, Period::Total),
        claim(Scope::Key, &format!("key {}", task % 8), Period::Day),
        claim(Scope::Cohort, &format!("cohort {}", task % 2), Period::Day),
        claim(Scope::All, "", Period::Day),
    ];
    let accounts: Vec<Account> = claims.iter().map(|claim| claim.account.clone()).collect();
    let amount = |usd| Amount::new(usd, usd * 1e5).unwrap();
    // A server remembers the ids of the last run.
    let run = now_ms();
    let mut latencies = Vec::new();
    while began.elapsed() < SECONDS {
        let now_ms = now_ms();
        let reservation = Reservation {
            id: format!("{run}-{name}-{}", latencies.len()),
            claims: claims.clone(),
            amount: amount(0.01),
            now_ms,
            expires_at_ms: now_ms + 600_000,
        };
        let asked = Instant::now();
        store.reserve(&reservation).await.unwrap();
        latencies.push(asked.elapsed());
        store
            .settle(&reservation.id, &accounts, amount(0.004), now_ms)
            .await
            .unwrap();
    }
    latencies
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64
}
