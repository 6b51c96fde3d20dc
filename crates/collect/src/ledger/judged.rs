//! What judging asks of a ledger beyond the verdicts of one configuration.

use super::Ledger;
use crate::error::CollectError;

impl Ledger {
    /// Verdicts of judges of this name by configurations other than those in use, by hash.
    pub fn n_other_verdicts(&self, judge: &str, in_use: &[&str]) -> Result<u64, CollectError> {
        let places = vec!["?"; in_use.len()].join(", ");
        let count = format!("SELECT count(*) FROM verdicts WHERE judge = ? AND judge_hash NOT IN ({places})");
        let values = rusqlite::params_from_iter(std::iter::once(&judge).chain(in_use));
        let count = self.connection.query_row(&count, values, |row| row.get(0));
        count.map_err(self.failed("read"))
    }
}
