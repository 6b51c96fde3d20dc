//! What may still be spent. A call reserves the most it can cost before it is sent, and settles what
//! it did cost; so the limit holds whatever is in flight.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Shared by all tiers of a run.
#[derive(Debug)]
pub(crate) struct Budget {
    limit_usd: Option<f64>,
    state: Mutex<State>,
    settled: Notify,
}

#[derive(Debug)]
struct State {
    spent_usd: f64,
    reserved_usd: f64,
    n_reserved: usize,
}

/// The next call could exceed the limit, and nothing is in flight that could free some of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Exhausted {
    /// The most that the next call can cost.
    pub(crate) needed_usd: f64,
    /// What may be spent.
    pub(crate) limit_usd: f64,
    /// What is spent.
    pub(crate) spent_usd: f64,
}

impl Exhausted {
    /// For the user: what the next `what` needs, what there is, and the two ways on. `table` is where the limit
    /// on its tokens is set.
    pub(crate) fn message(&self, what: &str, table: &str) -> String {
        format!(
            "the next {what} could cost up to {:.6} US dollars and exceed --max-cost-usd {}, of which {:.6} are spent. What was \
             paid for is stored. Run again with a higher limit to go on; a lower `max_tokens` in the `parameters` \
             of [{table}] makes a call cost less at most, but asks for something else than what is stored",
            self.needed_usd, self.limit_usd, self.spent_usd
        )
    }
}

impl Budget {
    pub(crate) fn new(limit_usd: Option<f64>, spent_usd: f64) -> Self {
        Self {
            limit_usd,
            state: Mutex::new(State {
                spent_usd,
                reserved_usd: 0.0,
                n_reserved: 0,
            }),
            settled: Notify::new(),
        }
    }

    /// Sets `most_usd` aside, once it fits.
    pub(crate) async fn reserve(&self, most_usd: f64) -> Result<(), Exhausted> {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            // Listening begins before looking, so that nothing settles in between unheard.
            settled.as_mut().enable();
            match self.try_reserve(most_usd) {
                Some(answer) => return answer,
                None => settled.await,
            }
        }
    }

    /// The call is over and did cost this.
    pub(crate) fn settle(&self, most_usd: f64, cost_usd: f64) {
        let mut state = self.state();
        state.spent_usd += cost_usd;
        state.n_reserved -= 1;
        state.reserved_usd = match state.n_reserved {
            0 => 0.0,
            _ => state.reserved_usd - most_usd,
        };
        drop(state);
        self.settled.notify_waiters();
    }

    /// Nothing where it does not fit now and may later.
    fn try_reserve(&self, most_usd: f64) -> Option<Result<(), Exhausted>> {
        let mut state = self.state();
        let limit_usd = self.limit_usd.unwrap_or(f64::INFINITY);
        if state.spent_usd + state.reserved_usd + most_usd <= limit_usd {
            state.reserved_usd += most_usd;
            state.n_reserved += 1;
            return Some(Ok(()));
        }
        (state.n_reserved == 0).then_some(Err(Exhausted {
            needed_usd: most_usd,
            limit_usd,
            spent_usd: state.spent_usd,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Sums stay sums, whatever panicked beside them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn what_could_exceed_the_limit_waits_for_what_is_in_flight() {
        let budget = Arc::new(Budget::new(Some(1.0), 0.0));
        budget.reserve(0.6).await.unwrap();
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.reserve(0.6).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        budget.settle(0.6, 0.1);
        waiting.await.unwrap().unwrap();
        budget.settle(0.6, 0.6);
        let exhausted = budget.reserve(0.6).await.unwrap_err();
        assert_eq!((exhausted.needed_usd, exhausted.limit_usd), (0.6, 1.0));
        let message = exhausted.message("call", "tiers.NAME.endpoint");
        for part in [
            "up to 0.600000",
            "--max-cost-usd 1,",
            "0.700000 are spent",
            "`max_tokens`",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        budget.reserve(0.25).await.unwrap();
    }

    #[tokio::test]
    async fn without_a_limit_all_goes() {
        Budget::new(None, 1e9).reserve(1e9).await.unwrap();
    }

    #[tokio::test]
    async fn what_earlier_runs_spent_counts() {
        assert!(Budget::new(Some(1.0), 2.0).reserve(0.0).await.is_err());
    }
}
