//! Reading a ledger page by page, so that memory does not grow with it.

use rusqlite::params;
use tiercast_records::prompts::Prompt;

use super::rows::Call;
use super::statements::{CALL_COLUMNS, N_CALL_COLUMNS, N_PROMPT_COLUMNS, PROMPT_COLUMNS, call_of, prompt_of};
use super::{Ledger, RunTier};
use crate::error::CollectError;

/// A call that is yet to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// Place in the order of the run: where the next page begins.
    pub at: (i64, u32),
    /// What is asked.
    pub prompt: Prompt,
    /// Which sample.
    pub sample: u32,
}

/// A result with its prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What was asked.
    pub prompt: Prompt,
    /// What came of it.
    pub call: Call,
    /// Class of the tier.
    pub class: u8,
}

impl Ledger {
    /// Calls of a tier without a result, in order of sample and prompt, after `after`, at most `limit`.
    pub(crate) fn pending(
        &self,
        tier: &RunTier,
        n_samples: u32,
        after: Option<(i64, u32)>,
        limit: usize,
    ) -> Result<Vec<Pending>, CollectError> {
        let (mut number, first) = after.unwrap_or((-1, 0));
        let mut page = Vec::new();
        for sample in first..n_samples {
            page.extend(self.pending_of(tier, sample, number, limit - page.len())?);
            if page.len() == limit {
                break;
            }
            number = -1;
        }
        Ok(page)
    }

    /// Those of one sample. Walks along the prompts from where it is, so that no page costs more
    /// than another.
    fn pending_of(&self, tier: &RunTier, sample: u32, number: i64, limit: usize) -> Result<Vec<Pending>, CollectError> {
        let query = format!(
            "SELECT {PROMPT_COLUMNS}, prompts.number FROM prompts LEFT JOIN calls \
             ON calls.prompt_id = prompts.prompt_id AND calls.tier = ?1 AND calls.sample = ?2 \
             AND calls.parameters_hash = ?3 \
             WHERE prompts.number > ?4 AND coalesce(calls.status, '') NOT IN ('answered', 'unanswerable') \
             ORDER BY prompts.number LIMIT ?5"
        );
        let read = || -> rusqlite::Result<Vec<Pending>> {
            let mut select = self.connection.prepare_cached(&query)?;
            let parameters = params![tier.name, sample, tier.parameters_hash, number, limit as i64];
            let rows = select.query_map(parameters, |row| {
                Ok(Pending {
                    at: (row.get(N_PROMPT_COLUMNS)?, sample),
                    prompt: prompt_of(row, 0)?,
                    sample,
                })
            })?;
            rows.collect()
        };
        read().map_err(self.failed("read"))
    }

    /// Hands every result of the tiers that are asked, with its prompt, to `take`, in the order of
    /// outcome files: data set, subset, prompt, tier, sample. Stops where `take` fails.
    ///
    /// Between two prompts nothing is read: however long `take` is at it, SQLite can fold its log into the
    /// file, and no more than the answers to one prompt is held.
    pub fn for_each_answer<E: From<CollectError>>(
        &self,
        n_samples: u32,
        mut take: impl FnMut(Answer) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = self.failed("read");
        for prompt_id in self.ordered_ids().map_err(&failed)? {
            let answers = self.answers_to(&prompt_id, n_samples).map_err(&failed)?;
            answers.into_iter().try_for_each(&mut take)?;
        }
        Ok(())
    }

    fn ordered_ids(&self) -> rusqlite::Result<Vec<String>> {
        let select = "SELECT prompt_id FROM prompts ORDER BY dataset, subset, prompt_id";
        let mut select = self.connection.prepare_cached(select)?;
        select.query_map([], |row| row.get(0))?.collect()
    }

    fn answers_to(&self, prompt_id: &str, n_samples: u32) -> rusqlite::Result<Vec<Answer>> {
        let query = format!(
            "SELECT {PROMPT_COLUMNS}, {CALL_COLUMNS}, tiers.class FROM prompts \
             JOIN calls ON calls.prompt_id = prompts.prompt_id \
             JOIN tiers ON tiers.name = calls.tier AND tiers.parameters_hash = calls.parameters_hash AND tiers.is_asked \
             WHERE prompts.prompt_id = ?1 AND calls.status IN ('answered', 'unanswerable') AND calls.sample < ?2 \
             ORDER BY calls.tier, calls.sample"
        );
        let mut select = self.connection.prepare_cached(&query)?;
        let answers = select.query_map(params![prompt_id, n_samples], |row| {
            Ok(Answer {
                prompt: prompt_of(row, 0)?,
                call: call_of(row, N_PROMPT_COLUMNS)?,
                class: row.get(N_PROMPT_COLUMNS + N_CALL_COLUMNS)?,
            })
        })?;
        answers.collect()
    }
}
