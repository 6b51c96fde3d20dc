//! Dollars and tokens as exact integers: nano-dollars, and tokens.

use std::fmt;

use crate::error::BudgetError;

const NANO: f64 = 1e9;

/// The most of one amount or limit: 2^53 - 1, which is nine million dollars or nine quadrillion tokens.
/// Valkey's Lua knows no integers, and up to here its doubles compare exactly.
pub(crate) const MAX: i64 = (1 << 53) - 1;

/// What a request may cost, or did cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    nano_usd: i64,
    tokens: i64,
}

/// What an account may come to. At least one of the two is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    nano_usd: Option<i64>,
    tokens: Option<i64>,
}

/// What an account has left, never below zero; nothing where there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// In 10^-9 US dollars.
    pub nano_usd: Option<i64>,
    /// Input and output together, as reserved.
    pub tokens: Option<i64>,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self { nano_usd: 0, tokens: 0 };

    /// US dollars and tokens, rounded up to whole nano-dollars and tokens. [`BudgetError::Invalid`] where
    /// one is negative, not finite, or more than 2^53 - 1 (nine million dollars).
    pub fn new(usd: f64, tokens: f64) -> Result<Self, BudgetError> {
        Ok(Self {
            nano_usd: whole("dollars", usd, usd * NANO, f64::ceil)?,
            tokens: whole("tokens", tokens, tokens, f64::ceil)?,
        })
    }

    /// In 10^-9 US dollars.
    pub fn nano_usd(self) -> i64 {
        self.nano_usd
    }

    /// In US dollars.
    pub fn usd(self) -> f64 {
        self.nano_usd as f64 / NANO
    }

    /// Input and output together.
    pub fn tokens(self) -> i64 {
        self.tokens
    }

    /// As it came out of a store.
    pub(crate) fn stored(nano_usd: i64, tokens: i64) -> Self {
        Self { nano_usd, tokens }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            nano_usd: self.nano_usd.saturating_add(other.nano_usd),
            tokens: self.tokens.saturating_add(other.tokens),
        }
    }

    /// Never below zero: what was wiped out of a store must not become room to spend.
    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            nano_usd: self.nano_usd.saturating_sub(other.nano_usd).max(0),
            tokens: self.tokens.saturating_sub(other.tokens).max(0),
        }
    }
}

impl Limit {
    /// US dollars, tokens or both, rounded down. [`BudgetError::Invalid`] where both are absent, or one is
    /// zero (after rounding), negative, not finite, or more than 2^53 - 1 (nine million dollars).
    pub fn new(usd: Option<f64>, tokens: Option<f64>) -> Result<Self, BudgetError> {
        let part = |what, given: Option<f64>, scale: f64| match given {
            None => Ok(None),
            Some(value) => match whole(what, value, value * scale, f64::floor)? {
                0 => Err(BudgetError::Invalid(format!(
                    "a budget of {value} {what} admits nothing: give more, or leave it out to set no limit"
                ))),
                units => Ok(Some(units)),
            },
        };
        let (nano_usd, tokens) = (part("dollars", usd, NANO)?, part("tokens", tokens, 1.0)?);
        if nano_usd.is_none() && tokens.is_none() {
            return Err(BudgetError::Invalid(
                "a budget has no limit: give dollars, tokens or both".to_owned(),
            ));
        }
        Ok(Self { nano_usd, tokens })
    }

    /// What is left where `taken` is spent or held.
    pub fn left(self, taken: Amount) -> Left {
        let left = |limit: Option<i64>, taken: i64| limit.map(|limit| limit.saturating_sub(taken).max(0));
        Left {
            nano_usd: left(self.nano_usd, taken.nano_usd),
            tokens: left(self.tokens, taken.tokens),
        }
    }

    /// In 10^-9 US dollars.
    pub fn nano_usd(self) -> Option<i64> {
        self.nano_usd
    }

    /// Input and output together.
    pub fn tokens(self) -> Option<i64> {
        self.tokens
    }

