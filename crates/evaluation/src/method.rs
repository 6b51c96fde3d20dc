//! A way to choose tiers, and its figures.

use tiercast_routing::decide::Forecast;
use tiercast_routing::distribution::QualityDistribution;
use tiercast_statistics::curve::{self, Axis};

use crate::baselines::Predicted;
use crate::interval::{dot, estimate, ratio};
use crate::operating::operating_point;
use crate::report::{CostShare, MethodKind, MethodReport, Point, QualityRetained, SweepPoint};
use crate::study::{GroupSums, Rows, Study, Table};
use crate::sweep::{Setting, at_floor, at_floor_gated, at_lambda, floors, lambdas};
use crate::two_tier::{scores, two_tier};

/// Share of the best single tier's quality that the validated setting keeps on validation.
const KEPT: f64 = 0.99;

/// A method with its choices on the evaluated items.
pub(crate) struct Method {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) kind: MethodKind,
    pub(crate) setting: String,
    /// Quality forecasts per item, where the method makes any.
    pub(crate) forecasts: Option<Vec<Vec<Forecast>>>,
    /// Predicted gain of the dearest over the cheapest tier; two-tier catalogs only.
    pub(crate) scores: Option<Vec<f64>>,
    pub(crate) sweep: Vec<Setting>,
    pub(crate) operating: Vec<(String, Setting)>,
    /// Replaces the recorded quality.
    pub(crate) credit: Option<Table>,
}

/// The figures of the replicates, for paired differences.
pub(crate) struct Replicated {
    pub(crate) aiq: Vec<f64>,
    pub(crate) aiq_log: Vec<f64>,
    pub(crate) apgr: Vec<f64>,
}

/// The checkpoint: its forecasts as they are.
pub(crate) fn tiercast(study: &Study<'_>) -> Method {
    let of = |rows: &Rows| {
        rows.prompts
            .iter()
            .map(|prompt| study.inputs.forecasts[*prompt].clone())
            .collect()
    };
    let (validation, items): (Vec<_>, Vec<_>) = (of(&study.validation), of(&study.items));
    let (catalog, references) = (study.inputs.catalog, &study.references);
    let named = [("auto", references.auto_floor), ("auto:cheap", references.cheap_floor)];
    // As served: where the evidence is insufficient the safe tier answers.
    let (evidence, safe) = (study.evidence(), catalog.dearest());
    let safe_tier = |item: usize| evidence.as_ref().and_then(|of| (!of[item].sufficient).then_some(safe));
    let mut operating: Vec<(String, Setting)> = named
        .map(|(name, floor)| (name.to_owned(), at_floor_gated(catalog, &items, floor, &safe_tier)))
        .to_vec();
    let mut method = routed(study, &validation, items);
    operating.append(&mut method.operating);
    Method {
        name: "tiercast".to_owned(),
        label: "tiercast".to_owned(),
        kind: MethodKind::Tiercast,
        operating,
        ..method
    }
}

/// A baseline: its quality with the checkpoint's cost.
pub(crate) fn baseline(study: &Study<'_>, predicted: Predicted) -> Method {
    let with = |rows: &Rows, quality: &Table| -> Vec<Vec<Forecast>> {
        let forecast = |item: usize, tier: usize| Forecast {
            quality: QualityDistribution::two_point(quality.at(item, tier)),
            ..study.inputs.forecasts[rows.prompts[item]][tier]
        };
        (0..rows.len())
            .map(|item| (0..study.n_tiers).map(|tier| forecast(item, tier)).collect())
            .collect()
    };
    let validation = with(&study.validation, &predicted.validation);
    let method = routed(study, &validation, with(&study.items, &predicted.items));
    let Predicted {
        name,
        label,
        kind,
        setting,
        ..
    } = predicted;
    Method {
        name,
        label,
        kind,
        setting,
        ..method
    }
}

/// A method that routes by forecasts. Name and kind are the caller's to fill in.
fn routed(study: &Study<'_>, validation: &[Vec<Forecast>], items: Vec<Vec<Forecast>>) -> Method {
    let catalog = study.inputs.catalog;
    let lambdas = lambdas(study);
    let mut sweep: Vec<Setting> = lambdas
        .iter()
        .map(|lambda| at_lambda(catalog, &items, *lambda))
        .collect();
    sweep.extend(floors().into_iter().map(|floor| at_floor(catalog, &items, floor)));
    let validated =
        validated(study, validation, &lambdas).map(|chosen| ("validated".to_owned(), sweep[chosen].clone()));
    let scores = (study.n_tiers == 2).then(|| scores(&items, study.references.cheapest, study.references.dearest));
    Method {
        forecasts: Some(items),
        scores,
        sweep,
        operating: validated.into_iter().collect(),
        ..unnamed(MethodKind::Learned)
    }
}

