//! `tiercast data validate` and `tiercast data describe`: is a file of outcomes or prompts right, and
//! is there anything to route in it?

use std::collections::BTreeMap;
use std::path::Path;

use tiercast_collect::judge::own::PromptJudges;
use tiercast_records::describe::{self, Description, Headroom, TierFigures};
use tiercast_records::error::Problem;
use tiercast_records::outcomes::{self, ReadOptions, Split, ValidationReport};
use tiercast_records::prompts::{self, PromptsReport};

use crate::output::{print, print_json};

/// Checks `file` and prints what it holds and what is wrong with it. False if anything is.
pub(crate) fn validate(file: &Path, json: bool) -> anyhow::Result<bool> {
    if prompts::is_prompts_file(file)? {
        return validate_prompts(file, json);
    }
    let report = outcomes::validate(file)?;
    if json {
        print_json(&report)?;
    } else {
        print(validation_text(&report).trim_end());
    }
    Ok(report.is_ok())
}

fn validate_prompts(file: &Path, json: bool) -> anyhow::Result<bool> {
    let mut judges = PromptJudges::default();
    let report = prompts::validate_checked(file, |prompt| judges.check(prompt))?;
    if json {
        print_json(&report)?;
    } else {
        print(prompts_text(&report).trim_end());
    }
    Ok(report.is_ok())
}

/// Prints prompts, tiers and headroom of `file`, of `models` only if given. The holdout split is
/// left out: figures that are looked at before a choice must not come from it.
pub(crate) fn describe(file: &Path, models: Option<Vec<String>>, json: bool) -> anyhow::Result<()> {
    let splits = Split::ALL
        .into_iter()
        .filter(|split| *split != Split::Holdout)
        .collect();
    let options = ReadOptions {
        with_text: false,
        models,
        splits: Some(splits),
    };
    let outcomes = outcomes::read(&[file.to_path_buf()], &options)?;
    anyhow::ensure!(
        !outcomes.outcomes.is_empty(),
        "{} has rows of the holdout split alone, which is not described",
        file.display()
    );
    let description = describe::describe(&outcomes);
    if json {
        print_json(&description)?;
    } else {
        print(description_text(&description).trim_end());
    }
    Ok(())
}

fn validation_text(report: &ValidationReport) -> String {
    let splits = listed(report.prompts_by_split.iter().map(|(split, n)| (split.name(), n)));
    let counts = format!(
        "{} rows, {} prompts ({splits}), {} models, score kinds: {}",
        report.n_rows,
        report.n_prompts,
        report.models.len(),
        report.score_kinds.join(", "),
    );
    let file = report.file.display();
    if report.is_ok() {
        return format!("OK {file}: {counts}\n");
    }
    format!(
        "{} problems in {file} ({} rows):\n{}",
        report.n_problems,
        report.n_rows,
        problems_text(&report.problems, report.n_problems)
    )
}

fn prompts_text(report: &PromptsReport) -> String {
    let splits = listed(report.prompts_by_split.iter().map(|(split, n)| (split.name(), n)));
    let domains = listed(named(&report.prompts_by_domain));
    let counts = format!(
        "{} prompts ({splits}) in {} rows of {}, {} repeated, domains: {domains}, {} with a reference, {} with a \
         near-duplicate",
        report.n_prompts,
        report.n_rows,
        report.format,
        report.n_merged,
        report.n_with_reference,
        report.n_near_duplicates,
    );
    let warnings: String = report
        .warnings
        .iter()
        .map(|warning| format!("  note: {warning}\n"))
        .collect();
    let file = report.file.display();
    if report.is_ok() {
        return format!("OK {file}: {counts}\n{warnings}");
    }
    format!(
        "{} problems in {file}: {counts}\n{}{warnings}",
        report.n_problems,
        problems_text(&report.problems, report.n_problems)
    )
}

fn problems_text(problems: &[Problem], n_problems: u64) -> String {
    let unlisted = n_problems - problems.len() as u64;
    let more = (unlisted > 0).then(|| format!("  and {unlisted} more\n"));
    let lines = problems.iter().map(|problem| format!("  {problem}\n"));
    lines.chain(more).collect()
}

