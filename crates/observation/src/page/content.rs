//! What the page says, before it is laid out: a line per question, then sections of tables.

use super::number::{bounds, count, gain, optional, percent, score, sentence, shown, time, usd};
use super::table::Table;
use super::{FindingView, Report, Severity};
use crate::summary::figures::{CostBasis, Figures, QualityFigures, Saved};

mod flow;
mod money;
mod quality;

/// Rows of a table on the page; the JSON has all of them.
const MOST_ROWS: usize = 20;

/// A question and its answer in one look.
pub(super) struct Answer {
    pub(super) question: &'static str,
    pub(super) figure: String,
    pub(super) remark: String,
    /// Whether it wants attention.
    pub(super) is_bad: bool,
}

/// A chart that stands above a section's tables.
pub(super) enum Chart {
    Timeline,
    Paths,
    Tiers,
    Reliability,
    Frontier,
}

/// A part of the page.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) text: Vec<String>,
    pub(super) charts: Vec<Chart>,
    pub(super) tables: Vec<Table>,
}

/// Period and size, in a line.
pub(super) fn subtitle(report: &Report) -> String {
    let period = report.figures.period;
    let period = period
        .from_ms
        .zip(period.to_ms)
        .map(|(from, to)| format!("{} to {} UTC", time(from), time(to)));
    format!(
        "{}. {} requests, {} journal rows.",
        period.unwrap_or_else(|| "No rows in this period".to_owned()),
        count(report.figures.totals.requests),
        count(report.rows),
    )
}

/// The answers to the four questions: cost, quality by path, escalation, drift.
pub(super) fn answers(report: &Report) -> Vec<Answer> {
    let figures = &report.figures;
    vec![
        spent(figures),
        saved(figures),
        quality_answer(figures),
        escalated(figures),
        drift(&report.findings),
    ]
}

fn spent(figures: &Figures) -> Answer {
    let totals = &figures.totals;
    let answered = (totals.requests > 0).then(|| totals.answered as f64 / totals.requests as f64);
    Answer {
        question: "Spent",
        figure: usd(totals.spent_usd),
        remark: format!(
            "{} calls; {} of the requests answered, {} failed",
            count(totals.calls),
            optional(answered, percent),
            count(totals.failed)
        ),
        is_bad: false,
    }
}

fn saved(figures: &Figures) -> Answer {
    let found = figures.cost.all.saved.zip(figures.cost.always_best.as_ref());
    let Some((saved, best)) = found else {
        return Answer {
            question: "Saved",
            figure: optional(None::<f64>, usd),
            remark: "No answered request had a forecast to compare with.".to_owned(),
            is_bad: false,
        };
    };
    let interval = saved.saved_usd_interval.map_or_else(
        || format!("{} was hardly called, so there is no interval", shown(&best.tier)),
        |interval| format!("95 %: {}", bounds(interval, usd)),
    );
    Answer {
        question: "Saved",
        figure: saved_text(&saved),
        remark: format!(
            "against always {}. {interval}. Expected quality {} instead of {}",
            shown(&best.tier),
            optional(best.decided_quality_mean, score),
            score(best.quality_mean)
        ),
        is_bad: saved.saved_usd < 0.0,
    }
}

fn saved_text(saved: &Saved) -> String {
    let share = saved.saved_share.map(|share| format!(" ({})", percent(share)));
    format!("{}{}", usd(saved.saved_usd), share.unwrap_or_default())
}

fn quality_answer(figures: &Figures) -> Answer {
    let all = &figures.quality.all;
    let of_path = |row: &QualityFigures| {
        let figure = row.observed.or(row.predicted)?;
        (row.requests > 0).then(|| format!("{} {}", row.name, score(figure)))
    };
    let paths: Vec<_> = figures.quality.by_path.iter().filter_map(of_path).collect();
    let behind = match all.difference {
        Some(difference) => format!(
            "{} against the prediction, {} observed, of which {} judged",
            gain(difference),
            count(all.n_observed),
            count(all.n_judged)
        ),
        None => "expected; nobody has said anything of the answers".to_owned(),
    };
    Answer {
        question: if all.observed.is_some() {
            "Quality observed"
        } else {
            "Quality expected"
        },
        figure: optional(all.observed.or(all.predicted), score),
        remark: format!(
            "{behind}. By path: {}",
            if paths.is_empty() {
                "none".to_owned()
            } else {
                paths.join(", ")
            }
        ),
        is_bad: all.difference_interval.is_some_and(|interval| interval.high < 0.0),
    }
}

