//! What judging asks of a ledger beyond the verdicts of one configuration.

use super::Ledger;
use crate::error::CollectError;

impl Ledger {
    /// Verdicts of the judge of this name by configurations other than this one.
    pub fn n_other_verdicts(&self, judge: &str, judge_hash: &str) -> Result<u64, CollectError> {
        let count = "SELECT count(*) FROM verdicts WHERE judge = ?1 AND judge_hash <> ?2";
        let count = self.connection.query_row(count, [judge, judge_hash], |row| row.get(0));
        count.map_err(self.failed("read"))
    }
}
