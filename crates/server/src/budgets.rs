//! The purses that a request draws on: what is left in them enters the choice, a call holds what it may cost
//! before it is sent, and what it did cost is booked however it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tiercast_budgets::account::{Account, Period};
use tiercast_budgets::amount::{Amount, Limit};
use tiercast_budgets::error::BudgetError;
use tiercast_budgets::store::{Claim, Reservation, Standing, Store};
use tiercast_routing::decide::Budget;

use crate::dials::Dials;
use crate::keys::Caller;
use crate::settings::budgets::{BudgetSettings, LimitSettings, ScopeName, WhenSpent};

/// How long a settlement that fails is tried again: the hold ends after the settings' `hold_s` at the latest.
const SETTLE_TRIES: u32 = 5;

/// The purses of one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Purses {
    claims: Vec<Claim>,
    when_spent: Vec<WhenSpent>,
}

impl Purses {
    /// Those that the settings give a request.
    pub(crate) fn of(settings: &BudgetSettings, dials: &Dials, caller: &Caller) -> Result<Self, BudgetError> {
        let mut purses = Self::default();
        let mut owners = vec![(ScopeName::Cohort, dials.cohort.as_str()), (ScopeName::All, "")];
        owners.extend(dials.session.as_deref().map(|session| (ScopeName::Session, session)));
        owners.extend(caller.name.as_deref().map(|name| (ScopeName::Key, name)));
        for (scope, name) in owners {
            for limit in settings.limits_of(scope, name) {
                purses.add(limit, name)?;
            }
        }
        Ok(purses)
    }

    /// Those of one session alone.
    pub(crate) fn of_session(settings: &BudgetSettings, session: &str) -> Result<Self, BudgetError> {
        let mut purses = Self::default();
        for limit in settings.limits_of(ScopeName::Session, session) {
            purses.add(limit, session)?;
        }
        Ok(purses)
    }

    /// How each stands, for a reader.
    pub(crate) async fn standing(&self, store: &dyn Store) -> Result<Vec<Value>, BudgetError> {
        let standings = store.standing(&self.accounts(), now_ms()).await?;
        let view = |(claim, standing): (&Claim, Standing)| {
            let left = budget_of(claim.limit, standing);
            json!({
                "scope": claim.account.scope().name(),
                "period": match claim.account.period() {
                    Period::Day => "day",
                    Period::Total => "total",
                },
                "spent_usd": standing.spent.usd(),
                "spent_tokens": standing.spent.tokens(),
                "held_usd": standing.held.usd(),
                "held_tokens": standing.held.tokens(),
                "left_usd": left.usd,
                "left_tokens": left.tokens,
            })
        };
        Ok(self.claims.iter().zip(standings).map(view).collect())
    }

    fn add(&mut self, limit: &LimitSettings, name: &str) -> Result<(), BudgetError> {
        let account = Account::new(limit.scope(), name, limit.period())?;
        self.claims.push(Claim {
            account,
            limit: limit.limit(),
        });
        self.when_spent.push(limit.when_spent);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    fn accounts(&self) -> Vec<Account> {
        self.claims.iter().map(|claim| claim.account.clone()).collect()
    }

    /// What is left in each.
    pub(crate) async fn left(&self, store: &dyn Store) -> Result<Left, BudgetError> {
        let standings = store.standing(&self.accounts(), now_ms()).await?;
        let budgets = self.claims.iter().zip(standings);
        let budgets = budgets.map(|(claim, standing)| budget_of(claim.limit, standing));
        Ok(Left(budgets.zip(self.when_spent.iter().copied()).collect()))
    }

    /// Holds `amount` under `id`.
    pub(crate) async fn hold(
        &self,
        store: &Arc<dyn Store>,
        id: String,
        amount: Amount,
        hold_s: u64,
        settling: &Arc<AtomicUsize>,
    ) -> Result<Hold, BudgetError> {
        let now_ms = now_ms();
        let reservation = Reservation {
            id: id.clone(),
            claims: self.claims.clone(),
            amount,
            now_ms,
            expires_at_ms: now_ms + 1000 * i64::try_from(hold_s).unwrap_or(i64::MAX / 2000),
        };
        store.reserve(&reservation).await?;
        Ok(self.booked(store, id, settling))
    }

    /// A hold of nothing: what the call costs is booked when it ends.
    pub(crate) fn booked(&self, store: &Arc<dyn Store>, id: String, settling: &Arc<AtomicUsize>) -> Hold {
        Hold {
            store: Arc::clone(store),
            accounts: self.accounts(),
            id,
            settling: Arc::clone(settling),
        }
    }
}

/// A request that is more than a purse has left.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Spent {
    what: String,
    /// Seconds until the purse is renewed; none where it never is.
    pub(crate) renewed_in_s: Option<u64>,
}

