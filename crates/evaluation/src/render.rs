//! Views of a report: a page to read, Markdown to quote, a table for the terminal, JSON for programs.
//!
//! All print the same cells; none computes a figure that the report does not hold. The command
//! line calls [`write()`] and prints [`table`].

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tiercast_records::disk::write_atomically;
use tiercast_records::error::RecordsError;

use crate::report::Report;

mod axis;
mod curve;
#[cfg(test)]
mod fixture;
mod forecasts;
mod headline;
mod html;
mod label;
mod markdown;
mod number;
mod plain;
pub mod policies;
mod results;
mod selective;
mod small;
pub mod suite;
mod table;

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The folder could not be made.
    #[error("{} could not be made", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The report cannot be written as JSON.
    #[error("the report cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] RecordsError),
}

/// Writes `report.html`, `report.md` and, last, `report.json` into `folder`, making it where absent.
/// Each file is whole or not there; a folder with `report.json` has all three.
pub fn write(report: &Report, folder: &Path) -> Result<(), RenderError> {
    let json = serde_json::to_string_pretty(report)? + "\n";
    fs::create_dir_all(folder).map_err(|source| RenderError::Folder {
        folder: folder.to_path_buf(),
        source,
    })?;
    let views = [
        ("report.html", html::page(report)),
        ("report.md", markdown::document(report)),
        ("report.json", json),
    ];
    for (name, text) in views {
        write_atomically(&folder.join(name), |file| file.write_all(text.as_bytes()))?;
    }
    Ok(())
}

/// The result for a terminal: headline, a line per method, operating points; up to 100 characters wide.
pub fn table(report: &Report) -> String {
    plain::table(report)
}

