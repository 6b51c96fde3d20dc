//! Views of a report: a page that needs nothing else, Markdown, a table for the terminal. They print
//! the same tables; none computes a figure.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::probes::Kind;
use super::report::{CHECKER, Estimate, GateCheck, JudgeFigures, Report};

const STYLE: &str = include_str!("page.css");

/// Rows of text under headings.
struct Table {
    title: &'static str,
    explanation: &'static str,
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// The page.
pub fn html(report: &Report) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "tiercast judges" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        h1 { "tiercast judges" }
                        p.headline { (headline(report)) }
                        @for caveat in caveats(report) { p.caveat { (caveat) } }
                        p.second { "Scores are qualities from 0 to 1. Figures in brackets are 95 % intervals." }
                    }
                    @if !report.gate.is_empty() { section { h2 { "Can the judges be trusted?" } (gate(report)) } }
                    section { h2 { "What the tiers got" } (table(&tiers(report))) }
                    @let rules = checkers(report);
                    @if !rules.rows.is_empty() { section { h2 { (rules.title) } p { (rules.explanation) } (table(&rules)) } }
                    @for judge in asked(report) {
                        section {
                            h2 { "Judge " (judge.name) }
                            p.second { (described(judge)) }
                            @for part in parts(judge) { h3 { (part.title) } p { (part.explanation) } (table(&part)) }
                        }
                    }
                }
            }
        }
    };
    markup.into_string()
}

/// The same for quoting.
pub fn markdown(report: &Report) -> String {
    let mut text = format!("# tiercast judges\n\n{}\n", plain(&headline(report)));
    for caveat in caveats(report) {
        text += &format!("\n{}\n", plain(&caveat));
    }
    let mut add = |title: &str, table: &Table| {
        if !table.rows.is_empty() {
            text += &format!("\n## {}\n\n{}\n", plain(title), lines(table));
        }
    };
    add("Can the judges be trusted?", &gate_table(report));
    add("What the tiers got", &tiers(report));
    let rules = checkers(report);
    add(rules.title, &rules);
    for judge in asked(report) {
        add(&format!("Judge {}", judge.name), &counts(judge));
        for part in parts(judge).iter().skip(1) {
            add(&format!("Judge {}: {}", judge.name, part.title), part);
        }
    }
    text
}

/// For the terminal: tiers, then figures beside their limits.
pub fn terminal(report: &Report) -> String {
    let mut text = aligned(&tiers(report));
    if !report.gate.is_empty() {
        text += &format!("\n{}", aligned(&gate_table(report)));
    }
    text
}

fn headline(report: &Report) -> String {
    let failed: Vec<&GateCheck> = report.failures().collect();
    let (n_scored, n_unmeasured) = (report.n_scored(), report.unmeasured().count());
    let n_measured = report.gate.len() - n_unmeasured;
    let unmeasured = match n_unmeasured {
        0 => String::new(),
        n => format!(" {n} could not be measured."),
    };
    match (failed.first(), report.gate.is_empty()) {
        (Some(first), _) => format!(
            "{} of {n_measured} checks of the judges failed.{unmeasured} {}",
            failed.len(),
            first.sentence()
        ),
        (None, true) if report.stopped.is_some() => format!("{n_scored} replies have a score so far."),
        (None, true) => format!("{n_scored} replies have a score, by judges that follow a rule and need no check."),
        (None, false) if report.stopped.is_some() => format!(
            "{n_scored} replies have a score so far; {n_measured} checks of the judges passed on what was judged.{unmeasured}"
        ),
        (None, false) => {
            format!("{n_scored} replies have a score, and all {n_measured} checks of the judges passed.{unmeasured}")
        }
    }
}

/// What the figures do not rest on.
fn caveats(report: &Report) -> Vec<String> {
    let stopped = report.stopped.as_ref();
    let stopped = stopped.map(|why| format!("Judging ended before everything was judged: {why}"));
    let of_whole = report.unmeasured().filter(|_| report.stopped.is_none());
    let unmeasured = of_whole.map(|check| format!("Not measured: {}", check.sentence()));
    stopped
        .into_iter()
        .chain(report.uncollected.sentence())
        .chain(unmeasured)
        .collect()
}

fn described(judge: &JudgeFigures) -> String {
    let other = match judge.n_other {
        0 => String::new(),
        n => format!(" {n} verdicts by an earlier configuration of this judge are kept and not used."),
    };
    format!(
        "{}, marked as {} in outcome files, configuration {}.{other}",
        judge.role, judge.score_kind, judge.hash
    )
}

