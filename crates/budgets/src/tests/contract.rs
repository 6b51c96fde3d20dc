//! What both stores must do.

use std::sync::Arc;

use super::cases::CASES;
use super::crowd;
use crate::account::{Account, Period, Scope};
use crate::amount::{Amount, Limit};
use crate::error::BudgetError;
use crate::store::{Claim, Reservation, Standing, Store};

/// Noon of a day in 2024, UTC, in milliseconds.
pub(super) const NOON_MS: i64 = 20_000 * 86_400_000 + 43_200_000;

/// Of a case. Times are seconds after noon.
pub(super) enum Step {
    /// Id, dollars, when, until when, and what comes of it.
    Reserve(&'static str, f64, i64, i64, Expected),
    /// Id, dollars, when.
    Settle(&'static str, f64, i64),
    Release(&'static str),
    Sweep(i64),
    /// Dollars spent, dollars held, when.
    Stands(f64, f64, i64),
}

pub(super) enum Expected {
    Held,
    Refused { left: f64 },
    Invalid,
}

/// A store that knows nothing yet goes through all of it.
pub(super) async fn contract(store: &Arc<dyn Store>) {
    for (name, period, steps) in CASES {
        for (kind, limit) in [
            ("dollars", (Some(1.0), None)),
            ("tokens", (None, Some(1000.0))),
            ("both", (Some(1.0), Some(1000.0))),
        ] {
            let case = Case {
                store: store.as_ref(),
                name: format!("{name}, {kind}"),
                account: account(Scope::Key, &format!("{name}, {kind}"), *period),
                limit: Limit::new(limit.0, limit.1).unwrap(),
            };
            for (number, step) in steps.iter().enumerate() {
                case.run(number, step).await;
            }
        }
    }
    all_or_none(store.as_ref()).await;
    nonsense(store.as_ref()).await;
    large_sums(store.as_ref()).await;
    crowd::last_cent(store).await;
    crowd::sums_are_exact(store).await;
}

pub(super) fn account(scope: Scope, name: &str, period: Period) -> Account {
    Account::new(scope, name, period).unwrap()
}

/// A thousand tokens per dollar.
pub(super) fn amount(usd: f64) -> Amount {
    Amount::new(usd, usd * 1000.0).unwrap()
}

/// A minute from noon on.
pub(super) fn reservation(id: &str, claims: &[Claim], amount: Amount) -> Reservation {
    Reservation {
        id: id.to_owned(),
        claims: claims.to_vec(),
        amount,
        now_ms: NOON_MS,
        expires_at_ms: NOON_MS + 60_000,
    }
}

struct Case<'a> {
    store: &'a dyn Store,
    name: String,
    account: Account,
    limit: Limit,
}

impl Case<'_> {
    async fn run(&self, number: usize, step: &Step) {
        let at = |seconds: i64| NOON_MS + seconds * 1000;
        let id = |id: &str| format!("{}, {id}", self.name);
        let place = format!("{}, step {number}", self.name);
        let accounts = std::slice::from_ref(&self.account);
        match step {
            Step::Reserve(name, usd, now, until, expected) => {
                let claim = Claim {
                    account: self.account.clone(),
                    limit: self.limit,
                };
                let reservation = Reservation {
                    now_ms: at(*now),
                    expires_at_ms: at(*until),
                    ..reservation(&id(name), &[claim], amount(*usd))
                };
                self.check(&place, expected, *usd, &self.store.reserve(&reservation).await);
            }
            Step::Settle(name, usd, now) => {
                self.store
                    .settle(&id(name), accounts, amount(*usd), at(*now))
                    .await
                    .expect(&place);
            }
            Step::Release(name) => self.store.release(&id(name)).await.expect(&place),
            Step::Sweep(now) => self.store.sweep(at(*now)).await.expect(&place),
            Step::Stands(spent, held, now) => {
                let expected = Standing {
                    spent: amount(*spent),
                    held: amount(*held),
                };
                let standing = self.store.standing(accounts, at(*now)).await.expect(&place);
                assert_eq!(standing, [expected], "{place}");
            }
        }
    }

    fn check(&self, place: &str, expected: &Expected, usd: f64, outcome: &Result<(), BudgetError>) {
        match expected {
            Expected::Held => assert_eq!(outcome, &Ok(()), "{place}"),
            Expected::Refused { left } => {
                let all = amount(1.0).minus(amount(*left));
                let refused = BudgetError::Refused {
                    account: self.account.clone(),
                    left: self.limit.left(all),
                    asked: amount(usd),
                };
                assert_eq!(outcome, &Err(refused), "{place}");
            }
            Expected::Invalid => assert!(matches!(outcome, Err(BudgetError::Invalid(_))), "{place}: {outcome:?}"),
        }
    }
}

/// The third of four accounts refuses: the others are as before.
async fn all_or_none(store: &dyn Store) {
    let claim = |scope, period, usd| Claim {
        account: account(scope, "all or none", period),
        limit: Limit::new(Some(usd), None).unwrap(),
    };
    let claims = [
        claim(Scope::Session, Period::Total, 1.0),
        claim(Scope::Key, Period::Day, 3.0),
        claim(Scope::Cohort, Period::Day, 0.5),
        claim(Scope::All, Period::Total, 9.0),
    ];
    let accounts: Vec<Account> = claims.iter().map(|claim| claim.account.clone()).collect();
    let refused = store
        .reserve(&reservation("all or none, 1", &claims, amount(0.6)))
        .await
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the budget of cohort `all or none` today (UTC) has $0.5 left and the request may take $0.6 and 600 tokens: make \
         it shorter, wait for calls in flight to end, or raise the budget"
    );
    assert_eq!(
        store.standing(&accounts, NOON_MS).await.unwrap(),
        [Standing::default(); 4]
    );

