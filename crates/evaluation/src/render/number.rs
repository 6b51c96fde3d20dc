//! Numbers as text, with sensible digits. What is absent or not finite reads `n/a`.

use crate::report::Estimate;

/// Shown for a figure that is undefined on the data at hand.
pub(super) const ABSENT: &str = "n/a";

/// With so many decimals; never a negative zero.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return ABSENT.to_owned();
    }
    let text = format!("{value:.decimals$}");
    let is_zero = !text.chars().any(|c| ('1'..='9').contains(&c));
    if is_zero {
        text.trim_start_matches('-').to_owned()
    } else {
        text
    }
}

/// A mean, a score or an area in [0, 1].
pub(super) fn score(value: f64) -> String {
    fixed(value, 3)
}

/// A difference of scores, with its sign.
pub(super) fn gain(value: f64) -> String {
    signed(&fixed(value, 3))
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    match fixed(100.0 * share, 1) {
        text if text == ABSENT => text,
        text => format!("{text} %"),
    }
}

/// A relative difference as a percentage, with its sign.
pub(super) fn gain_percent(share: f64) -> String {
    signed(&percent(share))
}

/// A cost per request as US dollars per 1,000 requests, three significant digits.
pub(super) fn usd_per_thousand(cost_usd: f64) -> String {
    usd(1000.0 * cost_usd)
}

/// US dollars, three significant digits.
pub(super) fn usd(value: f64) -> String {
    if !value.is_finite() {
        return ABSENT.to_owned();
    }
    // Less than that is the rounding of a difference of equals.
    if value.abs() < 5e-10 {
        return "$0".to_owned();
    }
    let magnitude = value.abs().log10().floor() as i32;
    let decimals = usize::try_from(2 - magnitude).unwrap_or(0).min(9);
    let text = fixed(value.abs(), decimals);
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}${}{rest}", grouped(whole))
}

/// A count with its thousands apart.
pub(super) fn count(n: usize) -> String {
    grouped(&n.to_string())
}

/// A figure and its interval: `0.723 [0.710, 0.735]`. The unit stands once.
pub(super) fn interval(estimate: Estimate, show: impl Fn(f64) -> String) -> String {
    if !estimate.value.is_finite() {
        return ABSENT.to_owned();
    }
    let bare = |value: f64| show(value).trim_end_matches(" %").trim_start_matches('$').to_owned();
    format!(
        "{} [{}, {}]",
        show(estimate.value),
        bare(estimate.low),
        bare(estimate.high)
    )
}

/// The figure where there is one.
pub(super) fn optional<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| ABSENT.to_owned(), show)
}

fn signed(text: &str) -> String {
    let is_bare = text == ABSENT || text.starts_with('-');
    format!("{}{text}", if is_bare { "" } else { "+" })
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
    fn digits_are_sensible() {
        let cases = [
            (usd_per_thousand(0.000_012_34), "$0.0123"),
            (usd_per_thousand(0.001_234), "$1.23"),
            (usd_per_thousand(1.234_56), "$1,235"),
            (usd_per_thousand(0.0), "$0"),
            (usd(-4.2), "-$4.20"),
            (usd(f64::NAN), "n/a"),
            (percent(0.9911), "99.1 %"),
            (percent(f64::NAN), "n/a"),
            (gain(0.0124), "+0.012"),
            (gain(-0.0124), "-0.012"),
            (gain(-0.000_01), "+0.000"),
            (gain(f64::INFINITY), "n/a"),
            (gain_percent(-0.5), "-50.0 %"),
            (count(1_234_567), "1,234,567"),
            (count(12), "12"),
            (optional(None, score), "n/a"),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_unit_of_an_interval_stands_once() {
        let estimate = Estimate {
            value: 0.991,
            low: 0.98,
            high: 1.0,
        };
        assert_eq!(interval(estimate, percent), "99.1 % [98.0, 100.0]");
        let undefined = Estimate {
            value: f64::NAN,
            ..estimate
        };
        assert_eq!(interval(undefined, percent), "n/a");
    }
}
