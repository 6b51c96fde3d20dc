//! Certifies how often a cheaper tier's answer is lost, on rows that nothing was fitted on.

use tiercast_predictor::checkpoint::{Certificate, Loss};
use tiercast_routing::catalog::Catalog;
use tiercast_routing::decide::{Acceptable, Constraints, Objective, decide};
use tiercast_routing::evidence::Assessment;
use tiercast_statistics::certify::{Tally, fixed_sequence};

use crate::dataset::Row;

/// Floors tested: 1, .995, ..., 0.
const STEPS: usize = 200;

/// What is to be certified: at most `alpha` lost, with confidence 1 - `delta`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Promise {
    /// What counts as lost.
    pub loss: Loss,
    /// Quality that an answer has to reach.
    pub target: f64,
    /// Largest share lost.
    pub alpha: f64,
    /// Probability with which the statement may be wrong.
    pub delta: f64,
}

/// Tests floors from the safest to the boldest (see [`fixed_sequence`]) on the rows that every tier answered,
/// decided as they will be served.
pub fn certify(promise: Promise, catalog: &Catalog, assessments: &[Assessment], rows: &[Row]) -> Certificate {
    let scored: Vec<(&Assessment, Vec<f64>)> = assessments
        .iter()
        .zip(rows)
        .filter_map(|(assessment, row)| Some((assessment, scores(row)?)))
        .collect();
    let dearest = catalog.dearest();
    let is_lost = |scores: &[f64], tier: usize| {
        let is_reached = |tier: usize| scores[tier] >= promise.target;
        !is_reached(tier) && (promise.loss == Loss::Missed || is_reached(dearest))
    };
    let tally = |floor: f64| {
        let sent = scored
            .iter()
            .map(|(assessment, scores)| (sent_to(catalog, assessment, floor), scores));
        let cheaper: Vec<(usize, &Vec<f64>)> = sent.filter(|(tier, _)| *tier != dearest).collect();
        Tally {
            n: cheaper.len(),
            losses: cheaper.iter().filter(|(tier, scores)| is_lost(scores, *tier)).count(),
        }
    };
    let floors: Vec<f64> = (0..=STEPS).rev().map(|step| step as f64 / STEPS as f64).collect();
    let tallies: Vec<Tally> = floors.iter().map(|floor| tally(*floor)).collect();
    let certified = fixed_sequence(&tallies, promise.alpha, promise.delta);
    let boldest = certified
        .as_ref()
        .map_or(Tally { n: 0, losses: 0 }, |steps| tallies[*steps.end()]);
    let cheapest = cheapest(catalog);
    let lost = scored.iter().filter(|(_, scores)| is_lost(scores, cheapest)).count();
    let share = |n: usize| n as f64 / scored.len().max(1) as f64;
    Certificate {
        loss: promise.loss,
        target: promise.target,
        alpha: promise.alpha,
        delta: promise.delta,
        floors: certified.map(|steps| [floors[*steps.end()], floors[*steps.start()]]),
        share: share(boldest.n),
        n_cheaper: boldest.n,
        n_losses: boldest.losses,
        loss_of_cheapest: share(lost),
        n_rows: scored.len(),
    }
}

fn scores(row: &Row) -> Option<Vec<f64>> {
    row.answers.iter().map(|answer| Some(answer.as_ref()?.score)).collect()
}

fn sent_to(catalog: &Catalog, assessment: &Assessment, floor: f64) -> usize {
    let safe = catalog.dearest();
    let constraints = Constraints {
        unknown_ground: (!assessment.evidence.sufficient).then_some(safe),
        ..Constraints::default()
    };
    let objective = Objective::Cheapest(Acceptable::Floor(floor));
    decide(catalog, &assessment.forecasts, objective, &constraints)
        .chosen
        .unwrap_or(safe)
}

