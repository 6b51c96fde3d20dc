//! The tables about predictions and the figures of other benchmarks.

use super::number::{count, fixed, gain, gain_percent, optional, percent, score, usd_per_thousand};
use super::results::{compared_point, cost_share, named};
use super::table::{Column, Row, Table, number, row, words};
use crate::report::{
    CALIBRATION_MARGIN, CostHeadRow, DomainCalibration, Estimate, MethodKind, MethodReport, PredictionQuality, Report,
    RoutedCalibration, Verdict,
};

/// A verdict in a word or two.
pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Calibrated => "calibrated",
        Verdict::TooHigh => "too high",
        Verdict::TooLow => "too low",
        Verdict::Uneven => "uneven",
    }
}

fn verdict_column() -> Column {
    words(
        "Forecast is",
        format!(
            "Calibrated: the ECE of equal mass is at most {} above its floor. Else too high or too low, when at least half of the error is one bias, or uneven, when errors of both signs cancel. With a few hundred forecasts chance alone crosses that line at times.",
            fixed(CALIBRATION_MARGIN, 3)
        ),
    )
}

/// Scores of the predicted distributions, tiers together and apart.
pub(super) fn prediction(report: &Report) -> Table {
    let columns = vec![
        words("Tier", "The tier predicted; all takes them together."),
        number("n", "Predictions scored."),
        number("Predicted", "Mean of the predicted mean qualities."),
        number("Observed", "Mean quality that came out: should equal the one before."),
        number(
            "Brier",
            "Mean squared error of the predicted mean. Lower is better. METRICS A.8.",
        ),
        number(
            "var(y)",
            "Variance of the outcome: the Brier score of one who always says the mean. Brier should be below it.",
        ),
        number(
            "CRPS",
            "Error of the whole predicted distribution. Lower is better. METRICS A.8.",
        ),
        number(
            "histogram",
            "CRPS of one who always predicts the tier's training outcomes. CRPS should be below it.",
        ),
        number(
            "ECE",
            "Calibration error of P(quality ≥ target), 15 bins of equal mass. Lower is better, down to its floor. METRICS A.8.",
        ),
        number(
            "floor",
            "What chance alone gives for that ECE when the predictions are exactly right.",
        ),
        verdict_column(),
        number("ECE, width", "The same error over 15 bins of equal width."),
        number("its floor", "What chance alone gives for that one."),
        number(
            "in 80 %",
            "Share of outcomes inside the predicted central 80 % interval: should be 80 %, or more where outcomes are discrete.",
        ),
        number(
            "randomised",
            "Share of outcomes in the central eight tenths of the randomised PIT: should be 80 %, also where outcomes are discrete.",
        ),
        number("width", "Mean width of that interval. Narrower is sharper."),
    ];
    let prediction = &report.prediction;
    let rows = std::iter::once(&prediction.pooled)
        .chain(&prediction.tiers)
        .map(quality_row);
    Table::new("Per tier", columns, rows.collect())
}

fn quality_row(quality: &PredictionQuality) -> Row {
    row(vec![
        quality.name.clone(),
        count(quality.n),
        score(quality.mean_predicted),
        score(quality.mean_observed),
        fixed(quality.brier, 4),
        fixed(quality.variance, 4),
        fixed(quality.crps, 4),
        optional(quality.crps_train_histogram, |crps| fixed(crps, 4)),
        fixed(quality.ece_mass, 4),
        fixed(quality.ece_mass_floor, 4),
        verdict(quality.verdict).to_owned(),
        fixed(quality.ece_width, 4),
        fixed(quality.ece_width_floor, 4),
        percent(quality.coverage80),
        percent(quality.coverage80_randomised),
        score(quality.width80),
    ])
}

/// tiercast's predictions beside those of the baselines.
pub(super) fn calibration(report: &Report) -> Table {
    let columns = vec![
        words("Method", "Methods that predict; baselines predict a mean only."),
        number(
            "Brier",
            "Mean squared error of the predicted mean, all tiers. Lower is better. METRICS A.8.",
        ),
        number(
            "ECE, mass",
            "Calibration error, 15 bins of equal mass. Lower is better. METRICS A.8.",
        ),
        number("ECE, width", "The same, 15 bins of equal width."),
        number("floor", "What chance alone gives for the ECE of equal width."),
    ];
    let rows = report.prediction.methods.iter().map(|entry| {
        let method = named(report, &entry.method);
        let cells = vec![
            method.map_or_else(|| entry.method.clone(), |method| method.label.clone()),
            fixed(entry.brier, 4),
            fixed(entry.ece_mass, 4),
            fixed(entry.ece_width, 4),
            fixed(entry.ece_width_floor, 4),
        ];
        Row {
            is_ours: method.is_some_and(|method| method.kind == MethodKind::Tiercast),
            ..row(cells)
        }
    });
    Table::new("Beside the baselines", columns, rows.collect())
}

