//! Prompts of a run that goes on: what was sent must be the same, what replies are judged by may be
//! mended, prompts may come and go. Replies stay with their prompts, so that nothing is paid twice.

use std::collections::{BTreeMap, HashSet};

use rusqlite::{Connection, OptionalExtension, named_params};
use serde_json::json;
use sha2::{Digest, Sha256};
use tiercast_records::disk::hex;
use tiercast_records::prompts::Prompt;

use super::Ledger;
use super::schema::LEFT_OUT;
use super::statements::{PROMPT_COLUMNS, insert_prompt, prompt_of, update_prompt};
use crate::error::CollectError;

/// Prompts that are named in a message; of the others the number is told.
const MAX_NAMED: usize = 3;

/// Hash of all that is asked and judged by, in whatever order the file has it.
pub fn prompts_hash(prompts: &[Prompt]) -> String {
    let mut hashes: Vec<[u8; 32]> = prompts.iter().map(prompt_hash).collect();
    hashes.sort_unstable();
    let mut whole = Sha256::new();
    hashes.iter().for_each(|hash| whole.update(hash));
    hex(&whole.finalize())
}

fn prompt_hash(prompt: &Prompt) -> [u8; 32] {
    let told = json!([
        prompt.prompt_id,
        prompt.text.as_str(),
        prompt.response_format,
        prompt.schema,
        prompt.reference,
        prompt.judge,
        prompt.split_key,
        prompt.split.name(),
        prompt.dataset,
        prompt.subset,
        prompt.domain,
    ]);
    Sha256::digest(told.to_string()).into()
}

/// Whether a tier is sent the same: messages and tools are in the text.
fn is_sent_alike(a: &Prompt, b: &Prompt) -> bool {
    a.text == b.text && a.response_format == b.response_format
}

/// Hash of what judges see of a prompt beside its text: verdicts rest on it.
fn case_hash(prompt: &Prompt) -> String {
    let told = json!([prompt.reference, prompt.schema]).to_string();
    hex(&Sha256::digest(told)[..8])
}

/// Fields that differ and are not sent.
fn mended(before: &Prompt, now: &Prompt) -> Vec<&'static str> {
    let fields = [
        ("reference", before.reference == now.reference),
        ("schema", before.schema == now.schema),
        ("judge", before.judge == now.judge),
        ("split_key", before.split_key == now.split_key),
        ("split", before.split == now.split),
        ("dataset", before.dataset == now.dataset),
        ("subset", before.subset == now.subset),
        ("domain", before.domain == now.domain),
    ];
    let differing = fields.into_iter().filter(|(_, is_same)| !is_same);
    differing.map(|(field, _)| field).collect()
}

/// What has changed in a ledger's prompts.
#[derive(Debug, Default)]
pub(super) struct Changes {
    n_new: usize,
    n_left_out: usize,
    n_mended: usize,
    by_field: BTreeMap<&'static str, usize>,
}

impl Changes {
    /// Notes for the user.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.n_new > 0 {
            notes.push(format!("{} prompts are new in the file", self.n_new));
        }
        if self.n_left_out > 0 {
            notes.push(format!(
                "{} prompts are no longer in the file; what was answered to them stays in the ledger, should they come back",
                self.n_left_out
            ));
        }
        if self.n_mended > 0 {
            let fields = self.by_field.iter().map(|(field, n)| format!("{field} of {n}"));
            notes.push(format!(
                "{} prompts have changed in what is not sent ({}); their replies stay, and `tiercast judge` goes by the file",
                self.n_mended,
                fields.collect::<Vec<_>>().join(", ")
            ));
        }
        notes
    }
}

impl Ledger {
    /// What keeps these prompts from being the run's; none where it can go on with them.
    pub(super) fn prompts_differ(&self, prompts: &[Prompt]) -> Result<Option<String>, CollectError> {
        if self.meta("prompts_hash")?.as_deref() == Some(&prompts_hash(prompts)) {
            return Ok(None);
        }
        let (mut n_same, mut changed) = (0, Vec::new());
        for prompt in prompts {
            match held(&self.connection, &prompt.prompt_id).map_err(self.failed("read"))? {
                Some((held, _)) if is_sent_alike(&held, prompt) => n_same += 1,
                Some(_) => changed.push(format!("`{}`", prompt.prompt_id)),
                None => {}
            }
        }
        if !changed.is_empty() {
            let n_more = changed.len().saturating_sub(MAX_NAMED);
            changed.truncate(MAX_NAMED);
            let more = if n_more > 0 {
                format!(" and {n_more} more")
            } else {
                String::new()
            };
            return Ok(Some(format!(
                "prompts {}{more} have another text, tools or response_format than was sent: give them another prompt_id, and \
                 they are asked as new ones",
                changed.join(", ")
            )));
        }
        let (n_here, n_now) = (self.n_prompts()?, prompts.len());
        Ok((n_same == 0 && n_here > 0)
            .then(|| format!("the prompts are others (the ledger has {n_here}, the file has {n_now}, 0 are the same)")))
    }

