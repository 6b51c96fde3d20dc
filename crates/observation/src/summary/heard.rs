//! What was said of one answer, by users and by judges.

use tiercast_records::journal::Feedback;

/// What was said of an answer, taken together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heard {
    /// Mean of all, in [0, 1].
    pub quality: f64,
    /// Whether a user said any of it.
    pub by_users: bool,
    /// Mean of what judges said, where they did, in [0, 1].
    pub judged: Option<f64>,
    /// Share of the answers that the judge's run was told to judge, where a judge said any of it.
    pub rate: Option<f64>,
}

impl Heard {
    /// A quality as users gave it.
    pub fn by_users(quality: f64) -> Self {
        Self {
            quality,
            by_users: true,
            judged: None,
            rate: None,
        }
    }

    /// Of the words about one answer; nothing where none of them is a quality. Every word counts the same.
    pub fn of<'w>(words: impl Iterator<Item = &'w Feedback>) -> Option<Self> {
        let (mut all, mut judged, mut rate) = (Mean::default(), Mean::default(), None);
        for word in words {
            let Some(quality) = word.quality() else { continue };
            all.add(quality);
            if word.is_judged() {
                judged.add(quality);
                rate = word.sampled.as_ref().map(|sampled| sampled.rate).or(rate);
            }
        }
        Some(Self {
            quality: all.value()?,
            by_users: all.n > judged.n,
            judged: judged.value(),
            rate,
        })
    }

    /// The same with qualities in [0, 1]; nothing where one is no number.
    pub(crate) fn clamped(self) -> Option<Self> {
        let is_number = !self.quality.is_nan() && !self.judged.is_some_and(f64::is_nan);
        is_number.then(|| Self {
            quality: self.quality.clamp(0.0, 1.0),
            judged: self.judged.map(|judged| judged.clamp(0.0, 1.0)),
            ..self
        })
    }
}

#[derive(Debug, Default)]
struct Mean {
    n: u32,
    sum: f64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.n += 1;
        self.sum += value;
    }

    fn value(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / f64::from(self.n))
    }
}

#[cfg(test)]
mod tests {
    use tiercast_records::journal::{About, Sampled};

    use super::*;

    fn word(source: &str, score: Option<f64>) -> Feedback {
        Feedback {
            time_ms: 0,
            about: About::Decision("dec_1".to_owned()),
            source: source.into(),
            score,
            verdict: None,
            comment: None,
            sampled: source.starts_with("judge:").then(|| Sampled {
                judge_hash: "0".into(),
                rate: 0.5,
            }),
        }
    }

    #[test]
    fn users_and_judges_are_told_apart() {
        let (user, judge, silent) = (word("client", Some(0.0)), word("judge:j", Some(1.0)), word("app", None));
        let check = |words: &[&Feedback], expected| assert_eq!(Heard::of(words.iter().copied()), expected);
        check(&[&silent], None);
        check(&[&user, &silent], Some(Heard::by_users(0.0)));
        let both = Heard {
            quality: 0.5,
            by_users: true,
            judged: Some(1.0),
            rate: Some(0.5),
        };
        check(&[&user, &judge], Some(both));
        let by_judge = Heard {
            quality: 1.0,
            by_users: false,
            ..both
        };
        check(&[&judge, &silent], Some(by_judge));
    }
}
