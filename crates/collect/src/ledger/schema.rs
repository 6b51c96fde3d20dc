//! The tables. All strict, so that a column holds what it says.

/// Version of the tables.
pub(super) const FORMAT_VERSION: u32 = 1;

/// Made in one transaction with the first prompts: a ledger is whole or not there.
pub(super) const TABLES: &str = r#"
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE tiers (
    name TEXT PRIMARY KEY,
    class INTEGER NOT NULL,
    model TEXT NOT NULL,
    base_url TEXT NOT NULL,
    parameters TEXT NOT NULL,
    parameters_hash TEXT NOT NULL,
    input_usd_per_mtok REAL NOT NULL,
    output_usd_per_mtok REAL NOT NULL,
    cached_input_usd_per_mtok REAL NOT NULL,
    context_window INTEGER,
    is_asked INTEGER NOT NULL
) STRICT;

CREATE TABLE prompts (
    number INTEGER PRIMARY KEY,
    prompt_id TEXT NOT NULL UNIQUE,
    split_key TEXT NOT NULL,
    split TEXT NOT NULL,
    dataset TEXT NOT NULL,
    subset TEXT NOT NULL,
    domain TEXT NOT NULL,
    prompt TEXT NOT NULL,
    prompt_format TEXT NOT NULL,
    response_format TEXT,
    schema TEXT,
    reference TEXT,
    judge TEXT
) STRICT;

CREATE TABLE calls (
    prompt_id TEXT NOT NULL,
    tier TEXT NOT NULL,
    sample INTEGER NOT NULL,
    parameters_hash TEXT NOT NULL,
    status TEXT NOT NULL,
    text TEXT,
    tool_calls TEXT,
    finish_reason TEXT,
    truncated INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER,
    cached_input_tokens INTEGER,
    output_tokens INTEGER,
    tokens_estimated INTEGER NOT NULL DEFAULT 0,
    cost_usd REAL,
    time_to_first_token_s REAL,
    latency_s REAL,
    logprobs TEXT,
    error_kind TEXT,
    error_message TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    UNIQUE (prompt_id, tier, sample, parameters_hash)
) STRICT;
CREATE INDEX calls_by_tier ON calls (tier, status);

CREATE TABLE failed_attempts (
    prompt_id TEXT NOT NULL,
    tier TEXT NOT NULL,
    sample INTEGER NOT NULL,
    parameters_hash TEXT NOT NULL,
    kind TEXT NOT NULL,
    http_status INTEGER,
    after_s REAL NOT NULL
) STRICT;
CREATE INDEX failed_attempts_by_tier ON failed_attempts (tier, kind);

CREATE TABLE verdicts (
    prompt_id TEXT NOT NULL,
    tier TEXT NOT NULL,
    sample INTEGER NOT NULL,
    parameters_hash TEXT NOT NULL,
    judge TEXT NOT NULL,
    judge_hash TEXT NOT NULL,
    repeat INTEGER NOT NULL,
    "order" INTEGER NOT NULL,
    score REAL,
    raw_score REAL,
    reasons TEXT,
    parsed INTEGER NOT NULL,
    cost_usd REAL,
    error_kind TEXT,
    error_message TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    UNIQUE (prompt_id, tier, sample, parameters_hash, judge_hash, repeat, "order")
) STRICT;
"#;

/// Prompts that were asked and are no longer in the file, with the columns of `prompts`; what was answered to them
/// is in `calls`. Made when a run goes on, so that older ledgers have it too.
pub(super) const LEFT_OUT: &str = "
CREATE TABLE IF NOT EXISTS left_out (
    number INTEGER,
    prompt_id TEXT PRIMARY KEY,
    split_key TEXT NOT NULL,
    split TEXT NOT NULL,
    dataset TEXT NOT NULL,
    subset TEXT NOT NULL,
    domain TEXT NOT NULL,
    prompt TEXT NOT NULL,
    prompt_format TEXT NOT NULL,
    response_format TEXT,
    schema TEXT,
    reference TEXT,
    judge TEXT
) STRICT;
";