    /// Lays the prompts of a run that looks ahead over those of the ledger, for this connection alone.
    pub(super) fn lay_over(&self, prompts: &[Prompt]) -> Result<(), CollectError> {
        let shadow = |name: &str| {
            let table = format!(
                "SELECT replace(sql, 'CREATE TABLE', 'CREATE TEMP TABLE') FROM sqlite_schema WHERE name = '{name}'"
            );
            let table: String = self.connection.query_row(&table, [], |row| row.get(0))?;
            self.connection
                .execute_batch(&format!("{table}; INSERT INTO temp.{name} SELECT * FROM main.{name}"))
        };
        let over = || {
            shadow("prompts")?;
            self.connection
                .execute_batch(&LEFT_OUT.replace("CREATE TABLE", "CREATE TEMP TABLE"))?;
            merge(&self.connection, prompts).map(|_| ())
        };
        over().map_err(self.failed("read"))
    }
}

/// Makes the prompts those of the file. They must have been found not to differ in what is sent; the table of
/// those that are left out must be there.
pub(super) fn merge(connection: &Connection, prompts: &[Prompt]) -> rusqlite::Result<Changes> {
    let mut changes = Changes::default();
    let next = connection.query_row("SELECT coalesce(max(number), -1) + 1 FROM prompts", [], |row| {
        row.get(0)
    });
    let mut next: i64 = next?;
    for prompt in prompts {
        let held = held(connection, &prompt.prompt_id)?;
        if !matches!(held, Some((_, true))) {
            insert_prompt(connection, next, prompt)?;
            next += 1;
        }
        match &held {
            None => changes.n_new += 1,
            Some((before, _)) => changes.mend(connection, before, prompt)?,
        }
    }
    changes.n_left_out = leave_out(connection, prompts)?;
    Ok(changes)
}

impl Changes {
    fn mend(&mut self, connection: &Connection, before: &Prompt, now: &Prompt) -> rusqlite::Result<()> {
        let fields = mended(before, now);
        if fields.is_empty() {
            return Ok(());
        }
        update_prompt(connection, now)?;
        self.n_mended += 1;
        fields
            .iter()
            .for_each(|field| *self.by_field.entry(*field).or_default() += 1);
        Ok(())
    }
}

/// Verdicts rest on reference and schema, which are in no judge's hash: those by others are put aside under a
/// hash that no judge has, and come back with what they rest on. To be called before [`merge`].
pub(super) fn put_verdicts_aside(connection: &Connection, prompts: &[Prompt]) -> rusqlite::Result<()> {
    let mut aside = connection.prepare_cached(
        "UPDATE verdicts SET judge_hash = judge_hash || ':' || ?2 WHERE prompt_id = ?1 AND instr(judge_hash, ':') = 0",
    )?;
    let mut back = connection.prepare_cached(
        "UPDATE verdicts SET judge_hash = substr(judge_hash, 1, instr(judge_hash, ':') - 1) \
         WHERE prompt_id = ?1 AND judge_hash LIKE '%:' || ?2",
    )?;
    for prompt in prompts {
        let Some((before, _)) = held(connection, &prompt.prompt_id)? else {
            continue;
        };
        let (old, new) = (case_hash(&before), case_hash(prompt));
        if old != new {
            aside.execute((&prompt.prompt_id, &old))?;
            back.execute((&prompt.prompt_id, &new))?;
        }
    }
    Ok(())
}

/// Moves prompts that are not in the file away, and drops from there those that have come back. Returns how many
/// went.
fn leave_out(connection: &Connection, prompts: &[Prompt]) -> rusqlite::Result<usize> {
    let in_file: HashSet<&str> = prompts.iter().map(|prompt| prompt.prompt_id.as_str()).collect();
    let gone: Vec<String> = ids(connection)?
        .into_iter()
        .filter(|id| !in_file.contains(id.as_str()))
        .collect();
    for id in &gone {
        connection
            .prepare_cached("INSERT OR REPLACE INTO left_out SELECT * FROM prompts WHERE prompt_id = ?1")?
            .execute([id])?;
        connection
            .prepare_cached("DELETE FROM prompts WHERE prompt_id = ?1")?
            .execute([id])?;
    }
    connection.execute(
        "DELETE FROM left_out WHERE prompt_id IN (SELECT prompt_id FROM prompts)",
        [],
    )?;
    Ok(gone.len())
}

fn ids(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut select = connection.prepare_cached("SELECT prompt_id FROM prompts")?;
    select.query_map([], |row| row.get(0))?.collect()
}

/// The prompt of an id as the ledger has it, and whether it is asked.
fn held(connection: &Connection, prompt_id: &str) -> rusqlite::Result<Option<(Prompt, bool)>> {
    for (table, is_asked) in [("prompts", true), ("left_out", false)] {
        if !is_asked && !has_left_out(connection)? {
            break;
        }
        let query = format!("SELECT {PROMPT_COLUMNS} FROM {table} AS prompts WHERE prompt_id = :id");
        let mut select = connection.prepare_cached(&query)?;
        let found = select
            .query_row(named_params! {":id": prompt_id}, |row| prompt_of(row, 0))
            .optional()?;
        if let Some(prompt) = found {
            return Ok(Some((prompt, is_asked)));
        }
    }
    Ok(None)
}

/// Ledgers have the table once a prompt could have been left out.
fn has_left_out(connection: &Connection) -> rusqlite::Result<bool> {
    let mut count = connection.prepare_cached(
        "SELECT (SELECT count(*) FROM main.sqlite_schema WHERE name = 'left_out') + (SELECT count(*) FROM \
         temp.sqlite_schema WHERE name = 'left_out')",
    )?;
    count.query_row([], |row| row.get::<_, u32>(0)).map(|n| n > 0)
}