fn unnamed(kind: MethodKind) -> Method {
    Method {
        name: String::new(),
        label: String::new(),
        kind,
        setting: String::new(),
        forecasts: None,
        scores: None,
        sweep: Vec::new(),
        operating: Vec::new(),
        credit: None,
    }
}

/// Of the lambdas that keep [`KEPT`] of the best single tier's quality on validation, the one that
/// costs least there; the one of highest quality when none does.
fn validated(study: &Study<'_>, validation: &[Vec<Forecast>], lambdas: &[f64]) -> Option<usize> {
    let rows = &study.validation;
    if rows.is_empty() {
        return None;
    }
    let wanted = KEPT * rows.quality.tier_means()[study.references.best_single];
    let n = rows.len() as f64;
    let points: Vec<(f64, f64)> = lambdas
        .iter()
        .map(|lambda| at_lambda(study.inputs.catalog, validation, *lambda).choices)
        .map(|choices| {
            let sum = |table: &Table| {
                choices
                    .iter()
                    .enumerate()
                    .map(|(item, tier)| table.at(item, *tier))
                    .sum::<f64>()
            };
            (sum(&rows.cost) / n, sum(&rows.quality) / n)
        })
        .collect();
    let keeping = (0..points.len()).filter(|index| points[*index].1 >= wanted);
    keeping
        .min_by(|a, b| points[*a].0.total_cmp(&points[*b].0))
        .or_else(|| (0..points.len()).max_by(|a, b| points[*a].1.total_cmp(&points[*b].1)))
}

