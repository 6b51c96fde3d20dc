//! Circuit breaker: after failures in a row an endpoint is left alone for a while, then one call
//! tries whether it is back.
//!
//! `Circuit` is the state machine and keeps no clock; `Breaker` shares it between calls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often in a row the pause doubles.
const MAX_DOUBLINGS: u32 = 5;

/// How a call went, for the health of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answered, be it with a refusal.
    Alive,
    /// It did not answer, or failed.
    Failing,
    /// It has begun to answer, and how that ends is told later. Whoever was kept waiting need not wait for the end,
    /// and the next failure opens the circuit again.
    Begun,
    /// Nothing is known: told to wait, or the call was dropped.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { is_probing: bool },
}

/// Lets calls through, or not. Results of calls that began in an earlier state do not count.
#[derive(Debug)]
struct Circuit {
    threshold: u32,
    pause: Duration,
    state: State,
    generation: u64,
    openings: u32,
}

impl Circuit {
    fn new(threshold: u32, pause: Duration) -> Self {
        Self {
            threshold,
            pause,
            state: State::Closed { failures: 0 },
            generation: 0,
            openings: 0,
        }
    }

    fn go(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
    }

    /// The generation of an admitted call, or how long to wait.
    fn admit(&mut self, now: Instant) -> Result<u64, Duration> {
        match self.state {
            State::Closed { .. } => Ok(self.generation),
            State::Open { until } if now < until => Err(until - now),
            State::Open { .. } | State::HalfOpen { is_probing: false } => {
                self.go(State::HalfOpen { is_probing: true });
                Ok(self.generation)
            }
            // The probe decides; there is no telling when.
            State::HalfOpen { is_probing: true } => Err(self.pause),
        }
    }

    fn record(&mut self, generation: u64, health: Health, now: Instant) {
        if generation != self.generation {
            return;
        }
        match (self.state, health) {
            (State::Closed { .. }, Health::Alive) => {
                self.openings = 0;
                self.state = State::Closed { failures: 0 };
            }
            (State::Closed { failures }, Health::Failing) if failures + 1 < self.threshold => {
                self.state = State::Closed { failures: failures + 1 };
            }
            (State::Closed { .. } | State::HalfOpen { .. }, Health::Failing) => self.open(now),
            (State::HalfOpen { .. }, Health::Alive) => {
                self.openings = 0;
                self.go(State::Closed { failures: 0 });
            }
            (State::HalfOpen { .. }, Health::Begun) => {
                self.go(State::Closed {
                    failures: self.threshold - 1,
                });
            }
            (State::HalfOpen { .. }, Health::Unknown) => self.go(State::HalfOpen { is_probing: false }),
            (State::Closed { .. }, Health::Unknown | Health::Begun) | (State::Open { .. }, _) => {}
        }
    }

    /// Each opening without a success between lasts twice as long as the one before.
    fn open(&mut self, now: Instant) {
        let pause = self.pause * 2_u32.pow(self.openings.min(MAX_DOUBLINGS));
        self.openings += 1;
        self.go(State::Open { until: now + pause });
    }

    fn open_for(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Open { until } => Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero()),
            State::Closed { .. } | State::HalfOpen { .. } => None,
        }
    }
}

/// A circuit shared by the calls to one endpoint.
#[derive(Debug)]
pub(crate) struct Breaker(Mutex<Circuit>);

impl Breaker {
    pub(crate) fn new(threshold: u32, pause: Duration) -> Self {
        Self(Mutex::new(Circuit::new(threshold, pause)))
    }

