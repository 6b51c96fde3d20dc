//! `tiercast evaluate --policies`: routing policies on one chart.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use anyhow::{Context, bail};
use rayon::prelude::*;
use tiercast_chat::prompt_request;
use tiercast_evaluation::policies::{Dial, Path, Policy, evaluate_policies};
use tiercast_evaluation::render;
use tiercast_evaluation::study::Inputs;
use tiercast_predictor::answers::Reply;
use tiercast_predictor::cascade::CascadeFit;
use tiercast_predictor::predictor::Predictor;
use tiercast_records::outcomes::{Outcomes, Prompt, PromptText, Split};
use tiercast_routing::cascade::{Allowance, Call, Cascade, Expected, Step, Stop};
use tiercast_routing::decide::{Acceptable, Because, Constraints, Forecast, Objective, decide};
use tiercast_routing::evidence::Assessment;
use tiercast_routing::request::Request;
use tiercast_routing::rules::{self, RuleList};

use crate::arguments::UsageError;
use crate::commands::{CheckpointEvaluation, Rows, checkpoint_info, open, read_rows_with_text};
use crate::output::print;
use crate::progress::say;
use crate::replies;

/// What `all` stands for.
const ALL: [&str; 8] = [
    "meta",
    "meta:trade-off",
    "rules",
    "classifier",
    "cascade",
    "cascade:value",
    "auto",
    "random:0",
];

/// Those that read prompts or replies, and so are left out of `all` where a file has none.
const READING: [&str; 4] = ["rules", "cascade", "cascade:value", "auto"];

/// Compares, and writes a page per data set.
pub(crate) fn compare(arguments: &CheckpointEvaluation, names: &[String]) -> anyhow::Result<()> {
    let is_all = names.iter().any(|name| name == "all");
    let names = wanted(names)?;
    let predictor = open(&arguments.checkpoint, arguments.device)?;
    let tiers: Vec<String> = predictor
        .catalog()
        .tiers()
        .iter()
        .map(|tier| tier.name.clone())
        .collect();
    let rows = read_rows_with_text(&arguments.rows, Some(tiers.clone()), None, predictor.dense_encoder())?;
    say(&format!("predicting {} prompts", rows.outcomes.prompts.len()));
    let assessments = predictor.assess(&rows.features);
    let forecasts: Vec<_> = assessments
        .iter()
        .map(|assessment| assessment.forecasts.clone())
        .collect();
    let evidence: Vec<_> = assessments.iter().map(|assessment| assessment.evidence).collect();
    let levels = predictor.service_levels();
    let files = if arguments.replies.is_empty() {
        &arguments.rows.outcomes
    } else {
        &arguments.replies
    };
    let told = Told {
        predictor: &predictor,
        assessments: &assessments,
        requests: requests(&rows.outcomes),
        estimates: match predictor.cascade() {
            Some(fit)
                if names
                    .iter()
                    .any(|name| ["cascade", "cascade:value", "auto"].contains(&name.as_str())) =>
            {
                say("judging the replies");
                estimates(fit, files, &rows, &tiers, &forecasts)
            }
            _ => Err("the checkpoint has no cascade: train it with --cascade".to_owned()),
        },
    };
    let datasets: BTreeSet<&str> = rows
        .outcomes
        .prompts
        .iter()
        .map(|prompt| prompt.dataset.as_str())
        .collect();
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
        let mut policies = Vec::new();
        for name in &names {
            match policy(name, &inputs, &told) {
                Ok(policy) => policies.push(policy),
                Err(why) if is_all && READING.contains(&name.as_str()) => say(&format!("{name} is left out: {why}")),
                Err(why) => bail!("--policies {name}: {why}"),
            }
        }
        say(&format!("comparing {} policies on {dataset}", policies.len()));
        let report = evaluate_policies(&inputs, &policies).with_context(|| format!("on {dataset}"))?;
        let out = if datasets.len() > 1 {
            arguments.out.join(dataset)
        } else {
            arguments.out.clone()
        };
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

/// What policies are made from, beside the inputs of the evaluation.
struct Told<'a> {
    predictor: &'a Predictor,
    assessments: &'a [Assessment],
    /// Per prompt; or that some prompt has no text.
    requests: Result<Vec<Request>, String>,
    /// Quality of each tier's reply as estimated from it, per prompt, where it has one; or why there are none.
    estimates: Result<Vec<Vec<Option<f64>>>, String>,
}

