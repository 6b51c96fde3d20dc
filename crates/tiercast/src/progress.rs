//! Progress of long work: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use tiercast_trainer::fit::{Epoch, Phase};

/// Progress of a training run of `n_members` x at most `n_epochs` epochs.
pub(crate) struct TrainingProgress {
    bar: Option<ProgressBar>,
    n_members: usize,
    n_epochs: usize,
}

impl TrainingProgress {
    pub(crate) fn new(n_members: usize, n_epochs: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("training {bar:40} {pos}/{len} epochs  {msg}  [{elapsed}]")
                .expect("the template is a constant");
            ProgressBar::new((n_members * n_epochs * 2) as u64).with_style(style)
        });
        Self {
            bar,
            n_members,
            n_epochs,
        }
    }

    #[expect(clippy::print_stderr, reason = "progress lines where there is no terminal")]
    pub(crate) fn epoch(&self, epoch: Epoch) {
        let mark = if epoch.best { " best" } else { "" };
        // A member that stops early leaves its place behind.
        let (name, score, phase) = match epoch.phase {
            Phase::Task => ("task", "cross-entropy", 0),
            Phase::Quality => ("quality", "CRPS", 1),
        };
        let figures = format!(
            "train loss {:.4}, validation {score} {:.4}{mark}",
            epoch.train_loss, epoch.validation_score
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position(((epoch.member * 2 + phase) * self.n_epochs + epoch.epoch) as u64);
                bar.set_message(figures);
            }
            None => {
                eprintln!(
                    "member {}/{} {name} epoch {}/{}: {figures}",
                    epoch.member + 1,
                    self.n_members,
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

/// One line of progress on standard error.
#[expect(
    clippy::print_stderr,
    reason = "progress goes to standard error, results to standard output"
)]
pub(crate) fn say(what: &str) {
    eprintln!("{what}");
}