/// Calibration on the requests that each tier was given.
pub(super) fn routed(report: &Report) -> Table {
    let columns = vec![
        words("Tier", "The tier that auto chose."),
        number("Requests", "Requests sent to it."),
        number("Predicted", "Mean quality predicted for it on them."),
        number(
            "Observed",
            "Mean quality they got: below the predicted one when routing picks lucky guesses.",
        ),
        number(
            "P",
            "Mean predicted probability on them that its quality reaches the target.",
        ),
        number("happened", "How often it did: should equal the one before."),
        number("ECE", "Calibration error on them, 15 bins of equal mass. METRICS A.8."),
        number("floor", "What chance alone gives."),
        verdict_column(),
    ];
    let cells = |routed: &RoutedCalibration| {
        vec![
            routed.tier.clone(),
            count(routed.n),
            score(routed.mean_predicted),
            score(routed.mean_observed),
            score(routed.event_predicted),
            score(routed.event_observed),
            fixed(routed.ece_mass, 4),
            fixed(routed.ece_mass_floor, 4),
            verdict(routed.verdict).to_owned(),
        ]
    };
    let rows = report.prediction.routed.iter().map(|routed| row(cells(routed)));
    Table::new("Where it is used", columns, rows.collect())
}

/// Calibration per domain, tiers together.
pub(super) fn domains(report: &Report) -> Table {
    let columns = vec![
        words("Domain", "The label in the data; the network does not see it."),
        number("n", "Forecasts scored: requests times tiers."),
        number("Predicted", "Mean predicted quality."),
        number("Observed", "Mean quality that came out."),
        number("P", "Mean predicted probability that the quality reaches the target."),
        number("happened", "How often it did."),
        number(
            "Brier",
            "Mean squared error of the predicted mean. Lower is better; hard to compare between domains, since outcomes vary more in some.",
        ),
        number("CRPS", "Error of the whole predicted distribution. Lower is better."),
        number("ECE", "Calibration error, 15 bins of equal mass. METRICS A.8."),
        number(
            "floor",
            "What chance alone gives, when tiers err independently. They do not, so that the true floor is somewhat higher.",
        ),
        verdict_column(),
    ];
    let cells = |domain: &DomainCalibration| {
        vec![
            domain.domain.clone(),
            count(domain.n),
            score(domain.mean_predicted),
            score(domain.mean_observed),
            score(domain.event_predicted),
            score(domain.event_observed),
            fixed(domain.brier, 4),
            fixed(domain.crps, 4),
            fixed(domain.ece_mass, 4),
            fixed(domain.ece_mass_floor, 4),
            verdict(domain.verdict).to_owned(),
        ]
    };
    let rows = report.prediction.domains.iter().map(|domain| row(cells(domain)));
    Table::new("Per domain", columns, rows.collect())
}

/// Predicted minus observed quality per domain and tier.
pub(super) fn biases(report: &Report) -> Table {
    let domain = words(
        "Domain",
        "Each cell: mean predicted minus mean observed quality of a tier. Above zero promises too much. * its 95 % interval excludes zero; about one in twenty does by chance.",
    );
    let tiers = report.tiers.iter().map(|tier| number(tier.name.clone(), ""));
    let starred = |bias: &Estimate| {
        let star = if bias.low > 0.0 || bias.high < 0.0 { "*" } else { "" };
        format!("{}{star}", gain(bias.value))
    };
    let cells = |domain: &DomainCalibration| {
        let biases = domain.bias.iter().map(starred);
        std::iter::once(domain.domain.clone()).chain(biases).collect()
    };
    let rows = report.prediction.domains.iter().map(|domain| row(cells(domain)));
    Table::new(
        "Bias per domain and tier",
        std::iter::once(domain).chain(tiers).collect(),
        rows.collect(),
    )
}

/// Predicted against actual cost.
pub(super) fn cost_head(report: &Report) -> Table {
    let columns = vec![
        words("Tier", ""),
        number("n", "Rows with a whole recorded cost."),
        number(
            "Median error",
            "Median absolute error as a share of the actual cost. Lower is better.",
        ),
        number(
            "Mean error",
            "Mean absolute error as a share of the actual cost; a few cheap requests can dominate it.",
        ),
        number(
            "Bias",
            "Mean predicted over mean actual cost: 1 is right, above 1 is too high.",
        ),
        words(
            "Masked",
            "Why the recorded costs or token counts are not used; empty when they are.",
        ),
    ];
    let cells = |head: &CostHeadRow| {
        vec![
            head.tier.clone(),
            count(head.n),
            optional(head.median_ape, percent),
            optional(head.mean_ape, percent),
            optional(head.bias, |bias| fixed(bias, 2)),
            head.masked.clone().unwrap_or_default(),
        ]
    };
    let rows = report.cost_head.iter().map(|head| row(cells(head)));
    Table::new("Predicted cost", columns, rows.collect())
}