    /// Lets a call through, or says how long to wait.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Admission, Duration> {
        let generation = self.lock().admit(Instant::now())?;
        Ok(Admission {
            breaker: Arc::clone(self),
            generation,
            health: Health::Unknown,
        })
    }

    pub(crate) fn open_for(&self) -> Option<Duration> {
        self.lock().open_for(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, Circuit> {
        // A panic elsewhere leaves the circuit as it was after a whole transition.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way. A call that is dropped before it ends gives its place as a probe back.
#[derive(Debug)]
pub struct Admission {
    breaker: Arc<Breaker>,
    generation: u64,
    health: Health,
}

impl Admission {
    /// It has begun to answer.
    pub fn begun(&mut self) {
        let mut circuit = self.breaker.lock();
        if circuit.generation == self.generation {
            circuit.record(self.generation, Health::Begun, Instant::now());
            // How it ends counts in the state that this led to.
            self.generation = circuit.generation;
        }
    }

    /// How it went.
    pub fn finish(mut self, health: Health) {
        self.health = health;
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.breaker.lock().record(self.generation, self.health, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(10);

    fn failed(circuit: &mut Circuit, now: Instant) {
        let generation = circuit.admit(now).unwrap();
        circuit.record(generation, Health::Failing, now);
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_probe_closes_it() {
        let start = Instant::now();
        let mut circuit = Circuit::new(3, PAUSE);
        (0..3).for_each(|_| failed(&mut circuit, start));
        assert_eq!(circuit.admit(start), Err(PAUSE));
        let later = start + PAUSE;
        let probe = circuit.admit(later).unwrap();
        assert!(circuit.admit(later).is_err(), "one probe at a time");
        circuit.record(probe, Health::Alive, later);
        assert!(circuit.admit(later).is_ok() && circuit.admit(later).is_ok());
    }

    #[test]
    fn a_failed_probe_doubles_the_pause() {
        let start = Instant::now();
        let mut circuit = Circuit::new(1, PAUSE);
        failed(&mut circuit, start);
        failed(&mut circuit, start + PAUSE);
        assert_eq!(circuit.admit(start + PAUSE), Err(2 * PAUSE));
    }

    #[test]
    fn a_dropped_probe_gives_its_place_back() {
        let breaker = Arc::new(Breaker::new(1, Duration::ZERO));
        breaker.admit().unwrap().finish(Health::Failing);
        let probe = breaker.admit().unwrap();
        assert!(breaker.admit().is_err());
        drop(probe);
        assert!(breaker.admit().is_ok());
    }

    #[test]
    fn streams_that_begin_and_break_open_it() {
        let breaker = Arc::new(Breaker::new(3, PAUSE));
        let broken = || {
            let mut admission = breaker.admit().unwrap();
            admission.begun();
            admission.finish(Health::Failing);
        };
        broken();
        broken();
        assert_eq!(breaker.open_for(), None);
        broken();
        assert!(breaker.open_for().is_some());
    }

    #[test]
    fn a_probe_that_has_begun_lets_others_in_and_its_end_still_counts() {
        let breaker = Arc::new(Breaker::new(3, Duration::ZERO));
        (0..3).for_each(|_| breaker.admit().unwrap().finish(Health::Failing));
        let mut probe = breaker.admit().unwrap();
        assert!(breaker.admit().is_err(), "one probe at a time");
        probe.begun();
        drop(breaker.admit().unwrap());
        probe.finish(Health::Failing);
        assert!(matches!(breaker.lock().state, State::Open { .. }), "{breaker:?}");
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Start,
        End(usize, Health),
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let health = prop_oneof![
            1 => Just(Health::Alive),
            1 => Just(Health::Begun),
            3 => Just(Health::Failing),
            1 => Just(Health::Unknown)
        ];
        let step = prop_oneof![
            3 => Just(Step::Start),
            3 => (0..4_usize, health).prop_map(|(call, health)| Step::End(call, health)),
            1 => (0..40_u64).prop_map(Step::Wait),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        /// Whatever happens: nothing passes an open circuit before its time, at most one probe runs,
        /// it opens no earlier than after `threshold` failures in a row, and it never stays shut.
        #[test]
        fn whatever_happens(steps in steps(), threshold in 1_u32..5) {
            let mut now = Instant::now();
            let mut circuit = Circuit::new(threshold, PAUSE);
            let mut running: Vec<u64> = Vec::new();
            for step in steps {
                let before = circuit.state;
                match step {
                    Step::Wait(seconds) => now += Duration::from_secs(seconds),
                    Step::Start => {
                        let admitted = circuit.admit(now);
                        if let State::Open { until } = before {
                            prop_assert_eq!(admitted.is_ok(), now >= until);
                        }
                        if before == (State::HalfOpen { is_probing: true }) {
                            prop_assert!(admitted.is_err());
                        }
                        running.extend(admitted.ok());
                    }
                    Step::End(call, health) if !running.is_empty() => {
                        let call = running.remove(call % running.len());
                        circuit.record(call, health, now);
                        if let (State::Closed { failures }, State::Open { .. }) = (before, circuit.state) {
                            prop_assert_eq!(failures + 1, threshold);
                        }
                    }
                    Step::End(..) => {}
                }
                let probes = running.iter().filter(|call| **call == circuit.generation).count();
                if matches!(circuit.state, State::HalfOpen { .. }) {
                    prop_assert!(probes <= 1);
                }
            }
            running.drain(..).for_each(|call| circuit.record(call, Health::Unknown, now));
            now += PAUSE * 2_u32.pow(MAX_DOUBLINGS);
            let probe = circuit.admit(now);
            prop_assert!(probe.is_ok());
            circuit.record(probe.unwrap(), Health::Alive, now);
            prop_assert_eq!(circuit.state, State::Closed { failures: 0 });
        }
    }
}