/// The tier with the lowest price of a million tokens in and out together.
fn cheapest(catalog: &Catalog) -> usize {
    let price = |tier: usize| catalog.tiers()[tier].cost_usd(1e6, 1e6);
    let tiers = 0..catalog.tiers().len();
    tiers.min_by(|a, b| price(*a).total_cmp(&price(*b))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use tiercast_predictor::encoding::Encoded;
    use tiercast_routing::catalog::{Capabilities, Tier};
    use tiercast_routing::decide::Forecast;
    use tiercast_routing::distribution::QualityDistribution;
    use tiercast_routing::evidence::Evidence;

    use super::*;
    use crate::dataset::Answer;

    fn catalog() -> Catalog {
        let tier = |name: &str, price| Tier {
            name: name.to_owned(),
            class: 2,
            input_usd_per_mtok: price,
            output_usd_per_mtok: price,
            cached_input_usd_per_mtok: None,
            context_window: None,
            capabilities: Capabilities::default(),
            latency_p95_s: None,
        };
        Catalog::new(vec![tier("dear", 3.0), tier("cheap", 1.0)]).unwrap()
    }

    /// Rows whose expected quality of the cheap tier runs from 0 to 1; it is right from .5 on, the dear one
    /// is right but for every tenth row.
    fn world(n: usize) -> (Vec<Assessment>, Vec<Row>) {
        let forecast = |quality: f64, cost: f64| Forecast {
            quality: QualityDistribution::two_point(quality),
            input_tokens: 1.0,
            ask_input_tokens: 1.0,
            output_tokens: 1.0,
            cost_usd: cost,
            ask_cost_usd: cost,
            latency_p95_s: None,
        };
        let answer = |is_right: bool| {
            Some(Answer {
                score: f64::from(u8::from(is_right)),
                output_tokens: None,
                visible_tokens: None,
                input_tokens: None,
                cost_usd: None,
            })
        };
        let one = |at: usize| {
            let quality = at as f64 / n as f64;
            let assessment = Assessment {
                forecasts: vec![forecast(1.0, 3.0), forecast(quality, 1.0)],
                evidence: Evidence {
                    similarity: 1.0,
                    spread: 0.0,
                    doubt: 0.0,
                    sufficient: true,
                },
                enough: None,
                task: None,
            };
            let row = Row {
                encoded: Encoded {
                    dense: Vec::new(),
                    key: Vec::new(),
                    ngrams: Vec::new(),
                    weights: Vec::new(),
                },
                prompt: at,
                answers: vec![answer(!at.is_multiple_of(10)), answer(quality >= 0.5)],
                task: None,
            };
            (assessment, row)
        };
        (0..n).map(one).unzip()
    }

    fn promise(loss: Loss, alpha: f64) -> Promise {
        Promise {
            loss,
            target: 0.5,
            alpha,
            delta: 0.1,
        }
    }

    #[test]
    fn the_boldest_floor_that_keeps_the_promise() {
        let (assessments, rows) = world(2000);
        let found = certify(promise(Loss::Missed, 0.1), &catalog(), &assessments, &rows);
        let [boldest, safest] = found.floors.unwrap();
        // Without chance a floor of .444 loses a tenth of what is over it.
        assert!((0.44..0.47).contains(&boldest) && safest > 0.8, "{found:?}");
        assert!(found.covers(0.5) && !found.covers(0.4) && found.sentence().starts_with("certified"));
        // What the dear tier gets wrong too is not lost: bolder.
        let avoidable = certify(promise(Loss::Avoidable, 0.1), &catalog(), &assessments, &rows);
        assert!(avoidable.floors.unwrap()[0] < boldest);
        assert!((avoidable.loss_of_cheapest - 0.45).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_had_is_said() {
        let (assessments, mut rows) = world(400);
        rows.iter_mut()
            .for_each(|row| row.answers[1].as_mut().unwrap().score = 0.0);
        let found = certify(promise(Loss::Missed, 0.1), &catalog(), &assessments, &rows);
        assert_eq!((found.floors, found.share), (None, 0.0));
        let sentence = found.sentence();
        assert!(
            sentence.contains("not certified") && sentence.contains("100.0 %"),
            "{sentence}"
        );
        let none = certify(promise(Loss::Missed, 0.1), &catalog(), &[], &[]);
        assert_eq!((none.floors, none.n_rows), (None, 0));
    }
}
