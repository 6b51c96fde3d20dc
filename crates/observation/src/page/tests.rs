use tiercast_records::journal::{Role, Verdict};

use super::{FindingView, Report, Severity, html, markdown};
use crate::summary::fixture::{answered, call, failed, read};
use crate::summary::{Resolution, Summary, Trace};

const TIERS: [(&str, f32, f64); 2] = [("small", 0.6, 0.001), ("large", 0.9, 0.010)];

fn report(title: &str, summary: &Summary, findings: Vec<FindingView>) -> Report {
    Report {
        title: title.to_owned(),
        rows: 12,
        notes: Vec::new(),
        findings,
        figures: summary.figures(),
    }
}

fn finding(text: &str) -> FindingView {
    FindingView {
        kind: text.to_owned(),
        severity: Severity::Alarm,
        what: text.to_owned(),
        says: text.to_owned(),
        do_this: text.to_owned(),
        at_ms: Some(0),
    }
}

/// A week in which everything happened, with this for every label.
fn eventful(label: &str) -> Summary {
    let mut summary = Summary::new(&[Resolution::TWO_DAYS]);
    let tiers = [(label, 0.6, 0.001), ("large", 0.9, 0.010)];
    let calls = [
        vec![call(label, Role::Chosen, 0.001)],
        vec![failed(label, Role::Chosen, label), call("large", Role::Fallback, 0.02)],
        vec![
            read(label, Role::Chosen, 0.001, 0.2),
            call("large", Role::Escalation, 0.01),
        ],
        vec![read(label, Role::Chosen, 0.001, 0.9)],
    ];
    for (hour, calls) in calls.into_iter().cycle().take(400).enumerate() {
        let mut row = answered(&tiers, calls);
        (row.task, row.cohort, row.policy, row.reason) = (label.into(), label.into(), label.into(), label.into());
        (row.endpoint, row.checkpoint, row.rule) = (label.into(), label.into(), Some(label.into()));
        row.tiers[1].excluded = (hour % 9 == 0).then(|| label.into());
        row.time_ms += 600_000 * hour as i64;
        row.propensity = 0.5;
        summary.add(&row, (hour % 3 == 0).then_some(0.7));
        summary.hear(&Trace::of(&row), Verdict::GoodFit);
    }
    summary
}

#[test]
fn an_empty_report_is_a_page_without_numbers_that_are_none() {
    let report = report("Nothing", &Summary::default(), Vec::new());
    for text in [
        html(&report),
        markdown(&report),
        serde_json::to_string(&report).unwrap(),
    ] {
        assert!(!text.contains("NaN") && !text.contains("inf "), "{text}");
    }
    assert!(html(&report).contains("No rows in this period"));
}

#[test]
fn borrowed_evidence_is_marked_wherever_the_report_is_read() {
    let mut summary = Summary::default();
    let mut row = answered(&TIERS, vec![call("small", Role::Chosen, 0.001)]);
    row.tiers[0].predicted_as = Some("trained".into());
    summary.add(&row, None);
    let report = report("Borrowed", &summary, Vec::new());
    for text in [html(&report), markdown(&report)] {
        // In the tables of costs and of qualities.
        assert_eq!(text.matches("evidence borrowed from trained").count(), 2, "{text}");
    }
    let figures = serde_json::to_value(&report).unwrap()["figures"].clone();
    for section in ["cost", "quality"] {
        let rows = figures[section]["by_tier"].as_array().unwrap();
        let of = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap()["predicted_as"].clone();
        assert_eq!(
            (of("small"), of("large")),
            ("trained".into(), serde_json::Value::Null),
            "{section}"
        );
    }
}

#[test]
fn one_look_says_what_was_spent_saved_and_found() {
    let report = report("Week 9", &eventful("small"), vec![finding("Tier small got worse.")]);
    let text = markdown(&report);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("- **")).collect();
    for (line, words) in lines.iter().zip([
        "Spent: \\$",
        "Saved: ",
        "Quality observed: 0.700",
        "Escalated: 25.0 %",
        "Drift: 1 alarm",
    ]) {
        assert!(line.contains(words), "{line}");
    }
    // Saved: half of 400 requests went to large, at its real cost; the others at its forecast times 1.5.
    let saved = report.figures.cost.all.saved.unwrap();
    assert!(
        (saved.always_best_usd - (100.0 * 0.02 + 100.0 * 0.01 + 200.0 * 0.015)).abs() < 1e-9,
        "{saved:?}"
    );
    let page = html(&report);
    assert!(page.contains("Tier small got worse.") && page.contains("random sample"));
}

#[test]
fn hostile_labels_are_text_and_nothing_else() {
    let label = "<script>alert('x')</script>\"><img src=x onerror=1>|`a`\n# b @all https://evil.example \u{202e}";
    let mut report = report(label, &eventful(label), vec![finding(label)]);
    report.notes = vec![label.to_owned()];
    let page = html(&report);
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains('\u{202e}'));
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    let text = markdown(&report);
    assert!(!text.contains("<script") || text.contains("\\<script"));
    assert!(!text.contains("@all") && !text.contains("https://") && !text.contains('\u{202e}'));
    assert!(text.lines().all(|line| !line.starts_with("# b")));
    // Every row of a table has as many cells as its heading.
    let cells = |line: &str| line.replace("\\\\", "").replace("\\|", "").matches('|').count();
    for block in text.split("\n\n").filter(|block| block.starts_with('|')) {
        let mut widths = block.lines().map(cells);
        let first = widths.next().unwrap();
        assert!(widths.all(|width| width == first), "{block}");
    }
}

#[test]
fn the_page_needs_nothing_else() {
    let page = html(&report("Week 9", &eventful("small"), Vec::new()));
    for outside in ["http:", "https:", "src=", "url(", "@import", "<script", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
    // Each chart has its table: the figures of the drawn points are in one.
    assert!(page.matches("<figure").count() >= 4 && page.matches("<table").count() >= page.matches("<figure").count());
}

#[test]
fn many_labels_make_a_long_json_and_a_short_page() {
    let mut summary = Summary::default();
    for i in 0..150 {
        let mut row = answered(&TIERS, vec![call("small", Role::Chosen, 0.001 * f64::from(i))]);
        row.task = format!("task-{i:03}").into();
        summary.serve(&row);
    }
    let report = report("Tasks", &summary, Vec::new());
    let page = html(&report);
    // The dearest are shown, and in the table of qualities the first of equals.
    assert!(page.contains("task-149") && !page.contains("task-100"));
    assert!(page.contains("130 more are in the JSON."));
    assert!(serde_json::to_string(&report).unwrap().contains("task-100"));
}
