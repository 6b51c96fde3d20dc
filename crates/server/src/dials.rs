//! The dials of a request: its `model` name and its `x-tiercast-` headers, checked.

use axum::http::HeaderMap;
use tiercast_routing::decide::{Acceptable, Constraints, Objective};
use tiercast_routing::request::Request;

use crate::deployment::Deployment;
use crate::error::Error;
use crate::keys::Caller;
use crate::policy::Policy;
use crate::serving::Serving;
use crate::sessions::LONGEST_ID;
use crate::settings::LevelSettings;

/// The virtual model names. `auto:q=0.8` (any floor from 0 to 1) is one more.
pub const VIRTUAL_MODELS: [&str; 4] = ["auto", "auto:cheap", "auto:best", "auto:fast"];

/// One more, where the checkpoint guarantees something: the boldest floor for which that holds.
pub const CERTIFIED_MODEL: &str = "auto:certified";

/// What the caller asked for, true of this deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct Dials {
    /// What to look for.
    pub objective: Objective,
    /// What a tier has to keep to.
    pub constraints: Constraints,
    /// How the tier is chosen.
    pub policy: Policy,
    /// The level that the request itself asks for.
    pub level: Option<Acceptable>,
    /// The rule that fired, once the policy `rules` has decided.
    pub rule: Option<String>,
    /// Label of the task, where the caller gives one.
    pub task: Option<String>,
    /// The step of the session's plan that this request is.
    pub step: Option<String>,
    /// Whether the caller can wait: no latency target, and a budget that defers holds the request back.
    pub is_async: bool,
    /// Who asks: a cohort of the settings, `other`, or `none` where nothing was said.
    pub cohort: String,
    /// The conversation that this request is a part of.
    pub session: Option<String>,
    /// Whether the answer explains what was read.
    pub debug: bool,
}

/// Header names; their values are described where they are read.
mod header {
    pub(super) const QUALITY: &str = "x-tiercast-quality";
    pub(super) const CONFIDENCE: &str = "x-tiercast-confidence";
    pub(super) const EXCLUDE: &str = "x-tiercast-exclude";
    pub(super) const MAX_COST_USD: &str = "x-tiercast-max-cost-usd";
    pub(super) const LATENCY_MS: &str = "x-tiercast-latency-ms";
    pub(super) const MODE: &str = "x-tiercast-mode";
    pub(super) const POLICY: &str = "x-tiercast-policy";
    pub(super) const COHORT: &str = "x-tiercast-cohort";
    pub(super) const DEBUG: &str = "x-tiercast-debug";
    pub(super) const TASK: &str = "x-tiercast-task";
    pub(super) const STEP: &str = "x-tiercast-step-id";
    pub(super) const SESSION: &str = "x-session-id";
}

impl Dials {
    /// Reads the dials of one request. A header outranks the service level of the cohort, which outranks
    /// `auto`; the policy header outranks the policy of the settings, and so does a model name that spells a way
    /// out. Headers that contradict such a name, or one another, are refused.
    pub(crate) fn read(
        model: Option<&str>,
        headers: &HeaderMap,
        request: &Request,
        serving: &Serving,
        caller: &Caller,
    ) -> Result<Self, Error> {
        let (deployment, settings) = (&serving.deployment, &serving.settings);
        let cohort = cohort(headers, &settings.cohorts, caller)?;
        let default = settings.service_levels.get(&cohort).cloned().unwrap_or_default();
        let model = model.unwrap_or("auto");
        let named = model_objective(model, deployment)?;
        let named = match level_of(&default) {
            Some(level) if ["auto", "auto:fast"].contains(&model) => with_level(named, level),
            _ => named,
        };
        let level = level(headers)?;
        // `auto:q=0.8` spells a level out.
        let spelled = match named {
            Objective::Cheapest(level) if model.starts_with("auto:q=") => Some(level),
            _ => None,
        };
        let is_fixed = matches!(named, Objective::Fixed(_));
        let asked = policy(headers, deployment)?;
        agree((model, named), asked, level, headers)?;
        let policy = match asked {
            Some(policy) => policy,
            None if is_fixed => Policy::Meta,
            // A way to choose that the model's name spells out is taken at its word.
            None if model != "auto" => Policy::Meta,
            None => deployment.policy(),
        };
        let objective = match (policy, level) {
            (Policy::Fixed(tier_idx), _) => Objective::Fixed(tier_idx),
            (_, Some(level)) => with_level(named, level),
            (_, None) => named,
        };
        let policy = match objective {
            Objective::Fixed(tier_idx) => Policy::Fixed(tier_idx),
            _ => policy,
        };
        let is_async = is_async(headers)?;
        let constraints = Constraints {
            excluded: excluded(headers, deployment)?,
            max_cost_usd: number(
                headers,
                header::MAX_COST_USD,
                0.0,
                f64::MAX,
                "give US dollars, 0 or more",
            )?
            .or(default.max_cost_usd),
            max_latency_s: latency(headers, default.latency_ms)?.filter(|_| !is_async),
            ..Self::constraints_of(request)
        };
        let (step, session) = (short(headers, header::STEP)?, short(headers, header::SESSION)?);
        if let (Some(step), None) = (&step, &session) {
            let mend = "a step is of a session's plan: send the session's x-session-id too, or leave this header out";
            return Err(Error::header(header::STEP, step, mend));
        }
        Ok(Self {
            objective,
            constraints,
            policy,
            level: level.or(spelled),
            rule: None,
            task: task(headers)?,
            step,
            is_async,
            cohort,
            session,
            debug: debug(headers)?,
        })
    }

