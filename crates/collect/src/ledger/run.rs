//! What a ledger is a run of: prompts and tiers. Begun once; later runs must send the same.

use rusqlite::{Connection, Row, named_params};
use tiercast_records::prompts::Prompt;

use super::prompts::{Changes, merge, prompts_hash, put_verdicts_aside};
use super::{Ledger, schema};
use crate::error::CollectError;

/// A tier as a run asks it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunTier {
    /// Name in the outcome rows.
    pub name: String,
    /// Class 1 to 4.
    pub class: u8,
    /// What the endpoint calls the model.
    pub model: String,
    /// Where it is asked; may move.
    pub base_url: String,
    /// Sent with every call, as JSON.
    pub parameters: String,
    /// Hash of model and parameters: part of the key of every call.
    pub parameters_hash: String,
    /// US dollars per million tokens of prompts.
    pub input_usd_per_mtok: f64,
    /// US dollars per million tokens of replies.
    pub output_usd_per_mtok: f64,
    /// US dollars per million cached tokens of prompts.
    pub cached_input_usd_per_mtok: f64,
    /// Most tokens of prompt and reply.
    pub context_window: Option<u32>,
}

impl RunTier {
    /// US dollars of a call.
    pub fn cost_usd(&self, input_tokens: u32, cached_input_tokens: u32, output_tokens: u32) -> f64 {
        let cached = cached_input_tokens.min(input_tokens);
        let full = f64::from(input_tokens - cached) * self.input_usd_per_mtok;
        let cached = f64::from(cached) * self.cached_input_usd_per_mtok;
        (full + cached + f64::from(output_tokens) * self.output_usd_per_mtok) / 1e6
    }
}

impl Ledger {
    /// Begins a run, or goes on with the one that is there if it asks the same. Calls that were under
    /// way when the last run was killed are counted as lost and asked again. Returns notes for the user.
    pub(crate) fn begin(&mut self, prompts: &[Prompt], tiers: &[RunTier]) -> Result<Vec<String>, CollectError> {
        let mut notes = Vec::new();
        if self.is_begun()? {
            self.check_same(prompts, tiers)?;
            notes = self.changes(tiers)?;
        }
        let is_begun = self.is_begun()?;
        let written = write_run(&mut self.connection, is_begun, prompts, tiers);
        let (n_lost, changes) = written.map_err(self.failed("written"))?;
        notes.extend(changes.notes());
        if n_lost > 0 {
            notes.push(format!(
                "{n_lost} calls were under way when the last run was killed; they are asked again"
            ));
        }
        Ok(notes)
    }

    /// The tiers of the last run, by name.
    pub fn tiers(&self) -> Result<Vec<RunTier>, CollectError> {
        Ok(self
            .all_tiers()?
            .into_iter()
            .filter(|(_, asked)| *asked)
            .map(|(tier, _)| tier)
            .collect())
    }

    /// Number of prompts.
    pub fn n_prompts(&self) -> Result<u64, CollectError> {
        let count = self
            .connection
            .query_row("SELECT count(*) FROM prompts", [], |row| row.get(0));
        count.map_err(self.failed("read"))
    }

    fn all_tiers(&self) -> Result<Vec<(RunTier, bool)>, CollectError> {
        let read = || -> rusqlite::Result<Vec<(RunTier, bool)>> {
            let mut select = self.connection.prepare("SELECT * FROM tiers ORDER BY name")?;
            let rows = select.query_map([], |row| Ok((tier_of(row)?, row.get("is_asked")?)))?;
            rows.collect()
        };
        read().map_err(self.failed("read"))
    }