/// The command line that makes the report again. Folders are the reader's.
fn reproduce(report: &Report) -> String {
    let data = &report.data;
    format!(
        "tiercast evaluate --checkpoint <{}> --outcomes <files> --split {} --seed {} --replicates {} --out <folder>",
        report.checkpoint.id,
        data.split.name(),
        data.seed,
        data.n_bootstrap
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Estimate, SliceMethod, SliceReport, TwoTier};

    /// A page of the hand-made report, after `change`.
    fn page_of(change: impl FnOnce(&mut Report)) -> String {
        let mut report = fixture::report();
        change(&mut report);
        html::page(&report)
    }

    fn snapshot(name: &str, text: &str) {
        insta::with_settings!({ snapshot_path => "render/snapshots", prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, text);
        });
    }

    #[test]
    fn markdown_is_short_tables() {
        snapshot("markdown", &markdown::document(&fixture::report()));
    }

    #[test]
    fn terminal_table_is_aligned_and_narrow() {
        let text = table(&fixture::report());
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        snapshot("table", &text);
    }

    #[test]
    fn page_has_its_parts_and_needs_nothing_else() {
        let page = page_of(|_| ());
        let parts = [
            "What quality costs",
            "role=\"img\"",
            "beside everything else",
            "Operating points",
            "Per domain",
            "Is the prediction right?",
            "Does it know when it does not know?",
            "Share of right decisions",
            "Evidence, sufficient or not",
            "too high",
            "Is the predicted cost right?",
            "Figures of other benchmarks",
            "How to reproduce",
            "prefers-color-scheme",
            "Oracle (cheapest among best)",
        ];
        for part in parts {
            assert!(page.contains(part), "{part}");
        }
        for link in ["src=", "href=", "url(", "http:", "https:", "<script"] {
            assert!(!page.contains(link), "{link}");
        }
    }

    #[test]
    fn hostile_names_are_text() {
        let hostile = |report: &mut Report| {
            let name = "<script>alert(1)</script>".to_owned();
            report.tiers[0].name.clone_from(&name);
            report.methods[1].label.clone_from(&name);
            report.domains[0].domain.clone_from(&name);
            report.prediction.tiers[0].name.clone_from(&name);
            report.prediction.domains[0].domain.clone_from(&name);
            report.selective.gate.as_mut().unwrap().safe_tier.clone_from(&name);
            report.notes.push(name);
        };
        let page = page_of(hostile);
        assert!(page.contains("&lt;script&gt;"));
        assert!(!page.contains("<script"));
        let mut report = fixture::report();
        hostile(&mut report);
        assert!(!markdown::document(&report).contains("<script"));
    }

    #[test]
    fn undefined_figures_read_not_available() {
        let undefined = |report: &mut Report| {
            let nan = Estimate {
                value: f64::NAN,
                low: f64::NAN,
                high: f64::NAN,
            };
            for method in &mut report.methods {
                method.aiq = nan;
                method.aiq_log = None;
                method.deferral_area = f64::NAN;
                method.hull.iter_mut().for_each(|point| point.quality = f64::NAN);
                for point in &mut method.operating_points {
                    (point.quality, point.relative_cost) = (nan, nan);
                    point.optimal_cost = None;
                    point.tier_shares.fill(f64::NAN);
                }
            }
            report.prediction.pooled.ece_mass = f64::NAN;
            for order in &mut report.selective.orders {
                (order.decision.aurc, order.forecast.minus_random) = (nan, nan);
                order.curve.iter_mut().for_each(|point| point.accuracy = nan);
            }
            report.prediction.pooled.pit.fill(f64::NAN);
            report.tiers.iter_mut().for_each(|tier| tier.cost_usd = 0.0);
            report.differences.iter_mut().for_each(|found| found.difference = nan);
        };
        let mut report = fixture::report();
        undefined(&mut report);
        for text in [html::page(&report), markdown::document(&report), table(&report)] {
            assert!(text.contains("n/a"), "{text}");
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        }
    }

    #[test]
    fn an_empty_report_is_still_a_page() {
        let page = page_of(|report| {
            report.methods.clear();
            report.tiers.clear();
            report.domains.clear();
            report.differences.clear();
            report.notes.clear();
            report.prediction.tiers.clear();
            report.prediction.domains.clear();
            report.selective.orders.clear();
            report.selective.gate = None;
        });
        assert!(page.contains("no operating point"));
    }

    #[test]
    fn two_tiers_have_their_columns_and_parts() {
        let two_tier = TwoTier {
            apgr: None,
            cpt50: Some(0.31),
            cpt80: None,
            curve: Vec::new(),
        };
        let page = page_of(|report| {
            report.methods[0].two_tier = Some(two_tier.clone());
            report.slices = vec![SliceReport {
                name: "gsm8k".to_owned(),
                n_items: 1307,
                weak_quality: 0.63,
                strong_quality: 0.86,
                methods: vec![SliceMethod {
                    method: "tiercast".to_owned(),
                    two_tier,
                }],
            }];
        });
        for part in [
            "APGR",
            "CPT 80",
            "31.0 %",
            "gsm8k: 1,307 prompts, weak 0.630, strong 0.860",
        ] {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn doubt_that_says_nothing_is_called_so() {
        let mut report = fixture::report();
        let sentence = selective::sentence(&report).unwrap();
        assert!(
            sentence.contains("is better than a random one for decisions"),
            "{sentence}"
        );
        let order = &mut report.selective.orders[0];
        order.decision.significant = false;
        order.forecast.minus_random.value = 0.1;
        let sentence = selective::sentence(&report).unwrap();
        for part in [
            "not distinguishable from a random one for decisions",
            "worse than a random one for forecasts",
        ] {
            assert!(sentence.contains(part), "{sentence}");
        }
        report.selective.gate = None;
        assert!(selective::gate(&report).rows.is_empty() && selective::gate_sentence(&report).is_none());
    }

    #[test]
    fn noise_is_not_called_a_difference() {
        let mut report = fixture::report();
        let quality = &mut report.methods[0].operating_points[0].relative_quality;
        (quality.low, quality.value, quality.high) = (0.99, 1.001, 1.01);
        let sentence = headline::headline(&report);
        assert!(sentence.contains("the quality is not distinguishable"), "{sentence}");
        report
            .differences
            .iter_mut()
            .for_each(|found| found.significant = false);
        let sentence = headline::comparison(&report);
        assert!(sentence.contains("not distinguishable from Random mix"), "{sentence}");
    }

    #[test]
    fn json_reads_back_and_files_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (report, out) = (fixture::report(), folder.path().join("a/b"));
        write(&report, &out).unwrap();
        let json = fs::read_to_string(out.join("report.json")).unwrap();
        let read: Report = serde_json::from_str(&json).unwrap();
        assert_eq!((read.tiers.len(), &read.notes), (report.tiers.len(), &report.notes));
        assert_eq!(headline::headline(&read), headline::headline(&report));
        assert_eq!(fs::read_dir(&out).unwrap().count(), 3);
    }
}
