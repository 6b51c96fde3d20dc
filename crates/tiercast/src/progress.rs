//! Progress of long work: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
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

/// One line of progress on standard error.
#[expect(
    clippy::print_stderr,
    reason = "progress goes to standard error, results to standard output"
)]
pub(crate) fn say(what: &str) {
    eprintln!("{what}");
}