    store
        .reserve(&reservation("all or none, 2", &claims, amount(0.5)))
        .await
        .unwrap();
    let held = Standing {
        held: amount(0.5),
        ..Standing::default()
    };
    assert_eq!(store.standing(&accounts, NOON_MS).await.unwrap(), [held; 4]);
    store
        .settle("all or none, 2", &accounts, amount(0.2), NOON_MS)
        .await
        .unwrap();
    let spent = Standing {
        spent: amount(0.2),
        ..Standing::default()
    };
    assert_eq!(store.standing(&accounts, NOON_MS).await.unwrap(), [spent; 4]);
}

async fn nonsense(store: &dyn Store) {
    let claim = Claim {
        account: account(Scope::Key, "nonsense", Period::Day),
        limit: Limit::new(Some(1.0), None).unwrap(),
    };
    let good = reservation("nonsense", std::slice::from_ref(&claim), amount(0.1));
    let change = |how: &dyn Fn(&mut Reservation)| {
        let mut changed = good.clone();
        how(&mut changed);
        changed
    };
    let cases = [
        (change(&|asked| asked.id.clear()), "has no id"),
        (change(&|asked| asked.id.push('\n')), "control characters"),
        (change(&|asked| asked.claims.clear()), "names 0 accounts"),
        (
            change(&|asked| asked.claims.push(claim.clone())),
            "key `nonsense` today (UTC) twice",
        ),
        (
            change(&|asked| asked.expires_at_ms = NOON_MS),
            "expires before it begins",
        ),
        (change(&|asked| asked.now_ms = -1), "-1 is no time"),
        (
            change(&|asked| asked.expires_at_ms *= 1_000_000),
            "milliseconds since 1970",
        ),
    ];
    for (reservation, part) in cases {
        let error = store.reserve(&reservation).await.unwrap_err();
        assert!(
            matches!(error, BudgetError::Invalid(_)) && error.to_string().contains(part),
            "{error}"
        );
    }
    assert!(store.settle("", &[], Amount::ZERO, NOON_MS).await.is_err());
    assert!(
        store.standing(&[], -1).await.is_err() && store.sweep(-1).await.is_err() && store.release("").await.is_err()
    );
    assert_eq!(
        store.standing(&[claim.account], NOON_MS).await.unwrap(),
        [Standing::default()]
    );
}

/// To the last nano-dollar, where doubles begin to skip.
async fn large_sums(store: &dyn Store) {
    let most = 9_007_199.254_740_99;
    let claim = Claim {
        account: account(Scope::All, "large", Period::Total),
        limit: Limit::new(Some(most), None).unwrap(),
    };
    let accounts = [claim.account.clone()];
    let nano = Amount::new(1e-9, 1.0).unwrap();
    let most = Amount::new(most, 9e15).unwrap();
    store
        .settle("large, 1", &accounts, most.minus(nano), NOON_MS)
        .await
        .unwrap();
    store
        .reserve(&reservation("large, 2", std::slice::from_ref(&claim), nano))
        .await
        .unwrap();
    assert!(
        store
            .reserve(&reservation("large, 3", std::slice::from_ref(&claim), nano))
            .await
            .is_err()
    );
    for id in ["large, 2", "large, 3", "large, 4"] {
        store.settle(id, &accounts, most, NOON_MS).await.unwrap();
    }
    let spent = most.minus(nano).plus(most).plus(most).plus(most);
    let expected = Standing {
        spent,
        ..Standing::default()
    };
    assert_eq!(store.standing(&accounts, NOON_MS).await.unwrap(), [expected]);
}
