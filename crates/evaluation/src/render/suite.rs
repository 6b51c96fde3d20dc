//! Views of a suite's result: a table for the terminal, Markdown to quote, JSON for programs.

use std::fs;
use std::path::Path;

use tiercast_records::disk::write_atomically;

use super::RenderError;
use super::curve::shortened;
use super::number::{ABSENT, count, fixed, gain, interval, optional, percent, score, usd_per_thousand};
use super::table::escaped;
use crate::report::{Estimate, MethodKind};
use crate::suite::Headline;
use crate::suite::result::{EncoderResult, MethodFigures, PartResult, SuiteResult};

/// Width of the first column.
const NAME: usize = 32;
/// Widths of the columns with intervals and of the others.
const WIDE: usize = 25;
const NARROW: usize = 8;

const LEGEND: &str = "Quality and cost (US dollars per 1,000 prompts) are at the setting chosen on validation, or \
the only one; 95 %: cost at 95 % of the best single tier's quality, as a share of its cost. Brackets hold the 95 % interval of a bootstrap over questions; differences are paired on the \
same replicates, * where the interval excludes zero. Baselines route with the cost forecast of the encoder they are \
compared with; their own column is that of the first encoder.";

/// Writes `result.md` and, last, `result.json` into `folder`, making it where absent.
pub fn write(result: &SuiteResult, folder: &Path) -> Result<(), RenderError> {
    let json = serde_json::to_string_pretty(result)? + "\n";
    fs::create_dir_all(folder).map_err(|source| RenderError::Folder {
        folder: folder.to_path_buf(),
        source,
    })?;
    for (name, text) in [("result.md", markdown(result)), ("result.json", json)] {
        write_atomically(&folder.join(name), |file| {
            std::io::Write::write_all(file, text.as_bytes())
        })?;
    }
    Ok(())
}

/// All parts, for the terminal.
pub fn table(result: &SuiteResult) -> String {
    let parts = result.parts.iter().map(plain_part);
    let text = [
        vec![format!("{}\n{}\n", result.title, made_by(result))],
        parts.collect(),
    ]
    .concat();
    text.join("\n") + &format!("\n{LEGEND}\n")
}

fn made_by(result: &SuiteResult) -> String {
    format!(
        "Suite {}, reported on {}, seed {}, tiercast {}, commit {}.",
        result.suite, result.rows, result.seed, result.version, result.commit
    )
}

fn plain_part(part: &PartResult) -> String {
    let n_wide = 1 + part.encoders.len();
    let line = |cells: &[String]| {
        let width = |index| if index < n_wide { WIDE } else { NARROW };
        let numbers = cells[1..]
            .iter()
            .enumerate()
            .map(|(i, cell)| format!(" {cell:>width$}", width = width(i)));
        let name = shortened(&cells[0], NAME);
        format!("{name:<NAME$}{}", numbers.collect::<String>())
            .trim_end()
            .to_owned()
    };
    let mut lines = vec![heading(part), line(&columns(part))];
    lines.extend(rows(part).iter().map(|cells| line(cells)));
    lines.extend(remarks(part));
    lines.join("\n") + "\n"
}

fn markdown(result: &SuiteResult) -> String {
    let mut text = format!("# {}\n\n{}\n", escaped(&result.title), escaped(&made_by(result)));
    for part in &result.parts {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells
                .iter()
                .map(|cell| cell.replace('*', "\\*").replace('|', "\\|"))
                .collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let columns = columns(part);
        let rule: Vec<String> = (0..columns.len())
            .map(|i| if i == 0 { "---" } else { "---:" }.to_owned())
            .collect();
        text += &format!("\n## {}\n\n{}\n\n", escaped(&part.name), escaped(&heading(part)));
        text += &line(&columns);
        text += &format!("| {} |\n", rule.join(" | "));
        rows(part).iter().for_each(|cells| text += &line(cells));
        text += "\n";
        let remarks = remarks(part).into_iter().chain(part.notes.iter().cloned());
        remarks.for_each(|remark| text += &format!("- {}\n", escaped(&remark)));
    }
    text += &format!("\n{}\n\n", escaped(LEGEND));
    result
        .notes
        .iter()
        .for_each(|note| text += &format!("- {}\n", escaped(note)));
    for file in &result.data {
        text += &format!(
            "- {} (SHA-256 {})\n",
            escaped(&file.file),
            file.sha256.get(..12).unwrap_or_default()
        );
    }
    text
}

fn heading(part: &PartResult) -> String {
    format!(
        "{}: {}; {} prompts, trained on {}; tiers {}",
        part.name,
        part.protocol,
        count(part.n_prompts),
        count(part.n_train),
        part.tiers.join(", ")
    )
}

fn columns(part: &PartResult) -> Vec<String> {
    let minus = part
        .encoders
        .iter()
        .map(|encoder| format!("{} minus it", encoder.encoder));
    let last: &[&str] = match part.headline {
        Headline::Apgr => &["CPT50", "CPT80"],
        Headline::Aiq => &["95 %"],
    };
    let first = ["method", part.headline.name()].map(str::to_owned);
    let last = ["quality", "$ / 1k"].iter().chain(last).map(|name| (*name).to_owned());
    first.into_iter().chain(minus).chain(last).collect()
}

