//! `tiercast evaluate --policies`: routing policies on one chart.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::Context;
use tiercast_evaluation::policies::{Dial, Path, Policy, evaluate_policies};
use tiercast_evaluation::render;
use tiercast_evaluation::study::Inputs;
use tiercast_predictor::classifier::Classifier;
use tiercast_records::outcomes::{Outcomes, Split};
use tiercast_routing::evidence::Assessment;

use crate::arguments::UsageError;
use crate::commands::{CheckpointEvaluation, checkpoint_info, open, print, read_rows};
use crate::progress::say;

/// What `all` stands for.
const ALL: [&str; 4] = ["meta", "meta:trade-off", "classifier", "random:0"];

/// Compares, and writes a page per data set.
pub(crate) fn compare(arguments: &CheckpointEvaluation, names: &[String]) -> anyhow::Result<()> {
    let names = wanted(names)?;
    let predictor = open(&arguments.checkpoint, arguments.device)?;
    let tiers = predictor.catalog().tiers().iter().map(|tier| tier.name.clone()).collect();
    let rows = read_rows(&arguments.rows, Some(tiers), None, predictor.dense_encoder())?;
    say(&format!("predicting {} prompts", rows.outcomes.prompts.len()));
    let assessments = predictor.assess(&rows.features);
    let forecasts: Vec<_> = assessments.iter().map(|assessment| assessment.forecasts.clone()).collect();
    let evidence: Vec<_> = assessments.iter().map(|assessment| assessment.evidence).collect();
    let levels = predictor.service_levels();
    let datasets: BTreeSet<&str> = rows.outcomes.prompts.iter().map(|prompt| prompt.dataset.as_str()).collect();
    for dataset in &datasets {
        let outcomes = only(&rows.outcomes, dataset);
        let inputs = Inputs {
            catalog: predictor.catalog(),
            outcomes: &outcomes,
            features: &rows.features,
            forecasts: &forecasts,
            evidence: Some(&evidence),
            split: arguments.split,
            seed: arguments.seed,
            n_bootstrap: arguments.replicates as usize,
            checkpoint: checkpoint_info(&predictor),
            auto_floor: levels.auto,
            cheap_floor: levels.cheap,
            slices: Vec::new(),
        };
        let policies = names
            .iter()
            .map(|name| policy(name, &inputs, predictor.classifier(), &assessments))
            .collect::<anyhow::Result<Vec<Policy<'_>>>>()?;
        say(&format!("comparing {} policies on {dataset}", policies.len()));
        let report = evaluate_policies(&inputs, &policies).with_context(|| format!("on {dataset}"))?;
        let out = if datasets.len() > 1 { arguments.out.join(dataset) } else { arguments.out.clone() };
        render::policies::write(&report, &out).with_context(|| format!("writing to {}", out.display()))?;
        print(&render::policies::table(&report));
        say(&format!("written to {}", out.join("policies.html").display()));
    }
    Ok(())
}

fn wanted(names: &[String]) -> anyhow::Result<Vec<String>> {
    if names.iter().any(|name| name == "all") {
        return Ok(ALL.map(str::to_owned).to_vec());
    }
    let is_known = |name: &str| ALL.contains(&name) || seed_of(name).is_some();
    match names.iter().find(|name| !is_known(name)) {
        Some(unknown) => {
            let known = ALL.join(", ");
            let what = format!("--policies: `{unknown}` is not known; there are all, {known} (any seed)");
            Err(UsageError(what).into())
        }
        None => Ok(names.to_vec()),
    }
}

fn seed_of(name: &str) -> Option<u64> {
    name.strip_prefix("random:")?.parse().ok()
}

fn policy<'a>(
    name: &str,
    inputs: &'a Inputs<'a>,
    classifier: Option<&'a Classifier>,
    assessments: &'a [Assessment],
) -> anyhow::Result<Policy<'a>> {
    Ok(match name {
        "meta" => Policy::meta(inputs),
        "meta:trade-off" => Policy::trade_off(inputs),
        "classifier" => classified(classifier, assessments)?,
        random => chance(random, seed_of(random).unwrap_or_default(), inputs),
    })
}

/// The cheapest tier that is enough with a probability.
fn classified<'a>(classifier: Option<&'a Classifier>, assessments: &'a [Assessment]) -> anyhow::Result<Policy<'a>> {
    let classifier = classifier.context("the checkpoint has no classifier: train it again with this version")?;
    Ok(Policy {
        name: "classifier".to_owned(),
        label: format!("Predicts the cheapest tier whose quality reaches {}", classifier.target),
        dial: Dial::Share("probability that the tier or a cheaper one is enough"),
        decide: Box::new(|confidence, prompt| {
            let enough = assessments[prompt].enough.as_deref().unwrap_or_default();
            let mut order = classifier.order.iter().copied();
            let found = order.find(|tier| enough[*tier] >= confidence);
            Path::straight(found.unwrap_or(classifier.order[classifier.order.len() - 1]))
        }),
    })
}

/// A tier per prompt by chance: the same for the same seed and prompt.
fn chance<'a>(name: &str, seed: u64, inputs: &Inputs<'_>) -> Policy<'a> {
    let n_tiers = inputs.catalog.tiers().len() as u64;
    let of = |prompt_id: &str| {
        let mut hasher = DefaultHasher::new();
        (seed, prompt_id).hash(&mut hasher);
        (hasher.finish() % n_tiers) as usize
    };
    let choices = inputs.outcomes.prompts.iter().map(|prompt| of(&prompt.prompt_id)).collect();
    Policy::of_choices(name, "A tier by chance", choices)
}

/// The same rows, those of other data sets held out.
fn only(outcomes: &Outcomes, dataset: &str) -> Outcomes {
    let mut outcomes = outcomes.clone();
    let others = outcomes.prompts.iter_mut().filter(|prompt| prompt.dataset != dataset);
    others.for_each(|prompt| prompt.split = Split::Holdout);
    outcomes
}