fn escalated(figures: &Figures) -> Answer {
    let fallbacks = figures
        .quality
        .by_path
        .iter()
        .find(|row| row.name == "fallback")
        .map_or(0, |row| row.requests);
    let hint = figures.escalations.stages.iter().find_map(|stage| stage.hint.clone());
    Answer {
        question: "Escalated",
        figure: optional(figures.escalations.rate, percent),
        remark: format!(
            "of the answered requests; {} answered by fallback. {}",
            count(fallbacks),
            hint.as_deref().map(sentence).unwrap_or_default()
        ),
        is_bad: hint.is_some(),
    }
}

fn drift(findings: &[FindingView]) -> Answer {
    let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count() as u64;
    let counts = [
        (of(Severity::Alarm), "alarm"),
        (of(Severity::Warning), "warning"),
        (of(Severity::Note), "note"),
    ];
    let said = counts.iter().filter(|(n, _)| *n > 0);
    let said: Vec<_> = said
        .map(|(n, name)| format!("{} {name}{}", count(*n), if *n == 1 { "" } else { "s" }))
        .collect();
    let worst = findings.iter().max_by_key(|finding| finding.severity);
    Answer {
        question: "Drift",
        figure: if said.is_empty() {
            "none found".to_owned()
        } else {
            said.join(", ")
        },
        remark: worst.map(|finding| sentence(&finding.says)).unwrap_or_default(),
        is_bad: findings.iter().any(|finding| finding.severity > Severity::Note),
    }
}

/// Everything below the answers and the findings.
pub(super) fn sections(report: &Report) -> Vec<Section> {
    let figures = &report.figures;
    vec![
        money::cost(figures),
        quality::by_path(figures),
        quality::by_label(figures),
        flow::escalations(figures),
        flow::failures(figures),
        money::frontier(figures),
        flow::latency(figures),
        flow::totals(figures),
    ]
}

/// Where the ratio of real to expected costs comes from.
fn basis(figures: &Figures) -> Option<String> {
    let best = figures.cost.always_best.as_ref()?;
    let tier = shown(&best.tier);
    Some(match best.basis {
        CostBasis::CallsOfTheTier => format!(
            "Saved is an estimate: {tier} was not asked always. Where it was called, its real cost counts; elsewhere its expected \
             cost, times {:.3}, which is how far its {} complete calls were off their forecasts. The interval holds the spread \
             of its costs, and not that it may be off by another factor on requests that it was not called for.",
            best.cost_ratio,
            count(best.n_calls)
        ),
        CostBasis::CallsOfOtherTiers => format!(
            "Saved is an estimate, without an interval: {tier} had only {} complete calls. Its expected costs are multiplied with \
             {:.3}, which is how far the calls of all tiers were off their forecasts.",
            count(best.n_calls),
            best.cost_ratio
        ),
        CostBasis::ForecastsAlone => format!(
            "Saved is what the forecasts say, without an interval: hardly any call was complete, so nothing tells how far the \
             expected costs of {tier} are off."
        ),
    })
}

/// The name of a row, with what may be missing from it and whose evidence it rests on.
fn row_name(name: &str, is_rest: bool, missed_at_most: u64, predicted_as: Option<&str>) -> super::table::Cell {
    let missed = (missed_at_most > 0).then(|| format!("up to {} more in the rest", count(missed_at_most)));
    let borrowed = predicted_as.map(|from| format!("evidence borrowed from {}", shown(from)));
    let small: Vec<String> = missed.into_iter().chain(borrowed).collect();
    let name = if is_rest { "all others".to_owned() } else { shown(name) };
    super::table::Cell::from(name).with((!small.is_empty()).then(|| small.join("; ")))
}

/// How many rows of a table there are beside those that it shows.
fn more(n: usize) -> String {
    match n.saturating_sub(MOST_ROWS) {
        0 => String::new(),
        left => format!("{left} more are in the JSON."),
    }
}