    /// Whether `asked` fits beside `taken`.
    pub(crate) fn admits(self, taken: Amount, asked: Amount) -> bool {
        let all = taken.plus(asked);
        self.nano_usd.is_none_or(|limit| all.nano_usd <= limit) && self.tokens.is_none_or(|limit| all.tokens <= limit)
    }
}

impl Left {
    /// In US dollars.
    pub fn usd(self) -> Option<f64> {
        self.nano_usd.map(|nano_usd| nano_usd as f64 / NANO)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${} and {} tokens", self.usd(), self.tokens)
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.usd(), self.tokens) {
            (Some(usd), Some(tokens)) => write!(f, "${usd} and {tokens} tokens"),
            (Some(usd), None) => write!(f, "${usd}"),
            (None, Some(tokens)) => write!(f, "{tokens} tokens"),
            (None, None) => f.write_str("no limit"),
        }
    }
}

/// `scaled` as an integer. A value that differs from one only by what doubles cannot write is that one:
/// three times a dime fits into thirty cents.
fn whole(what: &str, given: f64, scaled: f64, round: fn(f64) -> f64) -> Result<i64, BudgetError> {
    if !(scaled.is_finite() && given >= 0.0) {
        return Err(BudgetError::Invalid(format!(
            "{given} {what} is no amount: give a number that is not negative"
        )));
    }
    let nearest = scaled.round();
    let is_meant = (scaled - nearest).abs() <= nearest * 4.0 * f64::EPSILON;
    let units = if is_meant { nearest } else { round(scaled) };
    if units > MAX as f64 {
        return Err(BudgetError::Invalid(format!(
            "{given} {what} is more than a budget can hold: at most 9000000 dollars and 9e15 tokens"
        )));
    }
    // Whole, and exact up to 2^53.
    Ok(units as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_round_up_and_limits_down() {
        let check = |usd: f64, up: i64, down: i64| {
            assert_eq!(Amount::new(usd, 0.0).unwrap().nano_usd(), up, "{usd}");
            assert_eq!(Limit::new(Some(usd), None).unwrap().nano_usd(), Some(down), "{usd}");
        };
        check(0.1, 100_000_000, 100_000_000);
        check(0.29, 290_000_000, 290_000_000);
        check(0.1 + 0.2, 300_000_000, 300_000_000);
        check(1.000_000_000_5, 1_000_000_001, 1_000_000_000);
        check(1.0 / 3.0, 333_333_334, 333_333_333);
        check(9_007_199.254_740_99, MAX, MAX);
        assert_eq!(Amount::new(1e-12, 0.1).unwrap(), Amount::stored(1, 1));
        assert_eq!(Amount::new(-0.0, 0.0).unwrap(), Amount::ZERO);
    }

    #[test]
    fn what_is_no_amount() {
        let check = |usd: f64, tokens: f64, part: &str| {
            let error = Amount::new(usd, tokens).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
            assert!(Limit::new(Some(usd), Some(tokens)).is_err());
        };
        check(-0.01, 1.0, "-0.01 dollars is no amount");
        check(f64::NAN, 1.0, "NaN dollars");
        check(1.0, f64::INFINITY, "inf tokens");
        check(1.0, -1.0, "-1 tokens");
        check(1e7, 1.0, "10000000 dollars is more than");
        check(f64::MAX, 1.0, "dollars is no amount");
    }

    #[test]
    fn what_is_no_limit() {
        let check = |usd: Option<f64>, tokens: Option<f64>, part: &str| {
            let error = Limit::new(usd, tokens).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        check(None, None, "no limit");
        check(Some(0.0), None, "a budget of 0 dollars admits nothing");
        check(Some(1.0), Some(0.5), "0.5 tokens admits nothing");
        check(Some(-1.0), None, "-1 dollars is no amount");
    }

    #[test]
    fn left_is_never_below_zero() {
        let limit = Limit::new(Some(1.0), None).unwrap();
        let left = |usd: f64| limit.left(Amount::new(usd, 7.0).unwrap()).to_string();
        assert_eq!([left(0.25), left(1.0), left(5.0)], ["$0.75", "$0", "$0"]);
    }
}
