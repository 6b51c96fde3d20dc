//! Many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;

use super::contract::{NOON_MS, account, amount, reservation};
use crate::account::{Account, Period, Scope};
use crate::amount::{Amount, Limit};
use crate::error::BudgetError;
use crate::store::{Claim, Standing, Store};

const N_TASKS: usize = 64;
const N_CALLS: usize = 40;

/// Two, and then 64, ask for what is enough for one.
pub(super) async fn last_cent(store: &Arc<dyn Store>) {
    for (round, n_racers) in [2, 2, 2, 2, N_TASKS].into_iter().enumerate() {
        let claim = Claim {
            account: account(Scope::Session, &format!("race {round}"), Period::Total),
            limit: Limit::new(Some(0.01), None).unwrap(),
        };
        let mut racers = JoinSet::new();
        for racer in 0..n_racers {
            let asked = reservation(
                &format!("race {round}, {racer}"),
                std::slice::from_ref(&claim),
                amount(0.01),
            );
            let store = Arc::clone(store);
            racers.spawn(async move { store.reserve(&asked).await });
        }
        let outcomes = racers.join_all().await;
        let n_winners = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(n_winners, 1, "{outcomes:?}");
    }
}

/// 64 tasks on accounts that they share; whatever they do, sums are what they settled.
pub(super) async fn sums_are_exact(store: &Arc<dyn Store>) {
    let everyone = Claim {
        account: account(Scope::All, "crowd", Period::Total),
        limit: Limit::new(Some(20.0), Some(20_000.0)).unwrap(),
    };
    let is_over = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn(watch(Arc::clone(store), everyone.clone(), Arc::clone(&is_over)));
    let mut tasks = JoinSet::new();
    for task in 0..N_TASKS {
        tasks.spawn(spend(Arc::clone(store), everyone.clone(), task));
    }
    let mut spent = Amount::ZERO;
    let mut n_refused = 0;
    for (task, settled, refused) in tasks.join_all().await {
        let expected = Standing {
            spent: settled,
            ..Standing::default()
        };
        assert_eq!(
            store.standing(&[own(task)], NOON_MS).await.unwrap(),
            [expected],
            "task {task}"
        );
        spent = spent.plus(settled);
        n_refused += refused;
    }
    is_over.store(true, Ordering::Relaxed);
    watcher.await.unwrap();
    let expected = Standing {
        spent,
        ..Standing::default()
    };
    assert_eq!(store.standing(&[everyone.account], NOON_MS).await.unwrap(), [expected]);
    assert!(n_refused > 0, "the limit was never met: the case is too easy");
}

fn own(task: usize) -> Account {
    account(Scope::Session, &format!("crowd {task}"), Period::Total)
}

/// Answers with what it settled and how often it was refused.
async fn spend(store: Arc<dyn Store>, everyone: Claim, task: usize) -> (usize, Amount, usize) {
    let mut random = ChaCha8Rng::seed_from_u64(task as u64);
    let mine = Claim {
        account: own(task),
        limit: Limit::new(Some(1.0), None).unwrap(),
    };
    let claims = [mine, everyone];
    let accounts = claims.clone().map(|claim| claim.account);
    let (mut settled, mut n_refused) = (Amount::ZERO, 0);
    for call in 0..N_CALLS {
        let id = format!("crowd {task}, {call}");
        let most: f64 = random.random_range(0.0..0.1);
        match store.reserve(&reservation(&id, &claims, amount(most))).await {
            Ok(()) if random.random_bool(0.7) => {
                let used = amount(most * random.random::<f64>());
                store.settle(&id, &accounts, used, NOON_MS).await.unwrap();
                settled = settled.plus(used);
            }
            Ok(()) => store.release(&id).await.unwrap(),
            Err(BudgetError::Refused { .. }) => n_refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    (task, settled, n_refused)
}

/// Nobody ever sees more taken than the limit.
async fn watch(store: Arc<dyn Store>, everyone: Claim, is_over: Arc<AtomicBool>) {
    let accounts = [everyone.account];
    while !is_over.load(Ordering::Relaxed) {
        let taken = store.standing(&accounts, NOON_MS).await.unwrap()[0].taken();
        assert!(everyone.limit.admits(taken, Amount::ZERO), "{taken}");
        tokio::task::yield_now().await;
    }
}