/// Figures as other benchmarks define them, at settings.
pub(super) fn field_points(report: &Report) -> Table {
    let columns = vec![
        words("Method", "Method and its setting."),
        number(
            "Arena score",
            "RouterArena: accuracy and log cost in one figure, in [0, 1]. Higher is better. METRICS A.3.",
        ),
        number(
            "Opt.Sel",
            "Share of the answerable requests on which the cheapest right tier was chosen. Higher is better. METRICS A.3.",
        ),
        number(
            "Opt.Acc",
            "Quality as a share of the oracle's on them. Higher is better. METRICS A.3.",
        ),
        number(
            "Opt.Cost",
            "Oracle cost as a share of the method's, over requests answered right. Higher is better. METRICS A.3.",
        ),
        number(
            "AvgAcc",
            "LLMRouterBench: unweighted mean quality over domains. Higher is better. METRICS A.4.",
        ),
        number(
            "Gain@R",
            "Relative gain over a uniformly random tier (ratio of macro averages). METRICS A.4.",
        ),
        number("Gain@B", "Relative gain over the best single tier. METRICS A.4."),
        number(
            "Gap@O",
            "Relative gap to the oracle; negative is below it. METRICS A.4.",
        ),
        number(
            "V_B",
            "RouterEval: quality over that of the best tier on these very rows. METRICS A.5.",
        ),
        number(
            "E_p",
            "RouterEval: entropy in bits of the shares per tier; 0 when one tier takes all. METRICS A.5.",
        ),
    ];
    let rows = report.methods.iter().flat_map(|method| {
        let is_ours = method.kind == MethodKind::Tiercast;
        let compared = compared_point(method);
        let shown = method
            .operating_points
            .iter()
            .filter(move |point| is_ours || compared.is_some_and(|c| c == *point));
        shown.map(move |point| Row {
            is_ours,
            ..row(vec![
                match point.name.as_str() {
                    "always" => method.label.clone(),
                    name => format!("{}, {name}", method.label),
                },
                score(point.arena_score),
                optional(point.optimal_selection, percent),
                optional(point.optimal_accuracy, percent),
                optional(point.optimal_cost, percent),
                score(point.macro_quality),
                gain_percent(point.gain_over_random),
                gain_percent(point.gain_over_best_single),
                gain_percent(point.gap_to_oracle),
                score(point.relative_to_pool_best),
                fixed(point.selection_entropy_bits, 2),
            ])
        })
    });
    Table::new("At settings", columns, rows.collect())
}

/// Figures as other benchmarks define them, over whole curves.
pub(super) fn field_curves(report: &Report) -> Table {
    let columns = vec![
        words("Method", ""),
        number(
            "Deferral area",
            "UniRoute: area under quality against cost through the points themselves. Higher is better. METRICS A.7.",
        ),
        number(
            "Peak quality",
            "UniRoute: highest mean quality of any setting. METRICS A.7.",
        ),
        number(
            "QNC",
            "UniRoute: smallest cost, as a share of the best single tier's, that matches its quality. Lower is better. METRICS A.7.",
        ),
        number(
            "PerfGain",
            "LLMRouterBench: best quality of any setting over the best single tier's, relative. METRICS A.4.",
        ),
        number(
            "CostSave",
            "LLMRouterBench: cost saved by the cheapest setting as good as the best single tier. Higher is better. METRICS A.4.",
        ),
        number(
            "ParetoDist",
            "LLMRouterBench: mean distance to the joint frontier of all methods shown. Lower is better; depends on who competes. METRICS A.4.",
        ),
    ];
    let cells = |method: &MethodReport| {
        vec![
            method.label.clone(),
            score(method.deferral_area),
            score(method.peak_quality),
            optional(cost_share(method, 1.0), percent),
            gain_percent(method.performance_gain),
            optional(method.cost_save, percent),
            fixed(method.pareto_distance, 4),
        ]
    };
    let rows = report.methods.iter().map(|method| Row {
        is_ours: method.kind == MethodKind::Tiercast,
        ..row(cells(method))
    });
    Table::new("Over whole curves", columns, rows.collect())
}

/// The guaranteed share, in one sentence.
pub(super) fn certified(report: &Report) -> Option<String> {
    let certified = report.certified.as_ref()?;
    if certified.weak_share_validation <= 0.0 {
        return Some(format!(
            "Certified share: none. On validation rows no share of the requests can go to {} instead of {} with, \
             at {} confidence, a loss on at most {} of them (METRICS A.8).",
            certified.weak,
            certified.strong,
            percent(1.0 - certified.delta),
            percent(certified.alpha)
        ));
    }
    Some(format!(
        "Certified share: on validation rows up to {} of the requests can go to {} instead of {} with, at {} confidence, \
         a loss on at most {} of them (Clopper-Pearson; a loss is {} right and {} wrong; METRICS A.8). \
         Here the same threshold sends {} there, with a loss on {} of those.",
        percent(certified.weak_share_validation),
        certified.weak,
        certified.strong,
        percent(1.0 - certified.delta),
        percent(certified.alpha),
        certified.strong,
        certified.weak,
        percent(certified.weak_share),
        optional(certified.loss_rate, percent),
    ))
}

/// Name, quality and cost of the tier that figures are relative to.
pub(super) fn best_single(report: &Report) -> String {
    optional(report.tiers.get(report.references.best_single), |tier| {
        format!(
            "{} (quality {}, {} per 1,000 requests)",
            tier.name,
            score(tier.quality),
            usd_per_thousand(tier.cost_usd)
        )
    })
}
