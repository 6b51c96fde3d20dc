//! Rows on their way to the exporter's thread: bounded, and never in the way of whoever brings one.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A queue with many that push and one that takes.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    /// Tells the taker that there is something, enough for a batch, or nothing more to come.
    brought: Condvar,
    /// Tells whoever closes that the taker has ended.
    ended: Condvar,
    capacity: usize,
    batch: usize,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    /// Until when what waits may still be sent, once nothing more may come.
    closing: Option<Instant>,
    has_ended: bool,
}

impl<T> Queue<T> {
    /// Holds `capacity` at most, and hands out `batch` at most at a time.
    pub(crate) fn new(capacity: usize, batch: usize) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            closing: None,
            has_ended: false,
        };
        Self {
            state: Mutex::new(state),
            brought: Condvar::new(),
            ended: Condvar::new(),
            capacity,
            batch,
        }
    }

    /// Whether there was room for `make`'s value; it is made only then.
    pub(crate) fn push(&self, make: impl FnOnce() -> T) -> bool {
        // Made before the lock, so that nobody waits for it: between the two looks the queue may fill.
        if !self.has_room(&self.state()) {
            return false;
        }
        let made = make();
        let mut state = self.state();
        if !self.has_room(&state) {
            return false;
        }
        state.waiting.push_back(made);
        let n_waiting = state.waiting.len();
        drop(state);
        // Each wake-up costs a system call, and between these two the taker waits for more anyway.
        if n_waiting == 1 || n_waiting == self.batch {
            self.brought.notify_one();
        }
        true
    }

    /// How many wait.
    pub(crate) fn n_waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// The next batch, once it is full or `gather` after its first came. Nothing when the queue is closed
    /// and empty, or out of time.
    pub(crate) fn take(&self, gather: Duration) -> Option<Vec<T>> {
        let is_empty = |state: &mut State<T>| state.waiting.is_empty() && state.closing.is_none();
        let state = self.brought.wait_while(self.state(), is_empty).expect(HELD);
        let is_short = |state: &mut State<T>| state.waiting.len() < self.batch && state.closing.is_none();
        let (mut state, _) = self.brought.wait_timeout_while(state, gather, is_short).expect(HELD);
        if state.waiting.is_empty() || state.closing.is_some_and(|end| end <= Instant::now()) {
            return None;
        }
        let n_taken = state.waiting.len().min(self.batch);
        Some(state.waiting.drain(..n_taken).collect())
    }

    /// Waits, but no longer than until the queue is closed.
    pub(crate) fn pause(&self, pause: Duration) {
        let is_open = |state: &mut State<T>| state.closing.is_none();
        let _waited = self
            .brought
            .wait_timeout_while(self.state(), pause, is_open)
            .expect(HELD);
    }

    /// Until when what waits may still be sent, where the queue is closed.
    pub(crate) fn closing(&self) -> Option<Instant> {
        self.state().closing
    }

    /// Takes nothing more. What waits may be sent until `end`; the rest is given back, counted. A second
    /// call changes nothing.
    pub(crate) fn close(&self, end: Instant) -> Vec<T> {
        let mut state = self.state();
        let end = *state.closing.get_or_insert(end);
        self.brought.notify_one();
        let left = end.saturating_duration_since(Instant::now());
        let is_running = |state: &mut State<T>| !state.has_ended;
        (state, _) = self.ended.wait_timeout_while(state, left, is_running).expect(HELD);
        state.waiting.drain(..).collect()
    }

    /// The taker takes nothing more.
    pub(crate) fn end(&self) {
        self.state().has_ended = true;
        self.ended.notify_all();
    }

    fn has_room(&self, state: &State<T>) -> bool {
        state.waiting.len() < self.capacity && state.closing.is_none()
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().expect(HELD)
    }
}

const HELD: &str = "nothing panics while it holds the lock";

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn holding(capacity: usize, batch: usize, values: std::ops::Range<u32>) -> Arc<Queue<u32>> {
        let queue = Queue::new(capacity, batch);
        for value in values {
            assert!(queue.push(|| value));
        }
        Arc::new(queue)
    }

    #[test]
    fn a_full_batch_waits_for_nothing_and_a_short_one_for_the_time_given() {
        let queue = holding(10, 3, 0..4);
        assert_eq!(queue.take(LONG), Some(vec![0, 1, 2]));
        assert_eq!(queue.take(Duration::from_millis(1)), Some(vec![3]));
    }

    #[test]
    fn a_full_queue_makes_nothing() {
        let queue = holding(2, 2, 0..2);
        assert!(!queue.push(|| unreachable!("there is no room")));
        assert_eq!(queue.n_waiting(), 2);
        assert_eq!(queue.take(LONG), Some(vec![0, 1]));
        assert!(queue.push(|| 2));
    }

    #[test]
    fn a_taker_is_woken_by_the_first_and_by_a_full_batch() {
        let queue = holding(10, 3, 0..0);
        let taker = Arc::clone(&queue);
        let start = Instant::now();
        let taker = thread::spawn(move || taker.take(LONG));
        queue.push(|| 0);
        // Mostly long enough for it to wait for more: a wake-up that is missing is seen only then.
        thread::sleep(Duration::from_millis(20));
        for value in 1..3 {
            queue.push(|| value);
        }
        assert_eq!(taker.join().unwrap(), Some(vec![0, 1, 2]));
        assert!(start.elapsed() < LONG);
    }

    #[test]
    fn closing_lets_the_taker_take_what_waits() {
        let queue = holding(10, 3, 0..4);
        let taker = Arc::clone(&queue);
        let taker = thread::spawn(move || {
            let taken: Vec<_> = std::iter::from_fn(|| taker.take(LONG)).collect();
            taker.end();
            taken
        });
        assert!(queue.close(Instant::now() + LONG).is_empty());
        assert_eq!(taker.join().unwrap().concat(), [0, 1, 2, 3]);
        assert!(!queue.push(|| 4));
    }

    #[test]
    fn closing_gives_back_what_there_was_no_time_for() {
        let queue = holding(10, 3, 0..4);
        assert_eq!(queue.close(Instant::now()), [0, 1, 2, 3]);
        assert_eq!(queue.take(LONG), None);
    }

    #[test]
    fn closing_ends_a_pause() {
        let queue = holding(10, 3, 0..0);
        let pausing = Arc::clone(&queue);
        let pausing = thread::spawn(move || {
            pausing.pause(LONG);
            pausing.end();
        });
        queue.close(Instant::now() + LONG);
        pausing.join().unwrap();
        assert!(queue.closing().is_some());
    }
}