fn gate(report: &Report) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Checks of the judges" {
            table {
                thead { tr { @for heading in gate_table(report).headings { th scope="col" { (heading) } } th scope="col" { "what to do" } } }
                tbody {
                    @for (check, cells) in report.gate.iter().zip(gate_table(report).rows) {
                        tr {
                            th scope="row" { (cells[0]) }
                            @for cell in &cells[1..4] { td { (cell) } }
                            td.failed[!check.passed].passed[check.passed && check.unmeasured.is_none()] { (cells[4]) }
                            td.wrap {
                                @if let Some(why) = &check.unmeasured { (why) } @else if !check.passed { (check.mend) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn gate_table(report: &Report) -> Table {
    let row = |check: &GateCheck| {
        let limit = if check.is_floor { "at least" } else { "at most" };
        let verdict = match (&check.unmeasured, check.passed) {
            (Some(_), _) => "not measured",
            (None, true) => "passed",
            (None, false) => "failed",
        };
        vec![
            check.judge.clone(),
            check.figure.clone(),
            number(check.value),
            format!("{limit} {}", check.limit),
            verdict.to_owned(),
        ]
    };
    Table {
        title: "Checks",
        explanation: "",
        headings: vec!["judge", "figure", "value", "limit", "verdict"],
        rows: report.gate.iter().map(row).collect(),
    }
}

fn tiers(report: &Report) -> Table {
    let rows = report.tiers.iter().map(|tier| {
        let counts = [tier.n_truncated, tier.n_unanswerable, tier.n_unscored].map(|n| n.to_string());
        [
            vec![tier.tier.clone(), tier.n_scored.to_string(), number(tier.mean)],
            counts.to_vec(),
        ]
        .concat()
    });
    Table {
        title: "Tiers",
        explanation: "",
        headings: vec![
            "tier",
            "scored",
            "mean score",
            "truncated",
            "unanswerable",
            "without a score",
        ],
        rows: rows.collect(),
    }
}

/// Judges with a section of their own: models and commands.
fn asked(report: &Report) -> impl Iterator<Item = &JudgeFigures> {
    report.judges.iter().filter(|judge| judge.role != CHECKER)
}

/// Rules, by name: those that prompts bring along are many, and of a kind.
fn checkers(report: &Report) -> Table {
    let mut by_name: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
    for judge in report.judges.iter().filter(|judge| judge.role == CHECKER) {
        let counts = [judge.n_replies, judge.n_scored, judge.n_unparsed, judge.n_failed];
        let sums = by_name.entry(&judge.name).or_default();
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let row =
        |(name, counts): (&str, [u64; 4])| [vec![name.to_owned()], counts.map(|n| n.to_string()).to_vec()].concat();
    Table {
        title: "Checkers",
        explanation: "Judges that follow a rule; those that prompts bring along are taken together by kind. A reply in \
                      which there is nothing to judge counts as wrong.",
        headings: vec!["checker", "replies", "scored", "nothing to judge", "failed"],
        rows: by_name.into_iter().map(row).collect(),
    }
}

fn parts(judge: &JudgeFigures) -> Vec<Table> {
    let all = [
        counts(judge),
        probes(judge),
        agreement(judge),
        position(judge),
        by_tier(judge),
        errors(judge),
    ];
    all.into_iter().filter(|table| !table.rows.is_empty()).collect()
}

fn counts(judge: &JudgeFigures) -> Table {
    let parse_rate = judge
        .parse_rate
        .map_or("n/a".to_owned(), |rate| format!("{:.1} %", 100.0 * rate));
    let counts = [
        judge.n_replies,
        judge.n_scored,
        judge.n_unparsed,
        judge.n_failed,
        judge.n_asked_again,
    ]
    .map(|n| n.to_string());
    Table {
        title: "Verdicts",
        explanation: "Unparsed: a verdict that could not be read in two tries. Failed: made again by the next run.",
        headings: vec![
            "replies",
            "scored",
            "unparsed",
            "failed",
            "asked again",
            "could be read",
            "US dollars",
        ],
        rows: vec![[counts.to_vec(), vec![parse_rate, format!("{:.4}", judge.cost_usd)]].concat()],
    }
}

/// Kinds of which none could be made stand there too: nothing is known of the judge in that respect.
fn probes(judge: &JudgeFigures) -> Table {
    let kinds = Kind::ALL.iter().filter(|_| !judge.probes.is_empty());
    let rows = kinds.map(|kind| {
        let found = judge.probes.iter().find(|probe| probe.kind == *kind);
        vec![
            kind.name().replace('_', " "),
            found.map_or(0, |probe| probe.n).to_string(),
            number(found.map(|probe| probe.mean)),
            number(found.and_then(|probe| probe.gap)),
        ]
    });
    Table {
        title: "Answers of known worth",
        explanation: "Good: the reference, else the strongest tier's answer. Bad: an answer to the same prompt that the exact \
                      judge gives nothing, else a good one with another number, letter or yes and no. Off topic: a good \
                      answer to another prompt. Truncated: the first third of a good answer of 40 characters or more. \
                      Injection: the off-topic answer and an instruction to the judge. Gap: what the good answers to the \
                      same prompts score more.",
        headings: vec!["probe", "judged", "mean score", "gap"],
        rows: rows.collect(),
    }
}

fn agreement(judge: &JudgeFigures) -> Table {
    let rows = judge.agreement.iter().map(|agreement| {
        let figures = [
            agreement.alpha_interval,
            agreement.alpha_nominal,
            Some(agreement.raw_equal),
            Some(agreement.raw_near),
        ];
        [vec![agreement.n.to_string()], figures.map(number).to_vec()].concat()
    });
    Table {
        title: "Agreement with itself",
        explanation: "Replies of a seeded sample judged twice. Krippendorff's alpha is 1 for perfect agreement and 0 for chance; \
                      it is not available where every judgement is the same.",
        headings: vec!["replies", "alpha, interval", "alpha, nominal", "equal", "within 0.1"],
        rows: rows.collect(),
    }
}

fn position(judge: &JudgeFigures) -> Table {
    let rows = judge.position.iter().map(|position| {
        vec![
            position.n.to_string(),
            number(Some(position.bias)),
            number(Some(position.flipped)),
        ]
    });
    Table {
        title: "What the place does",
        explanation: "Every pair is judged in both orders and the two are averaged, which cancels a preference for a place. Bias: \
                      1 if the first always wins, -1 if the second does. Flipped: pairs in which the same place won twice.",
        headings: vec!["pairs", "position bias", "flipped"],
        rows: rows.collect(),
    }
}

fn by_tier(judge: &JudgeFigures) -> Table {
    let has_exact = judge.tiers.iter().any(|tier| tier.n_exact > 0);
    let rows = judge.tiers.iter().filter(|_| judge.role != "checker").map(|tier| {
        let judged = vec![tier.tier.clone(), tier.n.to_string(), number(Some(tier.mean))];
        let exact = [
            tier.n_exact.to_string(),
            number(tier.exact_mean),
            estimate(tier.bias),
            estimate(tier.corrected),
        ];
        [judged, exact.to_vec()]
            .concat()
            .into_iter()
            .take(if has_exact { 7 } else { 3 })
            .collect()
    });
    let headings = [
        "tier",
        "judged",
        "mean score",
        "with exact",
        "exact mean",
        "bias",
        "corrected mean",
    ];
    let explanation = match has_exact {
        true => {
            "Bias: judged minus exact on replies that have both. Corrected: prediction-powered estimate of the mean exact \
             score over all replies; it holds where replies with an exact score are like the others."
        }
        false if judge.score_kind.starts_with("llm_pairwise") => {
            "0.5 is as good as what it is compared with. That is not the scale of exact scores, so no bias against them is \
             given."
        }
        false => "",
    };
    Table {
        title: "By tier",
        explanation,
        headings: headings.into_iter().take(if has_exact { 7 } else { 3 }).collect(),
        rows: rows.collect(),
    }
}

fn errors(judge: &JudgeFigures) -> Table {
    let rows = judge.errors.iter().filter(|error| !error.example.is_empty());
    Table {
        title: "What went wrong",
        explanation: "",
        headings: vec!["kind", "how often", "last message"],
        rows: rows
            .map(|error| vec![error.kind.clone(), error.n.to_string(), error.example.clone()])
            .collect(),
    }
}

fn number(value: Option<f64>) -> String {
    value
        .filter(|value| value.is_finite())
        .map_or("n/a".to_owned(), |value| format!("{value:.3}"))
}

fn estimate(estimate: Option<Estimate>) -> String {
    estimate.map_or("n/a".to_owned(), |found| {
        format!("{:.3} [{:.3}, {:.3}]", found.value, found.low, found.high)
    })
}

fn table(table: &Table) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(table.title) {
            table {
                thead { tr { @for heading in &table.headings { th scope="col" { (heading) } } } }
                tbody {
                    @for row in &table.rows {
                        tr { @for (idx, cell) in row.iter().enumerate() {
                            @if idx == 0 { th scope="row" { (cell) } } @else { td.wrap[cell.len() > 60] { (cell) } }
                        } }
                    }
                }
            }
        }
    }
}

/// A table in Markdown.
fn lines(table: &Table) -> String {
    let line = |cells: &[String]| {
        format!(
            "| {} |",
            cells.iter().map(|cell| plain(cell)).collect::<Vec<_>>().join(" | ")
        )
    };
    let headings: Vec<String> = table.headings.iter().map(|heading| (*heading).to_owned()).collect();
    let rule = format!("|{}", " --- |".repeat(headings.len()));
    let rows = table.rows.iter().map(|row| line(row));
    [line(&headings), rule]
        .into_iter()
        .chain(rows)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Text that is no markup.
fn plain(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace(['\n', '\r'], " ")
}

/// A table for the terminal.
fn aligned(table: &Table) -> String {
    let headings: Vec<String> = table.headings.iter().map(|heading| (*heading).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&headings).chain(&table.rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.into_iter().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::report::{Agreement, JudgeErrors, JudgedTier, ProbeFigures, TierScores, Uncollected};
    use super::*;

    fn report(name: &str) -> Report {
        let found = Some(Estimate {
            value: 0.1,
            low: 0.05,
            high: 0.15,
        });
        let judge = JudgeFigures {
            name: name.to_owned(),
            role: "model".to_owned(),
            n_other: 3,
            parse_rate: Some(0.9),
            agreement: Some(Agreement {
                n: 20,
                alpha_interval: None,
                alpha_nominal: None,
                raw_equal: 1.0,
                raw_near: 1.0,
            }),
            probes: vec![ProbeFigures {
                kind: Kind::OffTopic,
                n: 8,
                mean: 0.25,
                gap: Some(0.5),
            }],
            tiers: vec![JudgedTier {
                tier: name.to_owned(),
                n: 9,
                mean: 0.5,
                n_exact: 4,
                exact_mean: Some(0.4),
                bias: found,
                corrected: found,
                weight: Some(1.0),
            }],
            errors: vec![JudgeErrors {
                kind: "timeout".to_owned(),
                n: 2,
                example: name.to_owned(),
            }],
            ..JudgeFigures::default()
        };
        let check = GateCheck {
            judge: name.to_owned(),
            figure: "the position bias".to_owned(),
            value: Some(0.9),
            limit: 0.2,
            key: "max_position_bias".to_owned(),
            is_floor: false,
            passed: false,
            unmeasured: None,
            mend: "use a stronger model".to_owned(),
        };
        let tier = TierScores {
            tier: name.to_owned(),
            n_scored: 9,
            mean: Some(0.5),
            ..TierScores::default()
        };
        Report {
            tiers: vec![tier],
            judges: vec![judge],
            gate: vec![check],
            ..Report::default()
        }
    }

    #[test]
    fn what_the_figures_do_not_rest_on_is_told() {
        let mut report = report("rubric");
        report.gate[0] = GateCheck {
            passed: true,
            value: None,
            unmeasured: Some("too few".to_owned()),
            ..report.gate[0].clone()
        };
        report.uncollected = Uncollected {
            n_calls: 10,
            n_left: [("light".to_owned(), 3)].into(),
        };
        for text in [html(&report), markdown(&report)] {
            for part in [
                "Not measured: judge `rubric`: the position bias (judge.gate.max_position_bias): too few",
                "3 of 10 calls are not collected (tiers `light` 3)",
            ] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
        report.stopped = Some("the limit was reached".to_owned());
        for text in [html(&report), markdown(&report)] {
            for part in [
                "not measured",
                "have a score so far",
                "everything was judged: the limit was reached",
            ] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
    }

    #[test]
    fn the_page_has_its_parts_and_needs_nothing_else() {
        let page = html(&report("rubric"));
        for part in [
            "over the ceiling of 0.2",
            "off topic",
            "0.100 [0.050, 0.150]",
            "prefers-color-scheme",
            "n/a",
            "3 verdicts by an earlier",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        for link in ["src=", "href=", "url(", "http:", "https:", "<script"] {
            assert!(!page.contains(link), "{link}");
        }
    }

    #[test]
    fn hostile_names_are_text() {
        let report = report("<script>alert(1)</script>|x");
        for text in [html(&report), markdown(&report)] {
            assert!(!text.contains("<script"), "{text}");
        }
        assert!(markdown(&report).contains("\\|x"));
    }

    #[test]
    fn an_empty_report_is_still_a_page() {
        assert!(html(&Report::default()).contains("need no check"));
        assert!(terminal(&report("rubric")).contains("mean score"));
    }
}
