//! Turns at writing the open rows, within this process: whoever stores rows goes before whoever removes them.
//!
//! SQLite lets one write at a time, and who finds it busy looks again at most every 100 ms, so that one who removes
//! batch after batch is hardly ever found idle. Other processes know nothing of turns: for them that is all there is.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Shared by all who write one file.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct State {
    pub(crate) is_taken: bool,
    /// How many wait who go before others.
    pub(crate) n_first: usize,
    /// How many wait who go after others.
    pub(crate) n_after: usize,
    /// Turns of those who go after others, so far.
    pub(crate) n_after_had: usize,
}

impl State {
    /// Whether one who goes after others may begin.
    pub(crate) fn is_free_for_others(&self) -> bool {
        !self.is_taken && self.n_first == 0
    }
}

/// A turn; the next begins when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'t>(&'t Turns);

impl Turns {
    /// Waits for the turn that is being used, and for nobody who goes after others.
    pub(crate) fn first(&self) -> Turn<'_> {
        self.state().n_first += 1;
        let mut state = self.wait_while(|state| state.is_taken);
        state.n_first -= 1;
        state.is_taken = true;
        Turn(self)
    }

    /// Waits until nobody else wants a turn.
    pub(crate) fn after_others(&self) -> Turn<'_> {
        self.state().n_after += 1;
        let mut state = self.wait_while(|state| !state.is_free_for_others());
        state.n_after -= 1;
        state.n_after_had += 1;
        state.is_taken = true;
        Turn(self)
    }

    /// How it stands.
    #[cfg(test)]
    pub(crate) fn now(&self) -> State {
        *self.state()
    }

    fn wait_while(&self, is_early: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_while(self.state(), |state| is_early(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state().is_taken = false;
        self.0.changed.notify_all();
    }
}
