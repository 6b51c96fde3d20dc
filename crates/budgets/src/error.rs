//! What a store answers where it does not say yes.

use crate::account::Account;
use crate::amount::{Amount, Left};

/// Any failure of this crate. Whether a request goes on without its store is the caller's decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// The request does not fit; nothing was held on any account.
    #[error(
        "the budget of {account} has {left} left and the request may take {asked}: make it shorter, wait for calls in \
         flight to end, or raise the budget"
    )]
    Refused {
        /// The first account, in the order of the claims, where it does not fit.
        account: Account,
        /// What it has left.
        left: Left,
        /// What was asked for.
        asked: Amount,
    },
    /// The store is locked, gone, full or late. What was asked may or may not have happened: asking again
    /// with the same id is safe.
    #[error("the budget store {store} does not answer: {why}")]
    Unavailable {
        /// The file or the address, without credentials.
        store: String,
        /// What is wrong and what mends it.
        why: String,
    },
    /// What was asked for makes no sense; nothing happened.
    #[error("{0}")]
    Invalid(String),
}