fn policy<'a>(name: &str, inputs: &'a Inputs<'a>, told: &'a Told<'a>) -> Result<Policy<'a>, String> {
    Ok(match name {
        "meta" => Policy::meta(inputs),
        "meta:trade-off" => Policy::trade_off(inputs),
        "rules" => rules(inputs, told.requests.as_ref().map_err(String::clone)?),
        "classifier" => classified(told)?,
        "cascade" => cascade(inputs, told)?,
        "cascade:value" => by_value(inputs, told)?,
        "auto" => auto(inputs, told)?,
        random => chance(random, seed_of(random).unwrap_or_default(), inputs),
    })
}

/// The field's baseline of rules.
fn rules<'a>(inputs: &'a Inputs<'a>, requests: &'a [Request]) -> Policy<'a> {
    let list = RuleList::baseline();
    let choose = |(request, forecasts): (&Request, &Vec<Forecast>)| {
        let told = rules::Told {
            task: None,
            input_tokens: forecasts.first().map(|forecast| forecast.input_tokens.round() as u64),
        };
        let objective = Objective::Preferred {
            what: list.fire(request, told).target,
            why: Because::Rule,
        };
        let decision = decide(inputs.catalog, forecasts, objective, &Constraints::default());
        decision.chosen.unwrap_or_else(|| inputs.catalog.dearest())
    };
    let choices = requests.iter().zip(inputs.forecasts).map(choose).collect();
    Policy::of_choices(
        "rules",
        "Tokens, tool calls and the kind of task choose a class",
        choices,
    )
}

/// The cheapest tier that is enough with a probability.
fn classified<'a>(told: &'a Told<'a>) -> Result<Policy<'a>, String> {
    let classifier = told.predictor.classifier();
    let classifier = classifier.ok_or("the checkpoint has no classifier: train it again with this version")?;
    Ok(Policy {
        name: "classifier".to_owned(),
        label: format!("Predicts the cheapest tier whose quality reaches {}", classifier.target),
        dial: Dial::Share("probability that the tier or a cheaper one is enough"),
        decide: Box::new(|confidence, prompt| {
            let enough = told.assessments[prompt].enough.as_deref().unwrap_or_default();
            let mut order = classifier.order.iter().copied();
            let found = order.find(|tier| enough[*tier] >= confidence);
            Path::straight(found.unwrap_or(classifier.order[classifier.order.len() - 1]))
        }),
    })
}

/// The fitted cascade at `threshold`, and the estimates it reads.
type Fitted<'a> = (Cascade, &'a CascadeFit, &'a [Vec<Option<f64>>]);

fn fitted<'a>(inputs: &Inputs<'_>, told: &'a Told<'a>) -> Result<Fitted<'a>, String> {
    let estimates = told.estimates.as_ref().map_err(String::clone)?;
    let fit = told
        .predictor
        .cascade()
        .ok_or("the checkpoint has no cascade: train it with --cascade")?;
    let stop = Stop::Thresholds(fit.thresholds.clone());
    let cascade = Cascade::new(&fit.stages, stop, inputs.catalog).map_err(|error| error.to_string())?;
    Ok((cascade, fit, estimates))
}

fn cascade<'a>(inputs: &'a Inputs<'a>, told: &'a Told<'a>) -> Result<Policy<'a>, String> {
    let (cascade, fit, estimates) = fitted(inputs, told)?;
    Ok(Policy {
        name: "cascade".to_owned(),
        label: format!(
            "{}: the next where the answer is not good enough",
            fit.stages.join(", then ")
        ),
        dial: Dial::Share("estimated quality from which an answer is taken"),
        decide: Box::new(move |threshold, prompt| {
            let cascade = cascade.clone().with_threshold(threshold);
            path(
                &cascade,
                fit,
                &expected(&cascade, fit, &inputs.forecasts[prompt]),
                &estimates[prompt],
            )
        }),
    })
}

