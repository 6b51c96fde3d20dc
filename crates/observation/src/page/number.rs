//! Numbers, times and labels as text. What is absent or not finite reads `n/a`.

use crate::summary::Interval;

/// Shown for what is not known.
pub(super) const ABSENT: &str = "n/a";

/// With so many decimals; never a negative zero.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return ABSENT.to_owned();
    }
    let text = format!("{value:.decimals$}");
    let is_zero = !text.chars().any(|digit| ('1'..='9').contains(&digit));
    if is_zero {
        text.trim_start_matches('-').to_owned()
    } else {
        text
    }
}

/// A quality.
pub(super) fn score(value: f64) -> String {
    fixed(value, 3)
}

/// A difference of qualities, with its sign.
pub(super) fn gain(value: f64) -> String {
    let text = score(value);
    let is_bare = text == ABSENT || text.starts_with('-');
    format!("{}{text}", if is_bare { "" } else { "+" })
}

/// A share, as a percentage.
pub(super) fn percent(share: f64) -> String {
    match fixed(100.0 * share, 1) {
        text if text == ABSENT => text,
        text => format!("{text} %"),
    }
}

/// US dollars: cents from a dollar on, three significant digits below.
pub(super) fn usd(value: f64) -> String {
    if !value.is_finite() {
        return ABSENT.to_owned();
    }
    if value.abs() < 5e-10 {
        return "$0".to_owned();
    }
    let magnitude = value.abs().log10().floor() as i32;
    let decimals = usize::try_from(2 - magnitude.min(0)).unwrap_or(2).min(9);
    let text = fixed(value.abs(), if value.abs() >= 10_000.0 { 0 } else { decimals });
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}${}{rest}", grouped(whole))
}

/// Milliseconds.
pub(super) fn wait(ms: f64) -> String {
    match ms {
        ms if !ms.is_finite() => ABSENT.to_owned(),
        ms if ms >= 10_000.0 => format!("{} s", fixed(ms / 1000.0, 1)),
        ms if ms >= 100.0 => format!("{} ms", fixed(ms, 0)),
        ms => format!("{} ms", fixed(ms, 1)),
    }
}

/// A count with its thousands apart.
pub(super) fn count(n: u64) -> String {
    grouped(&n.to_string())
}

/// Bounds: `0.710 to 0.735`.
pub(super) fn bounds(interval: Interval, show: impl Fn(f64) -> String) -> String {
    format!("{} to {}", show(interval.low), show(interval.high))
}

/// The figure where there is one.
pub(super) fn optional<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| ABSENT.to_owned(), show)
}

/// A time in UTC, to the minute: `2026-03-01 14:05`.
pub(super) fn time(ms: i64) -> String {
    let minutes = ms.div_euclid(60_000);
    let (hour, minute) = (minutes.div_euclid(60).rem_euclid(24), minutes.rem_euclid(60));
    format!("{} {hour:02}:{minute:02}", date(ms))
}

/// A date in UTC, by Howard Hinnant's `civil_from_days`.
pub(super) fn date(ms: i64) -> String {
    let days = ms.div_euclid(86_400_000) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A label as it may be shown: in one line, without characters that turn the text around, not too long.
pub(super) fn shown(label: &str) -> String {
    const MOST: usize = 60;
    let short: String = sentence(label).chars().take(MOST).collect();
    match label.chars().count() {
        0 => "(none)".to_owned(),
        n if n > MOST => format!("{short}…"),
        _ => short,
    }
}

/// A sentence that may hold a label: the same at any length.
pub(super) fn sentence(text: &str) -> String {
    let is_hidden = |c: char| {
        let turns =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        turns || c.is_control()
    };
    text.chars()
        .map(|c| if is_hidden(c) { '\u{fffd}' } else { c })
        .collect()
}

fn grouped(digits: &str) -> String {
    let n = digits.len();
    let apart = |(i, digit): (usize, char)| {
        let comma = i > 0 && (n - i).is_multiple_of(3);
        comma.then_some(',').into_iter().chain(Some(digit))
    };
    digits.chars().enumerate().flat_map(apart).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_sensible_digits() {
        let cases = [
            (usd(1234.567), "$1,234.57"),
            (usd(12_345.67), "$12,346"),
            (usd(0.012_345), "$0.0123"),
            (usd(-4.2), "-$4.20"),
            (usd(0.0), "$0"),
            (usd(f64::NAN), "n/a"),
            (percent(0.4118), "41.2 %"),
            (gain(-0.000_01), "+0.000"),
            (gain(-0.02), "-0.020"),
            (wait(1.25), "1.2 ms"),
            (wait(850.4), "850 ms"),
            (wait(12_340.0), "12.3 s"),
            (count(1_234_567), "1,234,567"),
            (optional(None, score), "n/a"),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01 00:00"),
            (951_782_400_000, "2000-02-29 00:00"),
            (1_700_000_000_000, "2023-11-14 22:13"),
            (-1, "1969-12-31 23:59"),
        ];
        for (ms, expected) in cases {
            assert_eq!(time(ms), expected);
        }
        // Ten digits of a year are no reason to fail.
        assert!(time(i64::MAX).ends_with(":12") && !time(i64::MIN).is_empty());
    }

    #[test]
    fn labels_stay_in_their_line() {
        assert_eq!(shown("a\nb\u{202e}c"), "a\u{fffd}b\u{fffd}c");
        assert_eq!(shown(""), "(none)");
        assert_eq!(shown(&"x".repeat(500)).chars().count(), 61);
    }
}