/// tiercast with each encoder, then the baselines of the first.
fn rows(part: &PartResult) -> Vec<Vec<String>> {
    let ours = part.encoders.iter().filter_map(|encoder| {
        let ours = encoder.methods.first()?;
        Some(row(part, &format!("tiercast-{}", encoder.encoder), ours))
    });
    let baselines = part
        .encoders
        .first()
        .into_iter()
        .flat_map(|first| first.methods.iter().skip(1));
    ours.chain(baselines.map(|method| row(part, &method.label, method)))
        .collect()
}

fn row(part: &PartResult, label: &str, method: &MethodFigures) -> Vec<String> {
    let is_ours = method.kind == MethodKind::Tiercast;
    let minus = part
        .encoders
        .iter()
        .map(|encoder| match difference(encoder, &method.name) {
            Some(difference) if !is_ours => starred(difference),
            _ if is_ours => "-".to_owned(),
            _ => ABSENT.to_owned(),
        });
    let share = |share: Option<f64>| optional(share, percent);
    let point = [
        optional(method.point, |point| score(point.quality)),
        optional(method.point, |point| usd_per_thousand(point.cost_usd)),
    ];
    let last = match part.headline {
        Headline::Apgr => vec![share(method.cpt50), share(method.cpt80)],
        Headline::Aiq => vec![share(method.cost_share_95)],
    };
    let last = point.into_iter().chain(last);
    let first = [
        label.to_owned(),
        optional(method.headline, |headline| interval(headline, score)),
    ];
    first.into_iter().chain(minus).chain(last).collect()
}

fn difference(encoder: &EncoderResult, method: &str) -> Option<Estimate> {
    encoder.methods.iter().find(|held| held.name == method)?.difference
}

fn starred(difference: Estimate) -> String {
    let excludes_zero = difference.low > 0.0 || difference.high < 0.0;
    format!("{}{}", interval(difference, gain), if excludes_zero { "*" } else { "" })
}

/// A line per encoder and thing to say.
fn remarks(part: &PartResult) -> Vec<String> {
    part.encoders
        .iter()
        .flat_map(|encoder| encoder_remarks(part, encoder))
        .collect()
}

fn encoder_remarks(part: &PartResult, encoder: &EncoderResult) -> Vec<String> {
    let name = &encoder.encoder;
    let headline = part.headline.name();
    let prediction = encoder.prediction.as_ref().map(|found| {
        let histogram = found.crps_train_histogram.zip(found.crps_minus_histogram);
        let train = histogram.map(|(crps, minus)| {
            let minus = interval(minus, |value| fixed(value, 4));
            format!(" (train histogram {}, minus it {minus})", fixed(crps, 4))
        });
        format!(
            "{name}: Brier {}, CRPS {}{}, ECE {} (floor {})",
            fixed(found.brier, 4),
            fixed(found.crps, 4),
            train.unwrap_or_default(),
            score(found.ece),
            score(found.ece_floor)
        )
    });
    let validated = encoder.validated.as_ref().map(|point| {
        format!(
            "{name}: with the setting chosen on validation, {} of the best single tier's quality at {} of its cost",
            interval(point.relative_quality, percent),
            interval(point.relative_cost, percent)
        )
    });
    let seeds = encoder.seeds.as_ref().map(|spread| {
        let n = spread.values.len();
        format!(
            "{name}: {headline} over {n} seeds: mean {}, from {} to {}",
            fixed(spread.mean, 4),
            fixed(spread.min, 4),
            fixed(spread.max, 4)
        )
    });
    let control = encoder.control.as_ref().map(|control| {
        format!(
            "{name}: trained on shuffled outcomes: {headline} {}, over the random mix {}",
            optional(control.headline, |headline| interval(headline, score)),
            optional(control.over_random_mix, starred)
        )
    });
    let within = encoder.methods.first().and_then(|ours| ours.within_folds).map(|ours| {
        format!(
            "{name}: ranked within each fold, {headline} {}; minus {}",
            interval(ours, score),
            within_differences(encoder)
        )
    });
    let ablations = encoder.ablations.iter().map(|ablation| {
        format!(
            "{name} without {}: {headline} {}, all views minus it {}, CRPS {}",
            ablation.without,
            optional(ablation.headline, |headline| interval(headline, score)),
            optional(ablation.gain, starred),
            fixed(ablation.crps, 4)
        )
    });
    let once = [within, prediction, validated, seeds, control].into_iter().flatten();
    once.chain(ablations).collect()
}

/// Paired differences to the baselines that learn, ranked within each fold.
fn within_differences(encoder: &EncoderResult) -> String {
    let learns = |method: &&MethodFigures| matches!(method.kind, MethodKind::Learned | MethodKind::KnowsLabel);
    let difference = |method: &MethodFigures| Some((method.label.clone(), method.within_folds_difference?));
    let all = encoder.methods.iter().filter(learns).filter_map(difference);
    let words: Vec<String> = all
        .map(|(label, difference)| format!("{label} {}", starred(difference)))
        .collect();
    words.join(", ")
}
