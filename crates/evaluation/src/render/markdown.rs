//! The report in short form, for a repository or a pull request.

use super::table::{Table, escaped};
use super::{forecasts, headline, reproduce, results, selective};
use crate::report::Report;

/// The whole document.
pub(super) fn document(report: &Report) -> String {
    let facts: String = headline::provenance(report)
        .into_iter()
        .map(|(name, fact)| format!("- {name}: {}\n", escaped(&fact)))
        .collect();
    let mut parts = vec![
        "# tiercast evaluation".to_owned(),
        format!(
            "**{}** {}",
            escaped(&headline::headline(report)),
            escaped(&headline::comparison(report))
        ),
        format!(
            "Brackets are 95 % intervals, costs are US dollars per 1,000 requests. The best single tier is {}.",
            escaped(&forecasts::best_single(report))
        ),
        facts,
    ];
    let mut tables = vec![
        results::methods(report),
        results::trade(report),
        results::operating(report),
        results::shares(report),
        results::domains(report),
    ];
    tables.extend(report.slices.iter().map(|slice| results::slice(report, slice)));
    tables.extend([
        Table {
            title: "Prediction per tier".to_owned(),
            ..forecasts::prediction(report)
        },
        Table {
            title: "Prediction where it is used".to_owned(),
            ..forecasts::routed(report)
        },
        Table {
            title: "Prediction per domain".to_owned(),
            ..forecasts::domains(report)
        },
        Table {
            title: "Predicted minus observed quality".to_owned(),
            ..forecasts::biases(report)
        },
        Table {
            title: "Prediction beside the baselines".to_owned(),
            ..forecasts::calibration(report)
        },
        selective::areas(report),
        Table {
            title: "What is left when the doubtful are set aside".to_owned(),
            ..selective::kept(report)
        },
        selective::gate(report),
        forecasts::cost_head(report),
        Table {
            title: "Other benchmarks, at settings".to_owned(),
            ..forecasts::field_points(report)
        },
        Table {
            title: "Other benchmarks, over whole curves".to_owned(),
            ..forecasts::field_curves(report)
        },
    ]);
    let filled = tables.iter().filter(|table| !table.rows.is_empty());
    parts.extend(filled.map(|table| format!("## {}\n\n{}", escaped(&table.title), table.markdown())));
    let sentences = [
        selective::sentence(report),
        selective::gate_sentence(report),
        forecasts::certified(report),
    ];
    parts.extend(sentences.into_iter().flatten().map(|sentence| escaped(&sentence)));
    if !report.notes.is_empty() {
        let notes: String = report
            .notes
            .iter()
            .map(|note| format!("- {}\n", escaped(note)))
            .collect();
        parts.push(format!("## Notes\n\n{notes}"));
    }
    parts.push(format!(
        "What each column means stands in `report.html`; all figures, in full precision, in `report.json`.\n\n```sh\n{}\n```",
        reproduce(report)
    ));
    parts
        .iter()
        .map(|part| part.trim_end())
        .collect::<Vec<_>>()
        .join("\n\n")
        + "\n"
}