/// Each tier alone, then their random mix at equal cost (Zero router).
pub(crate) fn single_tiers(study: &Study<'_>) -> Vec<Method> {
    let always = |tier: usize| Setting::fixed(vec![tier; study.items.len()]);
    let roles = |tier: usize| {
        let references = &study.references;
        let roles = [
            (references.cheapest, "cheapest"),
            (references.dearest, "dearest"),
            (references.best_single, "best single"),
        ];
        roles
            .into_iter()
            .filter(|(holder, _)| *holder == tier)
            .map(|(_, role)| role)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let single = |tier: usize| Method {
        name: format!("single:{}", study.tier_name(tier)),
        label: format!("Always {}", study.tier_name(tier)),
        setting: roles(tier),
        sweep: vec![always(tier)],
        operating: vec![("always".to_owned(), always(tier))],
        ..unnamed(MethodKind::SingleTier)
    };
    let mix = Method {
        name: "random_mix".to_owned(),
        label: "Random mix of single tiers".to_owned(),
        scores: (study.n_tiers == 2).then(|| vec![0.0; study.items.len()]),
        sweep: (0..study.n_tiers).map(always).collect(),
        ..unnamed(MethodKind::RandomMix)
    };
    (0..study.n_tiers).map(single).chain([mix]).collect()
}

/// Cheapest among best, with the trade-off sweep of one who knows qualities and costs.
pub(crate) fn oracle(study: &Study<'_>) -> Method {
    Method {
        name: "oracle".to_owned(),
        label: "Oracle (cheapest among best)".to_owned(),
        ..knowing(study, &study.items.quality)
    }
}

/// The oracle on qualities shrunk towards the tier's mean by their reliability, so that the luck
/// of a sample is not counted as skill. `None` unless every outcome averages several samples.
pub(crate) fn corrected_oracle(study: &Study<'_>) -> Option<Method> {
    if study.items.outcomes.iter().any(|outcome| outcome.n_samples < 2) {
        return None;
    }
    let quality = shrunk(study);
    let method = knowing(study, &quality);
    Some(Method {
        name: "oracle_corrected".to_owned(),
        label: "Oracle, corrected for noise".to_owned(),
        credit: Some(quality),
        ..method
    })
}

/// Mean + reliability x (score - mean) per tier; reliability = 1 - noise variance / variance, noise
/// variance of a mean of n samples = score (1 - score) / (n - 1), averaged over items.
fn shrunk(study: &Study<'_>) -> Table {
    let quality = &study.items.quality;
    let means = quality.tier_means();
    let reliability = |tier: usize| {
        let samples = study.items.outcomes.iter().skip(tier).step_by(study.n_tiers);
        let noise = samples
            .map(|o| o.score * (1.0 - o.score) / f64::from(o.n_samples - 1))
            .sum::<f64>();
        let variance = tiercast_statistics::summary::variance(&quality.column(tier));
        (1.0 - ratio(noise / study.items.len() as f64, variance)).clamp(0.0, 1.0)
    };
    let reliabilities: Vec<f64> = (0..study.n_tiers).map(reliability).collect();
    let shrink = |item: usize, tier: usize| means[tier] + reliabilities[tier] * (quality.at(item, tier) - means[tier]);
    let rows: Vec<Vec<f64>> = (0..study.items.len())
        .map(|item| (0..study.n_tiers).map(|tier| shrink(item, tier)).collect())
        .collect();
    Table::from_rows(study.n_tiers, &rows)
}

/// Routing with these qualities and the actual costs known.
fn knowing(study: &Study<'_>, quality: &Table) -> Method {
    let forecast = |item: usize, tier: usize| Forecast {
        quality: QualityDistribution::two_point(quality.at(item, tier)),
        input_tokens: 0.0,
        ask_input_tokens: 0.0,
        output_tokens: 0.0,
        cost_usd: study.items.cost.at(item, tier),
        ask_cost_usd: study.items.cost.at(item, tier),
        latency_p95_s: None,
    };
    let forecasts: Vec<Vec<Forecast>> = (0..study.items.len())
        .map(|item| (0..study.n_tiers).map(|tier| forecast(item, tier)).collect())
        .collect();
    let catalog = study.inputs.catalog;
    let sweep: Vec<Setting> = lambdas(study)
        .into_iter()
        .map(|lambda| at_lambda(catalog, &forecasts, lambda))
        .collect();
    let scores = (study.n_tiers == 2).then(|| scores(&forecasts, study.references.cheapest, study.references.dearest));
    Method {
        scores,
        // At lambda 0 ties go to the cheaper: the cheapest among best.
        operating: vec![("always".to_owned(), sweep[0].clone())],
        sweep,
        ..unnamed(MethodKind::Oracle)
    }
}

/// All figures of a method but those that need the others.
pub(crate) fn measure(study: &Study<'_>, method: &Method) -> (MethodReport, Replicated) {
    let credit = method.credit.as_ref();
    let sums: Vec<GroupSums> = method
        .sweep
        .iter()
        .map(|setting| study.sums(&setting.choices, credit))
        .collect();
    let on_curve: Vec<&GroupSums> = sums
        .iter()
        .zip(&method.sweep)
        .filter(|(_, setting)| setting.is_on_curve())
        .map(|(sums, _)| sums)
        .collect();
    let ones = vec![1.0; study.group_sizes.len()];
    let hull = hull(study, &on_curve, &ones);
    let (areas, replicates) = study.replicates.run(|weights| areas(study, &on_curve, weights));
    let (aiq, aiq_log): (Vec<f64>, Vec<f64>) = replicates.into_iter().unzip();
    let all_items: Vec<usize> = (0..study.items.len()).collect();
    let (two_tier, apgr) = method
        .scores
        .as_ref()
        .map(|scores| two_tier(study, scores, &all_items))
        .unzip();
    let best = best_single(study);
    let sweep = sweep_points(study, method, &sums);
    let report = MethodReport {
        name: method.name.clone(),
        label: method.label.clone(),
        kind: method.kind,
        setting: method.setting.clone(),
        aiq: estimate(areas.0, &aiq),
        aiq_log: areas.1.is_finite().then(|| estimate(areas.1, &aiq_log)),
        peak_quality: hull.last().map_or(0.0, |point| point.quality),
        deferral_area: deferral_area(study, &on_curve),
        cost_share: cost_shares(&hull, best),
        quality_retained: qualities_retained(&hull, best),
        performance_gain: ratio(sweep.iter().map(|s| s.point.quality).fold(0.0, f64::max), best.quality) - 1.0,
        cost_save: cost_save(&sweep, best),
        pareto_distance: 0.0,
        two_tier,
        operating_points: method
            .operating
            .iter()
            .map(|(name, at)| operating_point(study, name, at, credit))
            .collect(),
        hull: hull
            .into_iter()
            .map(|p| Point {
                cost_usd: p.cost,
                quality: p.quality,
            })
            .collect(),
        sweep,
    };
    (
        report,
        Replicated {
            aiq,
            aiq_log,
            apgr: apgr.unwrap_or_default(),
        },
    )
}

fn best_single(study: &Study<'_>) -> curve::Point {
    point(
        study,
        &study.singles[study.references.best_single],
        &vec![1.0; study.group_sizes.len()],
    )
}

fn point(study: &Study<'_>, sums: &GroupSums, weights: &[f64]) -> curve::Point {
    let n = dot(weights, &study.group_sizes);
    curve::Point {
        cost: dot(weights, &sums.cost) / n,
        quality: dot(weights, &sums.quality) / n,
    }
}

fn hull(study: &Study<'_>, sums: &[&GroupSums], weights: &[f64]) -> Vec<curve::Point> {
    curve::hull(&sums.iter().map(|sums| point(study, sums, weights)).collect::<Vec<_>>())
}

/// AIQ on linear and on log cost, between the cheapest and the dearest tier's mean cost (A.2).
fn areas(study: &Study<'_>, sums: &[&GroupSums], weights: &[f64]) -> (f64, f64) {
    let hull = hull(study, sums, weights);
    let (from, to) = cost_range(study, weights);
    let height = |axis| curve::mean_height(&hull, from, to, axis);
    let linear = height(Axis::Linear);
    let peak = hull.last().map_or(0.0, |point| point.quality);
    (if linear.is_finite() { linear } else { peak }, height(Axis::Log))
}

fn cost_range(study: &Study<'_>, weights: &[f64]) -> (f64, f64) {
    let mean_cost = |tier: usize| point(study, &study.singles[tier], weights).cost;
    (
        mean_cost(study.references.cheapest),
        mean_cost(study.references.dearest),
    )
}

/// Straight lines through the points in order of cost (A.7).
fn deferral_area(study: &Study<'_>, sums: &[&GroupSums]) -> f64 {
    let ones = vec![1.0; study.group_sizes.len()];
    let mut points: Vec<curve::Point> = sums.iter().map(|sums| point(study, sums, &ones)).collect();
    points.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(a.quality.total_cmp(&b.quality)));
    let (from, to) = cost_range(study, &ones);
    let area = curve::mean_height(&points, from, to, Axis::Linear);
    if area.is_finite() {
        area
    } else {
        points.last().map_or(0.0, |point| point.quality)
    }
}