    /// The dials of a request without headers, at a floor on expected quality or at `auto`'s.
    pub fn of_floor(floor: Option<f64>, request: &Request, deployment: &Deployment) -> Self {
        let floor = floor.unwrap_or(deployment.service_levels().auto);
        Self {
            objective: Objective::Cheapest(Acceptable::Floor(floor)),
            constraints: Self::constraints_of(request),
            policy: Policy::Meta,
            level: None,
            rule: None,
            task: None,
            step: None,
            is_async: false,
            cohort: "none".to_owned(),
            session: None,
            debug: false,
        }
    }

    /// What the request itself demands.
    fn constraints_of(request: &Request) -> Constraints {
        Constraints {
            needs: request.needs,
            max_output_tokens: request.max_output_tokens,
            ..Constraints::default()
        }
    }
}

fn model_objective(model: &str, deployment: &Deployment) -> Result<Objective, Error> {
    let levels = deployment.service_levels();
    if let Some(floor) = model.strip_prefix("auto:q=") {
        let floor = floor.parse().ok().filter(|floor| (0.0..=1.0).contains(floor));
        let floor = floor.ok_or_else(|| Error::BadFloor {
            model: model.to_owned(),
        })?;
        return Ok(Objective::Cheapest(Acceptable::Floor(floor)));
    }
    match model {
        "auto" => Ok(Objective::Cheapest(Acceptable::Floor(levels.auto))),
        "auto:cheap" => Ok(Objective::Cheapest(Acceptable::Floor(levels.cheap))),
        "auto:fast" => Ok(Objective::Fastest(Acceptable::Floor(levels.auto))),
        "auto:best" => Ok(Objective::Best),
        CERTIFIED_MODEL => {
            let floors = deployment.certificate().and_then(|certificate| certificate.floors);
            let [boldest, _] = floors.ok_or(Error::NoCertificate)?;
            Ok(Objective::Cheapest(Acceptable::Floor(boldest)))
        }
        tier => match deployment.catalog().position(tier) {
            Some(tier_idx) => Ok(Objective::Fixed(tier_idx)),
            None => Err(Error::NoSuchModel {
                model: model.to_owned(),
                known: deployment.names(),
            }),
        },
    }
}

/// Refuses headers that say otherwise than the model's name or than one another: whichever won, the client would
/// not get what it asked for.
fn agree(
    (model, named): (&str, Objective),
    policy: Option<Policy>,
    level: Option<Acceptable>,
    headers: &HeaderMap,
) -> Result<(), Error> {
    let refused = |name: &'static str, by: String| {
        let mend = format!("{by} says otherwise: leave one of them out, or set the model to `auto`");
        Err(Error::header(name, text(headers, name)?.unwrap_or_default(), mend))
    };
    let of_model = || format!("the body's `model`, `{model}`,");
    let (is_plain, is_level) = (model == "auto", model.starts_with("auto:q="));
    let agrees = |policy: Policy| match (policy, named) {
        (_, _) if is_plain => true,
        (Policy::Fixed(tier), Objective::Fixed(named)) => tier == named,
        (_, Objective::Fixed(_)) => false,
        (Policy::Meta, _) => true,
        // They go by a level where one is asked for.
        (Policy::Auto | Policy::Cascade, _) => is_level,
        _ => false,
    };
    if policy.is_some_and(|policy| !agrees(policy)) {
        return refused(header::POLICY, of_model());
    }
    let Some(level) = level else { return Ok(()) };
    if let Some(Policy::Fixed(_)) = policy {
        return refused(header::QUALITY, format!("the header `{}`", header::POLICY));
    }
    let is_same = is_level && named == Objective::Cheapest(level);
    match is_plain || model == "auto:fast" || is_same {
        true => Ok(()),
        false => refused(header::QUALITY, of_model()),
    }
}

fn with_level(objective: Objective, level: Acceptable) -> Objective {
    match objective {
        Objective::Cheapest(_) => Objective::Cheapest(level),
        Objective::Fastest(_) => Objective::Fastest(level),
        Objective::Best | Objective::TradeOff { .. } | Objective::Fixed(_) | Objective::Preferred { .. } => objective,
    }
}

/// The level that the headers ask for: quality alone is a floor, with a confidence a target.
fn level(headers: &HeaderMap) -> Result<Option<Acceptable>, Error> {
    let mend = "give a number from 0 to 1";
    let quality = number(headers, header::QUALITY, 0.0, 1.0, mend)?;
    let confidence = number(headers, header::CONFIDENCE, 0.0, 1.0, mend)?;
    match (quality, confidence) {
        (Some(target), Some(confidence)) => Ok(Some(Acceptable::Confidence { target, confidence })),
        (Some(floor), None) => Ok(Some(Acceptable::Floor(floor))),
        (None, None) => Ok(None),
        (None, Some(given)) => {
            let mend = "send x-tiercast-quality with it: the quality to reach with this confidence";
            Err(Error::header(header::CONFIDENCE, given.to_string(), mend))
        }
    }
}