    /// Refuses what would mix two runs.
    pub(super) fn check_same(&self, prompts: &[Prompt], tiers: &[RunTier]) -> Result<(), CollectError> {
        let mut differences = Vec::new();
        differences.extend(self.prompts_differ(prompts)?);
        for (before, _) in self.all_tiers()? {
            let now = tiers.iter().find(|tier| tier.name == before.name);
            let differs: Vec<String> = now.into_iter().flat_map(|now| tier_differs(&before, now)).collect();
            if !differs.is_empty() && self.has_results(&before)? {
                differences.extend(differs);
            }
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(CollectError::OtherRun {
            folder: self.folder.clone(),
            differences,
        })
    }

    /// Whether anything would be mixed with what a changed tier says.
    fn has_results(&self, tier: &RunTier) -> Result<bool, CollectError> {
        let query = "SELECT EXISTS (SELECT 1 FROM calls WHERE tier = ?1 AND status IN ('answered', 'unanswerable'))";
        let found = self.connection.query_row(query, [&tier.name], |row| row.get(0));
        found.map_err(self.failed("read"))
    }

    /// Changes that are allowed and that the user may want to hear of. Costs follow new prices.
    fn changes(&self, tiers: &[RunTier]) -> Result<Vec<String>, CollectError> {
        let mut notes = Vec::new();
        for (before, was_asked) in self.all_tiers()? {
            let name = &before.name;
            let Some(now) = tiers.iter().find(|tier| tier.name == *name) else {
                if was_asked {
                    notes.push(format!(
                        "tier `{name}` is no longer asked; what it answered stays in the ledger"
                    ));
                }
                continue;
            };
            for difference in tier_differs(&before, now) {
                notes.push(format!("{difference}; it has no result yet, so that nothing is mixed"));
            }
            if before.base_url != now.base_url {
                notes.push(format!(
                    "tier `{name}` was asked at {} and is now at {}",
                    before.base_url, now.base_url
                ));
            }
            if prices(&before) != prices(now) {
                self.reprice(now)?;
                notes.push(format!(
                    "prices of tier `{name}` have changed; the costs of its calls are computed anew"
                ));
            }
        }
        Ok(notes)
    }

    fn reprice(&self, tier: &RunTier) -> Result<(), CollectError> {
        let update = self.connection.execute(
            "UPDATE calls SET cost_usd = ((input_tokens - min(coalesce(cached_input_tokens, 0), input_tokens)) * :input \
             + min(coalesce(cached_input_tokens, 0), input_tokens) * :cached + output_tokens * :output) / 1e6 \
             WHERE tier = :tier AND cost_usd IS NOT NULL",
            named_params! {
                ":input": tier.input_usd_per_mtok,
                ":cached": tier.cached_input_usd_per_mtok,
                ":output": tier.output_usd_per_mtok,
                ":tier": tier.name,
            },
        );
        update.map(|_| ()).map_err(self.failed("written"))
    }
}

/// One transaction: a run is begun or not. Returns the number of calls that the last run lost, and what has changed
/// in its prompts.
fn write_run(
    connection: &mut Connection,
    is_begun: bool,
    prompts: &[Prompt],
    tiers: &[RunTier],
) -> rusqlite::Result<(usize, Changes)> {
    let transaction = connection.transaction()?;
    let mut changes = Changes::default();
    if !is_begun {
        transaction.execute_batch(schema::TABLES)?;
        let version = schema::FORMAT_VERSION.to_string();
        transaction.execute("INSERT INTO meta VALUES ('format_version', ?1)", [version])?;
    }
    let hash = "INSERT INTO meta VALUES ('prompts_hash', ?1) ON CONFLICT DO UPDATE SET value = excluded.value \
                WHERE value <> excluded.value";
    if transaction.execute(hash, [prompts_hash(prompts)])? > 0 {
        transaction.execute_batch(schema::LEFT_OUT)?;
        put_verdicts_aside(&transaction, prompts)?;
        changes = merge(&transaction, prompts)?;
    }
    if !is_begun {
        changes = Changes::default();
    }
    transaction.execute("UPDATE tiers SET is_asked = 0", [])?;
    tiers.iter().try_for_each(|tier| store_tier(&transaction, tier))?;
    let n_lost = transaction.execute(
        "UPDATE calls SET status = 'failed', lost = lost + 1, error_kind = 'killed', \
         error_message = 'the run was killed while the call was under way' WHERE status = 'open'",
        [],
    )?;
    transaction.commit()?;
    Ok((n_lost, changes))
}

fn prices(tier: &RunTier) -> [f64; 3] {
    [
        tier.input_usd_per_mtok,
        tier.cached_input_usd_per_mtok,
        tier.output_usd_per_mtok,
    ]
}

fn tier_differs(before: &RunTier, now: &RunTier) -> Vec<String> {
    let mut differences = Vec::new();
    let name = &now.name;
    if before.model != now.model {
        differences.push(format!(
            "tier `{name}` asked the model `{}` and now asks `{}`",
            before.model, now.model
        ));
    }
    if before.class != now.class {
        differences.push(format!(
            "tier `{name}` was of class {} and is now of {}",
            before.class, now.class
        ));
    }
    if before.parameters != now.parameters {
        differences.push(format!(
            "parameters of tier `{name}` were {} and are now {}",
            before.parameters, now.parameters
        ));
    }
    differences
}

fn tier_of(row: &Row<'_>) -> rusqlite::Result<RunTier> {
    Ok(RunTier {
        name: row.get("name")?,
        class: row.get("class")?,
        model: row.get("model")?,
        base_url: row.get("base_url")?,
        parameters: row.get("parameters")?,
        parameters_hash: row.get("parameters_hash")?,
        input_usd_per_mtok: row.get("input_usd_per_mtok")?,
        output_usd_per_mtok: row.get("output_usd_per_mtok")?,
        cached_input_usd_per_mtok: row.get("cached_input_usd_per_mtok")?,
        context_window: row.get("context_window")?,
    })
}

fn store_tier(connection: &Connection, tier: &RunTier) -> rusqlite::Result<()> {
    let store = "INSERT OR REPLACE INTO tiers VALUES (:name, :class, :model, :base_url, :parameters, :parameters_hash, \
                 :input, :output, :cached, :window, 1)";
    let mut store = connection.prepare_cached(store)?;
    store.execute(named_params! {
        ":name": tier.name,
        ":class": tier.class,
        ":model": tier.model,
        ":base_url": tier.base_url,
        ":parameters": tier.parameters,
        ":parameters_hash": tier.parameters_hash,
        ":input": tier.input_usd_per_mtok,
        ":output": tier.output_usd_per_mtok,
        ":cached": tier.cached_input_usd_per_mtok,
        ":window": tier.context_window,
    })?;
    Ok(())
}
