//! The interface of stores, and what goes through it.
//!
//! Time is always an argument: milliseconds since 1970, UTC. A clock that jumps back loses no money:
//! holds then live longer, and a day that comes again still has what was spent in it. A clock that jumps
//! ahead frees holds early and starts a new day; what the calls in flight really use is booked all the
//! same, and when the clock comes back today's sums are where they were.

use std::fmt::Debug;
use std::pin::Pin;

use crate::account::{Account, check_name};
use crate::amount::{Amount, Limit};
use crate::error::BudgetError;

/// Accounts of one request: session, key, cohort and all, each by day and in total.
const MAX_ACCOUNTS: usize = 16;

/// The end of the year 9999, in milliseconds: what is beyond is seconds or nanoseconds by mistake.
const MAX_MS: i64 = 253_402_300_799_999;

/// How long a call that has ended is remembered, in milliseconds, so that settling twice counts once.
pub(crate) const REMEMBERED_MS: i64 = 60 * 60 * 1000;

/// Days for which the sums of a day are kept after it was last touched.
pub(crate) const DAYS_KEPT: i64 = 8;

/// Days for which the sums of a session are kept after it was last touched.
pub(crate) const SESSION_DAYS_KEPT: i64 = 90;

/// What a store answers, later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BudgetError>> + Send + 'a>>;

/// One account of a request and how far it may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The purse.
    pub account: Account,
    /// What spent and held together may come to. Limits are not stored: each request brings its own.
    pub limit: Limit,
}

/// What a request asks for before it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Of the request; used once.
    pub id: String,
    /// Its accounts; none twice.
    pub claims: Vec<Claim>,
    /// The most it can cost.
    pub amount: Amount,
    /// Milliseconds since 1970.
    pub now_ms: i64,
    /// When the hold ends by itself, in milliseconds since 1970: later than any answer can come.
    pub expires_at_ms: i64,
}

/// How an account stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Really used.
    pub spent: Amount,
    /// Held for calls in flight.
    pub held: Amount,
}

impl Standing {
    /// Spent or held.
    pub fn taken(self) -> Amount {
        self.spent.plus(self.held)
    }
}

/// Keeps accounts. Every operation happens whole or not at all, and again with the same id changes
/// nothing, so that whoever got [`BudgetError::Unavailable`] may repeat it.
pub trait Store: Debug + Send + Sync {
    /// Holds the amount on all accounts, or on none: [`BudgetError::Refused`]. Frees expired holds first.
    /// An id that has ended is [`BudgetError::Invalid`].
    fn reserve<'a>(&'a self, reservation: &'a Reservation) -> Answer<'a, ()>;

    /// Turns the hold into spending of what was `used`, which may be more than was held and is always
    /// booked: also after expiry or release, and onto `accounts` where the id is not known (a caller that
    /// went on while the store was away). Otherwise on the accounts, and the day, of the reservation. Only the
    /// first settling of an id counts.
    fn settle<'a>(&'a self, id: &'a str, accounts: &'a [Account], used: Amount, now_ms: i64) -> Answer<'a, ()>;

    /// Lets go of the hold. Nothing happens where there is none.
    fn release<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    /// How accounts stand, in their order, after expired holds were freed.
    fn standing<'a>(&'a self, accounts: &'a [Account], now_ms: i64) -> Answer<'a, Vec<Standing>>;

    /// Frees expired holds and forgets what is old: days after a week, sessions after three months without
    /// a call.
    fn sweep(&self, now_ms: i64) -> Answer<'_, ()>;
}

pub(crate) fn check_id(id: &str) -> Result<(), BudgetError> {
    if id.is_empty() {
        return Err(invalid("a reservation has no id: give each request one"));
    }
    check_name("reservation", id)
}

pub(crate) fn check_now(now_ms: i64) -> Result<(), BudgetError> {
    if (0..=MAX_MS).contains(&now_ms) {
        return Ok(());
    }
    Err(invalid(&format!(
        "{now_ms} is no time: give milliseconds since 1970, up to the year 9999"
    )))
}

pub(crate) fn check_accounts<'a>(accounts: impl ExactSizeIterator<Item = &'a Account>) -> Result<(), BudgetError> {
    if !(1..=MAX_ACCOUNTS).contains(&accounts.len()) {
        return Err(invalid(&format!(
            "a request names {} accounts: give 1 to {MAX_ACCOUNTS}",
            accounts.len()
        )));
    }
    let mut all: Vec<&Account> = accounts.collect();
    all.sort_unstable();
    match all.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(invalid(&format!("a request names {} twice: name it once", pair[0]))),
        None => Ok(()),
    }
}

impl Reservation {
    pub(crate) fn check(&self) -> Result<(), BudgetError> {
        check_id(&self.id)?;
        check_now(self.now_ms)?;
        check_now(self.expires_at_ms)?;
        check_accounts(self.claims.iter().map(|claim| &claim.account))?;
        if self.expires_at_ms <= self.now_ms {
            return Err(invalid("a reservation expires before it begins: let it expire later"));
        }
        Ok(())
    }
}

/// For the id of a call that is over, or that holds another amount.
pub(crate) fn id_in_use(id: &str) -> BudgetError {
    invalid(&format!(
        "the reservation id `{id}` was used before: give each request its own"
    ))
}

fn invalid(what: &str) -> BudgetError {
    BudgetError::Invalid(what.to_owned())
}
