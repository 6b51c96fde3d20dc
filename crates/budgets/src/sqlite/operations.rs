//! Each operation as statements of a transaction. Sums are made here and not in SQL, which would turn an
//! integer that overflows into a double.

use rusqlite::{OptionalExtension, Result, Row, Transaction, params};

use super::writer::Outcome;
use crate::account::{Account, day};
use crate::amount::Amount;
use crate::error::BudgetError;
use crate::store::{DAYS_KEPT, REMEMBERED_MS, Reservation, SESSION_DAYS_KEPT, Standing, id_in_use};

/// Holds that a transaction forgets: more than it makes, so that none are left behind.
const FORGOTTEN: usize = 1000;

/// What is asked of the writer.
#[derive(Debug)]
pub(super) enum Operation {
    Reserve(Reservation),
    Settle {
        id: String,
        accounts: Vec<Account>,
        used: Amount,
        now_ms: i64,
    },
    Release {
        id: String,
    },
    Standing {
        accounts: Vec<Account>,
        now_ms: i64,
    },
    Sweep {
        now_ms: i64,
    },
}

impl Operation {
    pub(super) fn now_ms(&self) -> Option<i64> {
        match self {
            Self::Reserve(reservation) => Some(reservation.now_ms),
            Self::Settle { now_ms, .. } | Self::Standing { now_ms, .. } | Self::Sweep { now_ms } => Some(*now_ms),
            Self::Release { .. } => None,
        }
    }
}

/// A call as stored.
struct Hold {
    state: State,
    amount: Amount,
    /// One a line.
    accounts: String,
    due_ms: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Held,
    /// Released or expired: may still be settled.
    LetGo,
    Settled,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::LetGo => "let_go",
            Self::Settled => "settled",
        }
    }

    fn named(name: &str) -> Self {
        match name {
            "held" => Self::Held,
            "let_go" => Self::LetGo,
            _ => Self::Settled,
        }
    }
}

/// The outer error undoes the whole transaction, the inner one is this operation's answer.
pub(super) fn run(transaction: &Transaction<'_>, operation: &Operation) -> Result<Outcome> {
    match operation {
        Operation::Reserve(reservation) => Ok(reserve(transaction, reservation)?.map(|()| Vec::new())),
        Operation::Settle {
            id,
            accounts,
            used,
            now_ms,
        } => settle(transaction, id, accounts, *used, *now_ms).map(|()| Ok(Vec::new())),
        Operation::Release { id } => release(transaction, id).map(|()| Ok(Vec::new())),
        Operation::Standing { accounts, now_ms } => {
            expire(transaction, *now_ms)?;
            let all = accounts
                .iter()
                .map(|account| standing(transaction, &account.key(*now_ms)));
            all.collect::<Result<Vec<Standing>>>().map(Ok)
        }
        Operation::Sweep { now_ms } => expire(transaction, *now_ms).map(|()| Ok(Vec::new())),
    }
}

/// Forgets calls that ended long ago.
pub(super) fn forget_holds(transaction: &Transaction<'_>, now_ms: i64) -> Result<()> {
    let delete = "DELETE FROM holds WHERE id IN \
                  (SELECT id FROM holds WHERE state <> 'held' AND due <= ?1 ORDER BY due LIMIT ?2)";
    transaction
        .prepare_cached(delete)?
        .execute(params![now_ms, FORGOTTEN])?;
    Ok(())
}

/// Forgets accounts that were not touched for days. The newest days that were ever touched stay whatever
/// the clock says, so that one that jumps ahead and back again does not make today's sums old.
pub(super) fn forget_accounts(transaction: &Transaction<'_>, today: i64) -> Result<()> {
    let delete = "DELETE FROM accounts WHERE key GLOB ?1 AND touched < ?2 AND held_nano_usd = 0 AND held_tokens = 0 \
                  AND touched NOT IN (SELECT DISTINCT touched FROM accounts ORDER BY touched DESC LIMIT ?3)";
    for (keys, n_days) in [("*:day-*", DAYS_KEPT), ("session:total:*", SESSION_DAYS_KEPT)] {
        transaction.execute(delete, params![keys, today - n_days, n_days])?;
    }
    Ok(())
}

fn reserve(transaction: &Transaction<'_>, reservation: &Reservation) -> Result<std::result::Result<(), BudgetError>> {
    let Reservation {
        id,
        claims,
        amount,
        now_ms,
        expires_at_ms,
    } = reservation;
    expire(transaction, *now_ms)?;
    if let Some(known) = hold(transaction, id)? {
        let is_same = known.state == State::Held && known.amount == *amount;
        return Ok(if is_same { Ok(()) } else { Err(id_in_use(id)) });
    }
    let mut held = Vec::with_capacity(claims.len());
    for claim in claims {
        let key = claim.account.key(*now_ms);
        let mut sums = standing(transaction, &key)?;
        if !claim.limit.admits(sums.taken(), *amount) {
            return Ok(Err(BudgetError::Refused {
                account: claim.account.clone(),
                left: claim.limit.left(sums.taken()),
                asked: *amount,
            }));
        }
        sums.held = sums.held.plus(*amount);
        held.push((key, sums));
    }
    for (key, sums) in &held {
        store(transaction, key, *sums, day(*now_ms))?;
    }
    let keys: Vec<&str> = held.iter().map(|(key, _)| key.as_str()).collect();
    let hold = Hold {
        state: State::Held,
        amount: *amount,
        accounts: keys.join("\n"),
        due_ms: *expires_at_ms,
    };
    store_hold(transaction, id, &hold).map(Ok)
}

