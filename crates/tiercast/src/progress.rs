//! Progress of long work: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tiercast_collect::ledger::{Status, Verdict};
use tiercast_collect::run::Step;
use tiercast_trainer::fit::{Epoch, Phase};

/// Progress of a training run: networks run side by side, each for at most `n_epochs` epochs a phase.
pub(crate) struct TrainingProgress {
    bar: Option<ProgressBar>,
    n_epochs: usize,
}

impl TrainingProgress {
    pub(crate) fn new(n_epochs: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} training: {pos} epochs  {msg}  [{elapsed}]")
                .expect("the template is a constant");
            ProgressBar::new_spinner().with_style(style)
        });
        Self { bar, n_epochs }
    }

    #[expect(clippy::print_stderr, reason = "progress lines where there is no terminal")]
    pub(crate) fn epoch(&self, epoch: Epoch) {
        let mark = if epoch.best { " best" } else { "" };
        let (name, score) = match epoch.phase {
            Phase::Task => ("task", "cross-entropy"),
            Phase::Quality => ("quality", "CRPS"),
        };
        let figures = format!(
            "train loss {:.4}, validation {score} {:.4}{mark}",
            epoch.train_loss, epoch.validation_score
        );
        match &self.bar {
            Some(bar) => {
                bar.inc(1);
                bar.set_message(figures);
            }
            None => {
                eprintln!(
                    "network {} {name} epoch {}/{}: {figures}",
                    epoch.member + 1,
                    epoch.epoch,
                    self.n_epochs
                );
            }
        }
    }

    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Lines are printed no more often than this.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// Progress of collecting: calls of all tiers, what failed and what it cost.
pub(crate) struct CollectProgress {
    bar: Option<ProgressBar>,
    n_calls: u64,
    state: Mutex<Collected>,
}

struct Collected {
    n_done: u64,
    n_failed: u64,
    cost_usd: f64,
    last_line: Instant,
}

impl CollectProgress {
    pub(crate) fn new(n_calls: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style =
                ProgressStyle::with_template("{wide_bar} {pos}/{len} calls  {msg}  [{elapsed}, about {eta} left]")
                    .expect("the template is a constant");
            ProgressBar::new(n_calls).with_style(style)
        });
        let state = Mutex::new(Collected {
            n_done: 0,
            n_failed: 0,
            cost_usd: 0.0,
            last_line: Instant::now(),
        });
        Self { bar, n_calls, state }
    }

    #[expect(clippy::print_stderr, reason = "progress lines where there is no terminal")]
    pub(crate) fn step(&self, step: &Step) {
        // Counts stay counts, whatever panicked beside them.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_failed = step.status == Status::Failed;
        state.n_failed += u64::from(is_failed);
        state.n_done += u64::from(!is_failed);
        state.cost_usd += step.cost_usd;
        let figures = format!("{} failed, {:.4} US dollars", state.n_failed, state.cost_usd);
        match &self.bar {
            Some(bar) => {
                bar.set_position(state.n_done);
                bar.set_message(figures);
            }
            None if state.last_line.elapsed() >= BETWEEN_LINES => {
                state.last_line = Instant::now();
                eprintln!("{}/{} calls, {figures}", state.n_done, self.n_calls);
            }
            None => {}
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// One line of progress on standard error.
#[expect(
    clippy::print_stderr,
    reason = "progress goes to standard error, results to standard output"
)]
pub(crate) fn say(what: &str) {
    eprintln!("{what}");
}

/// Progress of judging: verdicts by models and commands, what failed and what it cost. How many
/// there will be is not known before: repeats and second orders are drawn on the way.
pub(crate) struct JudgeProgress {
    bar: Option<ProgressBar>,
    state: Mutex<Collected>,
}

impl JudgeProgress {
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} judging: {pos} verdicts  {msg}  [{elapsed}]")
                .expect("the template is a constant");
            ProgressBar::new_spinner().with_style(style)
        });
        let state = Mutex::new(Collected {
            n_done: 0,
            n_failed: 0,
            cost_usd: 0.0,
            last_line: Instant::now(),
        });
        Self { bar, state }
    }

    pub(crate) fn verdict(&self, verdict: &Verdict) {
        self.word(verdict.parsed, verdict.cost_usd.unwrap_or(0.0));
    }

    /// A verdict, whether it could be read, and what it cost, US dollars.
    #[expect(clippy::print_stderr, reason = "progress lines where there is no terminal")]
    pub(crate) fn word(&self, is_read: bool, cost_usd: f64) {
        // Counts stay counts, whatever panicked beside them.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.n_done += 1;
        state.n_failed += u64::from(!is_read);
        state.cost_usd += cost_usd;
        let figures = format!("{} not to be read, {:.4} US dollars", state.n_failed, state.cost_usd);
        match &self.bar {
            Some(bar) => {
                bar.set_position(state.n_done);
                bar.set_message(figures);
            }
            None if state.last_line.elapsed() >= BETWEEN_LINES => {
                state.last_line = Instant::now();
                eprintln!("{} verdicts, {figures}", state.n_done);
            }
            None => {}
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
