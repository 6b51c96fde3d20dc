//! A span of time, as it is typed.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, NaiveDate, NaiveTime};
use clap::Args;
use tiercast_journal::Range;

use crate::arguments::UsageError;

/// From when to when.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Span {
    /// From when on: `7d`, `24h` or `30m` ago, a date (`2026-11-23`, UTC) or a moment (`2026-11-23T08:00:00Z`).
    #[arg(long)]
    since: Option<String>,
    /// Until when, written alike.
    #[arg(long)]
    until: Option<String>,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.since, &self.until) {
            (None, None) => f.write_str("all of it"),
            (Some(since), None) => write!(f, "since {since}"),
            (None, Some(until)) => write!(f, "until {until}"),
            (Some(since), Some(until)) => write!(f, "from {since} to {until}"),
        }
    }
}

impl Span {
    /// Whether it is any but all.
    pub(crate) fn is_given(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    pub(crate) fn range(&self) -> Result<Range, UsageError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ms = now.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        let read = |name: &str, text: &Option<String>| {
            let Some(text) = text else { return Ok(None) };
            let read = moment(text, now_ms).ok_or_else(|| {
                UsageError(format!(
                    "--{name} {text}: give how long ago (7d, 24h, 30m), a date (2026-11-23) or a moment \
                     (2026-11-23T08:00:00Z)"
                ))
            });
            read.map(Some)
        };
        let range = Range {
            since_ms: read("since", &self.since)?,
            until_ms: read("until", &self.until)?,
        };
        match (range.since_ms, range.until_ms) {
            (Some(since), Some(until)) if since >= until => Err(UsageError(format!(
                "{self} is no span of time: --since comes before --until"
            ))),
            _ => Ok(range),
        }
    }
}

fn moment(text: &str, now_ms: i64) -> Option<i64> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Some(date.and_time(NaiveTime::MIN).and_utc().timestamp_millis());
    }
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment.timestamp_millis());
    }
    let unit_ms = match text.chars().last()? {
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        'w' => 7 * 86_400_000,
        _ => return None,
    };
    let number: i64 = text[..text.len() - 1].parse().ok().filter(|number| *number >= 0)?;
    now_ms.checked_sub(number.checked_mul(unit_ms)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (text, expected) in [
            ("1970-01-02", Some(86_400_000)),
            ("1970-01-01T01:00:00+01:00", Some(0)),
            ("30m", Some(1_000_000_000 - 1_800_000)),
            ("2d", Some(1_000_000_000 - 172_800_000)),
            ("-2d", None),
            ("d", None),
            ("yesterday", None),
            ("99999999999999999d", None),
            ("ü", None),
            ("", None),
        ] {
            assert_eq!(moment(text, 1_000_000_000), expected, "{text}");
        }
    }

    #[test]
    fn a_span_ends_after_it_begins() {
        let span = |since: &str, until: &str| Span {
            since: Some(since.to_owned()),
            until: Some(until.to_owned()),
        };
        assert!(span("2026-01-02", "2026-01-01").range().is_err());
        assert!(span("2026-01-01", "2026-01-02").range().is_ok());
        assert!(
            span("soon", "2026-01-02")
                .range()
                .unwrap_err()
                .to_string()
                .contains("--since soon")
        );
    }
}