impl Purses {
    /// What to tell a request that does not fit: which purse, what it has left, and what would be needed.
    pub(crate) fn spent(&self, left: &Left, usd: f64, tokens: f64) -> Spent {
        let short = self
            .claims
            .iter()
            .zip(&left.0)
            .find(|(_, (budget, _))| !budget.admits(usd, tokens));
        let Some((claim, (budget, _))) = short else {
            let what = "the budget was spent by another call meanwhile; try again".to_owned();
            return Spent {
                what,
                renewed_in_s: Some(1),
            };
        };
        let left = match (budget.usd, budget.tokens) {
            (Some(usd), Some(tokens)) => format!("${usd:.6} and {tokens} tokens"),
            (Some(usd), None) => format!("${usd:.6}"),
            (None, tokens) => format!("{} tokens", tokens.unwrap_or_default()),
        };
        let account = &claim.account;
        let renewed_in_s = (account.period() == Period::Day).then(seconds_to_midnight);
        let mend = match renewed_in_s {
            Some(_) => "wait until midnight UTC, or raise it in [budgets] of tiercast.toml",
            None => "raise it in [budgets] of tiercast.toml",
        };
        Spent {
            what: format!(
                "the budget of {account} is spent: {left} left, and the cheapest tier that can take this is expected to need \
                 ${usd:.6} and {tokens:.0} tokens; {mend}"
            ),
            renewed_in_s,
        }
    }
}

fn seconds_to_midnight() -> u64 {
    const DAY_S: u64 = 24 * 60 * 60;
    let now_s = u64::try_from(now_ms() / 1000).unwrap_or_default();
    DAY_S - now_s % DAY_S
}

/// What is left in each purse of a request, and what becomes of the request where that is too little.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Left(Vec<(Budget, WhenSpent)>);

impl Left {
    /// What is left in the emptiest purse, in dollars and in tokens.
    pub(crate) fn budget(&self) -> Budget {
        self.0
            .iter()
            .fold(Budget::default(), |least, (budget, _)| tighter(least, *budget))
    }

    /// What is to be done where a call of this size does not fit: the strictest word of the purses that it is too
    /// large for.
    pub(crate) fn when_spent(&self, usd: f64, tokens: f64) -> WhenSpent {
        let is_short = |budget: &Budget| !budget.admits(usd, tokens);
        let short = self.0.iter().filter(|(budget, _)| is_short(budget));
        short.map(|(_, word)| *word).max().unwrap_or_default()
    }
}

/// What is left under a limit.
pub(crate) fn budget_of(limit: Limit, standing: Standing) -> Budget {
    let left = limit.left(standing.taken());
    Budget {
        usd: left.usd(),
        tokens: left.tokens.map(|tokens| tokens as f64),
    }
}

fn tighter(a: Budget, b: Budget) -> Budget {
    let least = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    };
    Budget {
        usd: least(a.usd, b.usd),
        tokens: least(a.tokens, b.tokens),
    }
}

/// What one call holds until it is settled.
#[derive(Debug)]
pub(crate) struct Hold {
    store: Arc<dyn Store>,
    accounts: Vec<Account>,
    id: String,
    settling: Arc<AtomicUsize>,
}

impl Hold {
    /// Books what the call did cost, in the background: whoever ends a call cannot wait.
    pub(crate) fn settle(self, used: Option<Amount>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            tracing::warn!(id = self.id, "a budget could not be settled: the server is gone");
            return;
        };
        self.settling.fetch_add(1, Ordering::Relaxed);
        runtime.spawn(async move {
            for attempt in 0..SETTLE_TRIES {
                match self.try_settle(used).await {
                    Ok(()) => break,
                    Err(error) if attempt + 1 < SETTLE_TRIES && matches!(error, BudgetError::Unavailable { .. }) => {
                        tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
                    }
                    Err(error) => {
                        tracing::error!(id = self.id, %error, ?used, "a budget could not be settled");
                        break;
                    }
                }
            }
            self.settling.fetch_sub(1, Ordering::Relaxed);
        });
    }

    async fn try_settle(&self, used: Option<Amount>) -> Result<(), BudgetError> {
        match used {
            Some(used) => self.store.settle(&self.id, &self.accounts, used, now_ms()).await,
            None => self.store.release(&self.id).await,
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