fn settle(transaction: &Transaction<'_>, id: &str, accounts: &[Account], used: Amount, now_ms: i64) -> Result<()> {
    let known = hold(transaction, id)?;
    let was = known.as_ref().map(|hold| hold.state);
    if was == Some(State::Settled) {
        return Ok(());
    }
    let mut hold = known.unwrap_or_else(|| {
        let keys: Vec<String> = accounts.iter().map(|account| account.key(now_ms)).collect();
        Hold {
            state: State::LetGo,
            amount: Amount::ZERO,
            accounts: keys.join("\n"),
            due_ms: now_ms,
        }
    });
    let held = if was == Some(State::Held) {
        hold.amount
    } else {
        Amount::ZERO
    };
    for key in hold.accounts.lines() {
        let sums = standing(transaction, key)?;
        let sums = Standing {
            spent: sums.spent.plus(used),
            held: sums.held.minus(held),
        };
        store(transaction, key, sums, day(now_ms))?;
    }
    hold.state = State::Settled;
    hold.amount = used;
    hold.due_ms = hold.due_ms.max(now_ms) + REMEMBERED_MS;
    store_hold(transaction, id, &hold)
}

fn release(transaction: &Transaction<'_>, id: &str) -> Result<()> {
    match hold(transaction, id)? {
        Some(held) if held.state == State::Held => {
            let due_ms = held.due_ms;
            let_go(transaction, id, held, due_ms)
        }
        _ => Ok(()),
    }
}

/// Frees the holds of clients that vanished.
fn expire(transaction: &Transaction<'_>, now_ms: i64) -> Result<()> {
    let select = "SELECT id, state, nano_usd, tokens, accounts, due FROM holds WHERE state = 'held' AND due <= ?1 \
                  ORDER BY due, id";
    let mut select = transaction.prepare_cached(select)?;
    let expired = select.query_map([now_ms], |row| Ok((row.get::<_, String>(0)?, hold_of(row)?)))?;
    for row in expired.collect::<Result<Vec<_>>>()? {
        let_go(transaction, &row.0, row.1, now_ms)?;
    }
    Ok(())
}

fn let_go(transaction: &Transaction<'_>, id: &str, mut hold: Hold, ended_ms: i64) -> Result<()> {
    let mut update =
        transaction.prepare_cached("UPDATE accounts SET held_nano_usd = ?2, held_tokens = ?3 WHERE key = ?1")?;
    for key in hold.accounts.lines() {
        let held = standing(transaction, key)?.held.minus(hold.amount);
        update.execute(params![key, held.nano_usd(), held.tokens()])?;
    }
    hold.state = State::LetGo;
    hold.due_ms = ended_ms + REMEMBERED_MS;
    store_hold(transaction, id, &hold)
}

/// Nothing where the account is new.
fn standing(transaction: &Transaction<'_>, key: &str) -> Result<Standing> {
    let select = "SELECT spent_nano_usd, spent_tokens, held_nano_usd, held_tokens FROM accounts WHERE key = ?1";
    let sums = transaction.prepare_cached(select)?.query_row([key], |row| {
        Ok(Standing {
            spent: Amount::stored(row.get(0)?, row.get(1)?),
            held: Amount::stored(row.get(2)?, row.get(3)?),
        })
    });
    Ok(sums.optional()?.unwrap_or_default())
}

fn store(transaction: &Transaction<'_>, key: &str, sums: Standing, touched: i64) -> Result<()> {
    let insert = "INSERT INTO accounts VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET \
                  spent_nano_usd = excluded.spent_nano_usd, spent_tokens = excluded.spent_tokens, \
                  held_nano_usd = excluded.held_nano_usd, held_tokens = excluded.held_tokens, touched = excluded.touched";
    let (spent, held) = (sums.spent, sums.held);
    let values = params![
        key,
        spent.nano_usd(),
        spent.tokens(),
        held.nano_usd(),
        held.tokens(),
        touched
    ];
    transaction.prepare_cached(insert)?.execute(values)?;
    Ok(())
}

fn hold(transaction: &Transaction<'_>, id: &str) -> Result<Option<Hold>> {
    let select = "SELECT id, state, nano_usd, tokens, accounts, due FROM holds WHERE id = ?1";
    transaction.prepare_cached(select)?.query_row([id], hold_of).optional()
}

fn hold_of(row: &Row<'_>) -> Result<Hold> {
    Ok(Hold {
        state: State::named(&row.get::<_, String>(1)?),
        amount: Amount::stored(row.get(2)?, row.get(3)?),
        accounts: row.get(4)?,
        due_ms: row.get(5)?,
    })
}

fn store_hold(transaction: &Transaction<'_>, id: &str, hold: &Hold) -> Result<()> {
    let insert = "INSERT INTO holds VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET \
                  state = excluded.state, nano_usd = excluded.nano_usd, tokens = excluded.tokens, due = excluded.due";
    let amount = hold.amount;
    let values = params![
        id,
        hold.state.name(),
        amount.nano_usd(),
        amount.tokens(),
        hold.accounts,
        hold.due_ms
    ];
    transaction.prepare_cached(insert)?.execute(values)?;
    Ok(())
}
