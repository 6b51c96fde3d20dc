//! Which checkpoint predicts: forecasts of another one are not drift.

use tiercast_records::journal::Label;

/// Rows of other checkpoints in a row that end an era. A canary beside the incumbent does not.
const STRANGERS: u32 = 100;

/// The time of one checkpoint.
#[derive(Debug, Default)]
pub(super) struct Era {
    current: Option<Label>,
    n_strangers: u32,
}

impl Era {
    /// Takes the checkpoint of the next row; whether it begins an era after another one.
    pub(super) fn begins_with(&mut self, checkpoint: &Label) -> bool {
        if self.current.is_none() || self.is_current(checkpoint) {
            self.current.get_or_insert_with(|| checkpoint.clone());
            self.n_strangers = 0;
            return false;
        }
        self.n_strangers += 1;
        let begins = self.n_strangers >= STRANGERS;
        if begins {
            *self = Self {
                current: Some(checkpoint.clone()),
                n_strangers: 0,
            };
        }
        begins
    }

    /// Whether it is the era's.
    pub(super) fn is_current(&self, checkpoint: &Label) -> bool {
        self.current.as_ref() == Some(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_begins_no_era_and_its_promotion_does() {
        let (old, new): (Label, Label) = ("old".into(), "new".into());
        let mut era = Era::default();
        for at in 0..1_000_u32 {
            assert!(!era.begins_with(if at.is_multiple_of(3) { &old } else { &new }));
        }
        assert!(era.is_current(&old));
        let begun = (0..STRANGERS + 10).filter(|_| era.begins_with(&new)).count();
        assert_eq!(begun, 1);
        assert!(era.is_current(&new) && !era.is_current(&old));
    }
}
