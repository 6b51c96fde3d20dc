//! `tiercast route PROMPT`: the decision on one prompt, as a table or as `/v1/route` gives it.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use tiercast_predictor::device::DeviceKind;
use tiercast_predictor::predictor::Predictor;
use tiercast_routing::distribution::QualityDistribution;
use tiercast_routing::request::Request;
use tiercast_server::answer::{Answer, TierView, answer};
use tiercast_server::deployment::Deployment;
use tiercast_server::dials::Dials;
use tiercast_server::settings::Settings;

use crate::output::{print, print_json};

/// Heights of the little bars, an eighth each.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Decides on `prompt` and prints the decision. `quality` is the floor on expected quality; without
/// it the checkpoint's `auto` level is taken.
pub(crate) fn route(
    checkpoint: &Path,
    prompt: &str,
    quality: Option<f64>,
    json: bool,
    device: DeviceKind,
) -> anyhow::Result<()> {
    ensure!(
        quality.is_none_or(|floor| (0.0..=1.0).contains(&floor)),
        "the quality must be a number from 0 to 1"
    );
    let opening = || format!("opening checkpoint {}", checkpoint.display());
    let predictor = Predictor::open(checkpoint, device).with_context(opening)?;
    let answer = answer_to(&predictor, prompt, quality)?;
    if json {
        return print_json(&answer);
    }
    print(table(&answer, quality).trim_end());
    Ok(())
}

fn answer_to(predictor: &Predictor, prompt: &str, quality: Option<f64>) -> anyhow::Result<Answer> {
    let (levels, settings) = (predictor.service_levels(), Settings::default());
    let deployment = Deployment::new(predictor.catalog(), predictor.id(), levels, &settings)?;
    let request = Request::of_text(prompt);
    let start = Instant::now();
    let assessment = predictor.assess_one(&predictor.features(&request));
    let dials = Dials::of_floor(quality, &request, &deployment);
    let forecasts = deployment.forecasts(&assessment);
    let expected = (forecasts.as_slice(), &assessment.evidence);
    let mut answer = answer(&deployment, &dials, expected, &[], "command-line".to_owned())?;
    answer.overhead_ms = start.elapsed().as_secs_f64() * 1000.0;
    Ok(answer)
}

/// The decision in a sentence and the tiers in lines: those that fit, best first, then the others.
fn table(answer: &Answer, quality: Option<f64>) -> String {
    let decision = &answer.decision;
    let reason = decision.reason.replace('_', " ");
    let mut text = format!("{} ({reason}), in {:.1} ms\n\n", decision.tier, answer.overhead_ms);
    let width = answer
        .tiers
        .iter()
        .map(|tier| tier.tier.chars().count())
        .max()
        .unwrap_or(0)
        .max("tier".len());
    let spread = quality.map_or("10-90 %".to_owned(), |floor| format!("P(>={floor})"));
    text += &format!(
        "  {:width$}  class  quality  {spread:>11}  {:21}  {:>10}  tokens out\n",
        "tier", "0 to 1", "$ per 1000"
    );
    let by_name = |name: &String| answer.tiers.iter().find(|tier| tier.tier == *name);
    let excluded = decision.excluded.iter().map(|excluded| &excluded.tier);
    for tier in decision.ranked.iter().chain(excluded).filter_map(by_name) {
        let mark = if tier.tier == decision.tier { '>' } else { ' ' };
        text += &line(mark, tier, width, quality.is_some());
    }
    text
}

fn line(mark: char, tier: &TierView, width: usize, has_target: bool) -> String {
    let spread = match tier.quality_p_at_least_target.filter(|_| has_target) {
        Some(probability) => format!("{probability:.3}"),
        None => range(&tier.quality_pmf),
    };
    format!(
        "{mark} {:width$}  {:>5}  {:>7.3}  {spread:>11}  {}  {:>10.4}  {:>10.0}\n",
        tier.tier,
        tier.class,
        tier.quality_mean,
        bars(&tier.quality_pmf),
        tier.cost_usd * 1000.0,
        tier.output_tokens,
    )
}

/// The quality that 10 % and 90 % of the probability lie below.
fn range(pmf: &[f64]) -> String {
    let quality = QualityDistribution::try_from(pmf.to_vec());
    quality.map_or(String::new(), |quality| {
        format!("{:.2}-{:.2}", quality.quantile(0.1), quality.quantile(0.9))
    })
}

/// The distribution as a row of bars, the highest full.
fn bars(pmf: &[f64]) -> String {
    let highest = pmf.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let steps = (BARS.len() - 1) as f64;
    pmf.iter()
        .map(|mass| BARS[(mass / highest * steps).round() as usize])
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tiercast_routing::evidence::Evidence;
    use tiercast_server::answer::{DecisionView, ExcludedView};

    use super::*;

    fn tier(name: &str, class: u8, quality: f64) -> TierView {
        TierView {
            tier: name.to_owned(),
            class,
            predicted_as: None,
            quality_mean: quality,
            quality_grid: Vec::new(),
            quality_pmf: QualityDistribution::two_point(quality).pmf().to_vec(),
            quality_p_at_least_target: Some(quality),
            acceptable: true,
            cost_usd: 0.0125,
            input_tokens: 10.0,
            output_tokens: 321.4,
            latency_ms: None,
        }
    }

    fn example() -> Answer {
        Answer {
            decision: DecisionView {
                id: "x".to_owned(),
                tier: "small".to_owned(),
                tier_class: 3,
                predicted_as: None,
                reason: "cheapest_acceptable".to_owned(),
                policy: "meta",
                rule: None,
                certificate: None,
                checkpoint: "c".to_owned(),
                propensity: 1.0,
                objective: json!({}),
                ranked: vec!["small".to_owned()],
                excluded: vec![ExcludedView {
                    tier: "large".to_owned(),
                    why: tiercast_routing::decide::Exclusion::Cost,
                    detail: None,
                }],
                quality_mean: 0.75,
                cost_usd: 0.0125,
                latency_ms: None,
            },
            reason: tiercast_routing::decide::Reason::CheapestAcceptable,
            evidence: Evidence::NONE,
            tiers: vec![tier("large", 1, 1.0), tier("small", 3, 0.75)],
            overhead_ms: 1.25,
            debug: None,
        }
    }

    #[test]
    fn with_a_target() {
        let expected = "\
small (cheapest acceptable), in 1.2 ms

  tier   class  quality    P(>=0.7)  0 to 1                 $ per 1000  tokens out
> small      3    0.750        0.750  ▃                   █     12.5000         321
  large      1    1.000        1.000                      █     12.5000         321
";
        let text = table(&example(), Some(0.7));
        assert_eq!(
            text.split_whitespace().collect::<Vec<_>>(),
            expected.split_whitespace().collect::<Vec<_>>()
        );
    }

    #[test]
    fn columns_are_aligned() {
        for quality in [None, Some(0.7)] {
            let text = table(&example(), quality);
            let widths: Vec<usize> = text.lines().skip(2).map(|line| line.chars().count()).collect();
            assert!(widths.iter().all(|width| *width == widths[0]), "{text}");
        }
    }

    #[test]
    fn without_a_target_the_range_is_shown() {
        assert!(table(&example(), None).contains("0.00-1.00"));
    }
}