fn description_text(description: &Description) -> String {
    let splits = description.prompts_by_split.iter().map(|(split, n)| (split.name(), n));
    let mut text = format!(
        "{} prompts, {} outcomes\n",
        description.n_prompts, description.n_outcomes
    );
    text += &format!("by split:   {} (holdout left out)\n", listed(splits));
    text += &format!("by domain:  {}\n", listed(named(&description.prompts_by_domain)));
    text += &format!("score kind: {}\n\n", listed(named(&description.outcomes_by_score_kind)));
    text += &tiers_text(&description.tiers);
    text += &match &description.headroom {
        Some(headroom) => headroom_text(headroom, description.tiers.len()),
        None => "\nno headroom: there is no prompt that every model answered; choose some with --tiers\n".to_owned(),
    };
    text
}

fn tiers_text(tiers: &[TierFigures]) -> String {
    let head = [
        "tier",
        "class",
        "prompts",
        "score",
        "in tok",
        "out tok",
        "USD/1000",
        "no tokens",
        "cost kinds",
    ];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(tiers.iter().map(tier_cells));
    table(&lines)
}

fn tier_cells(tier: &TierFigures) -> [String; 9] {
    [
        tier.name.clone(),
        tier.class.to_string(),
        tier.n_prompts.to_string(),
        format!("{:.3}", tier.mean_score),
        known(tier.mean_input_tokens, 0),
        known(tier.mean_output_tokens, 0),
        known(tier.usd_per_1000, 4),
        percent(tier.share_without_tokens),
        listed(named(&tier.cost_kinds)),
    ]
}

fn headroom_text(headroom: &Headroom, n_models: usize) -> String {
    let Headroom {
        n_prompts,
        best_single,
        best_single_score,
        oracle_score,
        ..
    } = headroom;
    format!(
        "\nheadroom on the {n_prompts} prompts that all {n_models} answered (part of it is luck: no router reaches the oracle)\n\
         best single tier:  {best_single}, score {best_single_score:.3}, {} USD per 1000\n\
         oracle:            score {oracle_score:.3}, {} USD per 1000 (the cheapest of each prompt's best)\n\
         all right {}, none right {}, mean pairwise disagreement {}\n",
        known(headroom.best_single_usd_per_1000, 3),
        known(headroom.oracle_usd_per_1000, 3),
        percent(headroom.share_all_right),
        percent(headroom.share_none_right),
        known(headroom.mean_pairwise_disagreement, 3),
    )
}

/// Columns as wide as their widest cell: the first and the last to the left, numbers to the right.
pub(crate) fn table<const N: usize>(lines: &[[String; N]]) -> String {
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let cell = |column: usize, text: &str| match column {
        0 => format!("{text:<0$}", widths[0]),
        last if last + 1 == N => text.to_owned(),
        _ => format!("{text:>0$}", widths[column]),
    };
    let line = |cells: &[String; N]| {
        let cells: Vec<String> = cells
            .iter()
            .enumerate()
            .map(|(column, text)| cell(column, text))
            .collect();
        format!("{}\n", cells.join("  "))
    };
    lines.iter().map(line).collect()
}

fn known(number: Option<f64>, decimals: usize) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.decimals$}"))
}

fn percent(share: f64) -> String {
    format!("{:.0}%", 100.0 * share)
}

fn named(counts: &BTreeMap<String, usize>) -> impl Iterator<Item = (&str, &usize)> {
    counts
        .iter()
        .map(|(name, n)| (if name.is_empty() { "(none)" } else { name.as_str() }, n))
}

fn listed<'a>(counts: impl Iterator<Item = (&'a str, &'a usize)>) -> String {
    counts
        .map(|(name, n)| format!("{name} {n}"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let lines = [["tier", "n", "kinds"], ["big one", "100", "a, b"]].map(|line| line.map(str::to_owned));
        assert_eq!(table(&lines), "tier       n  kinds\nbig one  100  a, b\n");
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        assert_eq!(
            (known(None, 2), known(Some(0.126), 2)),
            ("-".to_owned(), "0.13".to_owned())
        );
    }
}