fn sweep_points(study: &Study<'_>, method: &Method, sums: &[GroupSums]) -> Vec<SweepPoint> {
    let ones = vec![1.0; study.group_sizes.len()];
    let mut points: Vec<SweepPoint> = method
        .sweep
        .iter()
        .zip(sums)
        .map(|(setting, sums)| (setting, point(study, sums, &ones)))
        .map(|(setting, at)| SweepPoint {
            lambda_per_usd: setting.lambda_per_usd,
            floor: setting.floor,
            point: Point {
                cost_usd: at.cost,
                quality: at.quality,
            },
        })
        .collect();
    points.sort_by(|a, b| a.point.cost_usd.total_cmp(&b.point.cost_usd));
    points
}

fn cost_shares(hull: &[curve::Point], best: curve::Point) -> Vec<CostShare> {
    let share = |retained: f64| curve::cost_at(hull, retained * best.quality).map(|cost| ratio(cost, best.cost));
    [0.95, 0.97, 0.99, 1.0]
        .map(|retained| CostShare {
            retained,
            cost_share: share(retained),
        })
        .to_vec()
}

fn qualities_retained(hull: &[curve::Point], best: curve::Point) -> Vec<QualityRetained> {
    let retained = |saved: f64| curve::quality_at(hull, (1.0 - saved) * best.cost).map(|q| ratio(q, best.quality));
    [0.2, 0.4, 0.6, 0.8]
        .map(|saved| QualityRetained {
            saved,
            retained: retained(saved),
        })
        .to_vec()
}

fn cost_save(sweep: &[SweepPoint], best: curve::Point) -> Option<f64> {
    // Sums of the same numbers in another order may differ in the last digit.
    let good = sweep.iter().filter(|s| s.point.quality >= best.quality - 1e-12);
    good.map(|s| s.point.cost_usd)
        .min_by(f64::total_cmp)
        .map(|cost| 1.0 - ratio(cost, best.cost))
}

/// Fills in the distance of each sweep to the Pareto frontier of all methods but the oracles.
pub(crate) fn measure_pareto_distances(study: &Study<'_>, reports: &mut [MethodReport]) {
    let (from, to) = (study.references.cost_min_usd, study.references.cost_max_usd);
    let width = if to > from { to - from } else { 1.0 };
    let place = |s: &SweepPoint| curve::Point {
        cost: (s.point.cost_usd - from) / width,
        quality: s.point.quality,
    };
    let competing = reports.iter().filter(|report| report.kind != MethodKind::Oracle);
    let frontier = pareto(competing.flat_map(|report| report.sweep.iter().map(place)).collect());
    let distance = |at: curve::Point| {
        frontier
            .iter()
            .map(|f| (f.cost - at.cost).hypot((f.quality - at.quality).max(0.0)))
            .fold(f64::MAX, f64::min)
    };
    for report in reports.iter_mut() {
        let distances: Vec<f64> = report.sweep.iter().map(|s| distance(place(s))).collect();
        report.pareto_distance = tiercast_statistics::summary::mean(&distances);
    }
}

/// Points that no other is both as cheap and as good as.
fn pareto(mut points: Vec<curve::Point>) -> Vec<curve::Point> {
    points.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(b.quality.total_cmp(&a.quality)));
    let mut best = f64::MIN;
    points.retain(|point| {
        let better = point.quality > best;
        best = best.max(point.quality);
        better
    });
    points
}