fn excluded(headers: &HeaderMap, deployment: &Deployment) -> Result<Vec<usize>, Error> {
    let mut excluded = Vec::new();
    for value in headers.get_all(header::EXCLUDE) {
        let names = String::from_utf8_lossy(value.as_bytes());
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let unknown = || Error::header(header::EXCLUDE, name, format!("name tiers from {}", deployment.names()));
            excluded.push(deployment.catalog().position(name).ok_or_else(unknown)?);
        }
    }
    Ok(excluded)
}

/// The latency target in seconds.
fn latency(headers: &HeaderMap, default_ms: Option<f64>) -> Result<Option<f64>, Error> {
    let mend = "give milliseconds, more than 0";
    let target_ms = number(headers, header::LATENCY_MS, f64::MIN_POSITIVE, f64::MAX, mend)?.or(default_ms);
    Ok(target_ms.map(|ms| ms / 1000.0))
}

fn is_async(headers: &HeaderMap) -> Result<bool, Error> {
    match text(headers, header::MODE)? {
        None | Some("sync") => Ok(false),
        Some("async") => Ok(true),
        Some(other) => Err(Error::header(header::MODE, other, "give `sync` or `async`")),
    }
}

/// The policy that the header asks for.
fn policy(headers: &HeaderMap, deployment: &Deployment) -> Result<Option<Policy>, Error> {
    let Some(value) = text(headers, header::POLICY)? else {
        return Ok(None);
    };
    let mend = || {
        let names = deployment.names();
        format!("the policies are {}, where TIER is one of {names}", Policy::KNOWN)
    };
    Policy::read(value, deployment.catalog())
        .map(Some)
        .ok_or_else(|| Error::header(header::POLICY, value, mend()))
}

/// The label of the task, in no form but its length.
fn task(headers: &HeaderMap) -> Result<Option<String>, Error> {
    const LONGEST: usize = 64;
    let Some(label) = text(headers, header::TASK)?.filter(|label| !label.is_empty()) else {
        return Ok(None);
    };
    if label.len() > LONGEST {
        return Err(Error::header(
            header::TASK,
            "too long",
            format!("give a label of at most {LONGEST} bytes"),
        ));
    }
    Ok(Some(label.to_owned()))
}

/// Cohorts become labels of metrics, so only those that the settings name are kept apart.
/// A key that has a cohort speaks for that one alone.
fn cohort(headers: &HeaderMap, cohorts: &[String], caller: &Caller) -> Result<String, Error> {
    let given = text(headers, header::COHORT)?;
    if let Some(own) = &caller.cohort {
        return match given.filter(|given| given != own) {
            None => Ok(own.clone()),
            Some(given) => {
                let mend = format!("this key is of cohort `{own}`: leave the header out");
                Err(Error::header(header::COHORT, given, mend))
            }
        };
    }
    let label = match given {
        None => "none",
        Some(given) => cohorts
            .iter()
            .find(|known| *known == given)
            .map_or("other", String::as_str),
    };
    Ok(label.to_owned())
}

/// The session of a request.
pub(crate) fn session(headers: &HeaderMap) -> Result<Option<String>, Error> {
    short(headers, header::SESSION)
}

/// An id, in no form but its length.
fn short(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, Error> {
    let Some(id) = text(headers, name)?.filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    if id.len() > LONGEST_ID {
        let beginning: String = id.chars().take(20).collect();
        let mend = format!("give an id of at most {LONGEST_ID} bytes");
        return Err(Error::header(name, format!("{beginning}..."), mend));
    }
    Ok(Some(id.to_owned()))
}

fn level_of(settings: &LevelSettings) -> Option<Acceptable> {
    let target = settings.quality?;
    Some(match settings.confidence {
        Some(confidence) => Acceptable::Confidence { target, confidence },
        None => Acceptable::Floor(target),
    })
}

fn debug(headers: &HeaderMap) -> Result<bool, Error> {
    match text(headers, header::DEBUG)? {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true") => Ok(true),
        Some(other) => Err(Error::header(header::DEBUG, other, "give `1` or `0`")),
    }
}

fn number(headers: &HeaderMap, name: &'static str, least: f64, most: f64, mend: &str) -> Result<Option<f64>, Error> {
    let Some(value) = text(headers, name)? else {
        return Ok(None);
    };
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.map(Some).ok_or_else(|| Error::header(name, value, mend))
}

/// One header's value, trimmed.
fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Error> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::header(name, "given more than once", "send it once"));
    }
    let Ok(value) = std::str::from_utf8(value.as_bytes()) else {
        return Err(Error::header(
            name,
            String::from_utf8_lossy(value.as_bytes()),
            "send it as UTF-8",
        ));
    };
    Ok(Some(value.trim()))
}