/// The same stages, stopped by value of information.
fn by_value<'a>(inputs: &'a Inputs<'a>, told: &'a Told<'a>) -> Result<Policy<'a>, String> {
    let (cascade, fit, estimates) = fitted(inputs, told)?;
    Ok(Policy {
        name: "cascade:value".to_owned(),
        label: format!(
            "{}: the next where what it is expected to add is worth its cost",
            fit.stages.join(", then ")
        ),
        dial: Dial::TradeOff,
        decide: Box::new(move |lambda_per_usd, prompt| {
            let cascade = cascade.clone().with_value(lambda_per_usd, fit.dependence);
            path(
                &cascade,
                fit,
                &expected(&cascade, fit, &inputs.forecasts[prompt]),
                &estimates[prompt],
            )
        }),
    })
}

/// Pre-routing at a floor, or the cascade that takes answers from that estimate on, whichever is expected to cost
/// less.
fn auto<'a>(inputs: &'a Inputs<'a>, told: &'a Told<'a>) -> Result<Policy<'a>, String> {
    let (cascade, fit, estimates) = fitted(inputs, told)?;
    let acceptance = fit.acceptances();
    Ok(Policy {
        name: "auto".to_owned(),
        label: "Pre-routing or cascade, whichever is expected to cost less".to_owned(),
        dial: Dial::Share("floor on expected quality, and on the estimate of an answer"),
        decide: Box::new(move |floor, prompt| {
            let forecasts = &inputs.forecasts[prompt];
            let objective = Objective::Cheapest(Acceptable::Floor(floor));
            let one = decide(inputs.catalog, forecasts, objective, &Constraints::default());
            let one = one.chosen.unwrap_or_else(|| inputs.catalog.dearest());
            let expected = expected(&cascade, fit, forecasts);
            let outlook = cascade.outlook(&expected, &acceptance);
            match outlook.filter(|outlook| outlook.cost_usd < forecasts[one].cost_usd) {
                Some(_) => path(
                    &cascade.clone().with_threshold(floor),
                    fit,
                    &expected,
                    &estimates[prompt],
                ),
                None => Path::straight(one),
            }
        }),
    })
}

fn expected(cascade: &Cascade, fit: &CascadeFit, forecasts: &[Forecast]) -> Vec<Option<Expected>> {
    let of = |(tier, forecast): (usize, &Forecast)| {
        let stage = cascade.stages().iter().position(|stage| *stage == tier);
        Some(Expected {
            quality: forecast.quality.mean(),
            spread: stage.map_or(0.0, |stage| fit.acceptance[stage].spread),
            cost_usd: forecast.cost_usd * n_samples(cascade, fit, tier) as f64,
            latency_s: None,
        })
    };
    forecasts.iter().enumerate().map(of).collect()
}

/// How often a tier is asked: the last stage once.
fn n_samples(cascade: &Cascade, fit: &CascadeFit, tier: usize) -> usize {
    let is_last = cascade.stages().last() == Some(&tier);
    if is_last || !cascade.stages().contains(&tier) {
        1
    } else {
        fit.samples
    }
}

/// What a cascade does with a prompt whose replies are estimated like this. The last stage is taken unread, as
/// the server takes it; a stage without a reply is worth nothing.
fn path(cascade: &Cascade, fit: &CascadeFit, expected: &[Option<Expected>], estimates: &[Option<f64>]) -> Path {
    let asked = |call: &Call| std::iter::repeat_n(call.tier, n_samples(cascade, fit, call.tier));
    let mut calls: Vec<Call> = Vec::new();
    let last = cascade.stages().last().copied();
    loop {
        match cascade.step(expected, &calls, &Allowance::default()) {
            Some(Step::Call(tier)) if Some(tier) == last => {
                let before = calls.iter().flat_map(asked);
                return Path {
                    calls: before.chain([tier]).collect(),
                    accepted: tier,
                };
            }
            Some(Step::Call(tier)) => calls.push(Call {
                tier,
                quality: estimates[tier].unwrap_or(0.0),
                cost_usd: expected[tier].map_or(0.0, |of| of.cost_usd),
            }),
            Some(Step::Accept(at)) => {
                return Path {
                    accepted: calls[at].tier,
                    calls: calls.iter().flat_map(asked).collect(),
                };
            }
            None => return Path::straight(last.unwrap_or_default()),
        }
    }
}

fn requests(outcomes: &Outcomes) -> Result<Vec<Request>, String> {
    let of = |prompt: &Prompt| {
        let text = prompt.text.as_ref().ok_or("the outcome files have no text to read")?;
        let is_json = matches!(text, PromptText::MessagesJson(_));
        prompt_request(text.as_str(), is_json).map_err(|error| format!("prompt {}: {error}", prompt.prompt_id))
    };
    outcomes.prompts.iter().map(of).collect()
}

/// The estimates of all replies, side by side.
fn estimates(
    fit: &CascadeFit,
    files: &[PathBuf],
    rows: &Rows,
    tiers: &[String],
    forecasts: &[Vec<Forecast>],
) -> Result<Vec<Vec<Option<f64>>>, String> {
    let asking = replies::Asking {
        samples: fit.samples,
        kept: fit.kept,
    };
    let replies = replies::read(files, &rows.outcomes, tiers, asking).map_err(|error| format!("{error:#}"))?;
    let of_prompt = |prompt: usize| -> Vec<Option<f64>> {
        let of_tier = |tier: usize| {
            let said = replies.said.get(&(prompt, tier))?;
            let reply = Reply {
                question: replies.asks[prompt].as_deref()?,
                features: &rows.features[prompt],
                forecast: forecasts[prompt][tier].quality.mean(),
                text: &said.text,
                mean_logprob: said.mean_logprob,
                agreement: said.agreement,
            };
            Some(fit.answers.quality(tier, &reply))
        };
        (0..tiers.len()).map(of_tier).collect()
    };
    let all: Vec<Vec<Option<f64>>> = (0..rows.outcomes.prompts.len())
        .into_par_iter()
        .map(of_prompt)
        .collect();
    // A prompt that a tier did not answer is no part of the comparison; one without a text would look like a
    // bad answer.
    let stage = |model: usize| {
        let name = &rows.outcomes.models[model].name;
        fit.stages
            .contains(name)
            .then(|| tiers.iter().position(|tier| tier == name))?
    };
    let asked = rows.outcomes.outcomes.iter();
    let asked = asked.filter_map(|outcome| Some((outcome.prompt, stage(outcome.model)?)));
    let (n_asked, n_mute) = asked.fold((0, 0), |(n_asked, n_mute), (prompt, tier)| {
        (n_asked + 1, n_mute + usize::from(all[prompt][tier].is_none()))
    });
    match n_mute {
        0 if n_asked > 0 => Ok(all),
        _ => Err(format!("{n_mute} of {n_asked} replies of its stages have no text")),
    }
}

/// A tier per prompt by chance: the same for the same seed and prompt.
fn chance<'a>(name: &str, seed: u64, inputs: &Inputs<'_>) -> Policy<'a> {
    let n_tiers = inputs.catalog.tiers().len() as u64;
    let of = |prompt_id: &str| {
        let mut hasher = DefaultHasher::new();
        (seed, prompt_id).hash(&mut hasher);
        (hasher.finish() % n_tiers) as usize
    };
    let choices = inputs
        .outcomes
        .prompts
        .iter()
        .map(|prompt| of(&prompt.prompt_id))
        .collect();
    Policy::of_choices(name, "A tier by chance", choices)
}

/// The same rows, those of other data sets held out.
fn only(outcomes: &Outcomes, dataset: &str) -> Outcomes {
    let mut outcomes = outcomes.clone();
    let others = outcomes.prompts.iter_mut().filter(|prompt| prompt.dataset != dataset);
    others.for_each(|prompt| prompt.split = Split::Holdout);
    outcomes
}
