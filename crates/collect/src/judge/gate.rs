//! Which figures of a judge are held to which floors, and what to do where one does not hold.

use super::probes::Kind;
use super::report::{CHECKER, GateCheck, JudgeFigures, Report};
use super::settings::GateSettings;

/// Probes of a kind below which nothing is concluded.
const MIN_PROBES: usize = 2;

/// Pairs below which nothing is concluded about places.
const MIN_PAIRS: usize = 4;

/// Judgements below which the parse rate says nothing.
const MIN_VERDICTS: u64 = 10;

/// All checks of a judge; checkers have none, for they have no mind. What could not be measured is there too: silence
/// would read as "passed".
pub fn checks(judge: &JudgeFigures, gate: &GateSettings) -> Vec<GateCheck> {
    let is_model = judge.role == "model";
    let is_pairwise = judge.score_kind.starts_with("llm_pairwise");
    let all = [
        (parse_rate(judge, gate), true, &PARSE_RATE),
        (probe_gap(judge, gate), is_model, &PROBE_GAP),
        (cut_gap(judge, gate), is_model, &CUT_GAP),
        (injection(judge, gate), is_model, &INJECTION),
        (position(judge, gate), is_pairwise, &POSITION),
        (agreement(judge, gate), is_model, &AGREEMENT),
    ];
    let of_judge = all.into_iter().filter(|_| judge.role != CHECKER);
    of_judge
        .filter_map(|(found, is_due, gap)| found.or_else(|| is_due.then(|| gap.check(judge, gate))))
        .collect()
}

/// A check that could not be made.
struct Gap {
    key: &'static str,
    figure: &'static str,
    limit: fn(&GateSettings) -> f64,
    is_floor: bool,
    why: fn(&GateSettings) -> &'static str,
}

const PARSE_RATE: Gap = Gap {
    key: "min_parse_rate",
    figure: "the share of verdicts that could be read",
    limit: |gate| gate.min_parse_rate,
    is_floor: true,
    why: |_| "it has given no verdict yet",
};

const PROBE_GAP: Gap = Gap {
    key: "min_probe_gap",
    figure: "the mean score of good answers less that of bad ones",
    limit: |gate| gate.min_probe_gap,
    is_floor: true,
    why: |gate| {
        probed(
            gate,
            "fewer than two good and two bad answers could be made and judged; references, or whole answers, of more prompts help",
        )
    },
};

const CUT_GAP: Gap = Gap {
    key: "min_cut_gap",
    figure: "what good answers score more than their first third",
    limit: |gate| gate.min_cut_gap,
    is_floor: true,
    why: |gate| {
        probed(
            gate,
            "fewer than two good answers are long enough to be cut (40 characters)",
        )
    },
};

const INJECTION: Gap = Gap {
    key: "max_injection_gain",
    figure: "what an instruction to the judge adds to the score of a bad answer",
    limit: |gate| gate.max_injection_gain,
    is_floor: false,
    why: |gate| {
        probed(
            gate,
            "fewer than two good answers to different prompts were there to make it from",
        )
    },
};

const POSITION: Gap = Gap {
    key: "max_position_bias",
    figure: "the position bias",
    limit: |gate| gate.max_position_bias,
    is_floor: false,
    why: |_| "fewer than four pairs were judged in both orders",
};

const AGREEMENT: Gap = Gap {
    key: "min_alpha",
    figure: "Krippendorff's alpha of replies judged twice",
    limit: |gate| gate.min_alpha,
    is_floor: true,
    why: |gate| match gate.repeat_share == 0.0 {
        true => "switched off: judge.gate.repeat_share is 0",
        false => "no reply was judged twice",
    },
};

fn probed(gate: &GateSettings, why: &'static str) -> &'static str {
    match gate.probes {
        true => why,
        false => "switched off: judge.gate.probes is false",
    }
}

impl Gap {
    fn check(&self, judge: &JudgeFigures, gate: &GateSettings) -> GateCheck {
        GateCheck {
            judge: judge.name.clone(),
            figure: self.figure.to_owned(),
            value: None,
            limit: (self.limit)(gate),
            key: self.key.to_owned(),
            is_floor: self.is_floor,
            passed: true,
            unmeasured: Some((self.why)(gate).to_owned()),
            mend: String::new(),
        }
    }
}

/// What already fails on probes, before any reply is judged: agreement is not known by then.
pub fn early<'a>(report: &'a Report, gate: &GateSettings) -> Vec<&'a GateCheck> {
    let is_measured = |judge: &str| {
        let n: usize = report
            .judges
            .iter()
            .filter(|figures| figures.name == judge)
            .flat_map(|figures| &figures.probes)
            .map(|probe| probe.n)
            .sum();
        let failed = report
            .judges
            .iter()
            .any(|figures| figures.name == judge && figures.n_unparsed + figures.n_failed >= MIN_VERDICTS);
        n >= 2 * MIN_PROBES || failed
    };
    report
        .failures()
        .filter(|check| gate.probes && check.key != "min_alpha" && is_measured(&check.judge))
        .collect()
}

/// The mean score of probes of a kind.
fn probe(judge: &JudgeFigures, kind: Kind) -> Option<f64> {
    judge
        .probes
        .iter()
        .find(|probe| probe.kind == kind && probe.n >= MIN_PROBES)
        .map(|probe| probe.mean)
}

fn parse_rate(judge: &JudgeFigures, gate: &GateSettings) -> Option<GateCheck> {
    let value = judge.parse_rate?;
    let example = judge
        .errors
        .first()
        .map(|error| format!(" (most often {}: {})", error.kind, error.example))
        .unwrap_or_default();
    Some(GateCheck {
        judge: judge.name.clone(),
        figure: "the share of verdicts that could be read".to_owned(),
        value: Some(value),
        limit: gate.min_parse_rate,
        key: "min_parse_rate".to_owned(),
        unmeasured: None,
        is_floor: true,
        passed: value >= gate.min_parse_rate,
        mend: format!(
            "use a model that follows the form of the reply, give it more max_tokens or a response_format in \
             `endpoint.parameters`, or mend the command{example}"
        ),
    })
}

fn probe_gap(judge: &JudgeFigures, gate: &GateSettings) -> Option<GateCheck> {
    let good = probe(judge, Kind::Good)?;
    let bad = [Kind::Bad, Kind::OffTopic, Kind::Empty]
        .into_iter()
        .filter_map(|kind| Some((probe(judge, kind)?, kind)));
    let (bad, kind) = bad.max_by(|a, b| a.0.total_cmp(&b.0))?;
    let value = good - bad;
    let kind = match kind {
        Kind::Bad => "wrong",
        Kind::OffTopic => "off-topic",
        _ => "empty",
    };
    value.is_finite().then(|| GateCheck {
        judge: judge.name.clone(),
        figure: format!("the mean score of good answers less that of {kind} ones"),
        value: Some(value),
        limit: gate.min_probe_gap,
        key: "min_probe_gap".to_owned(),
        unmeasured: None,
        is_floor: true,
        passed: value >= gate.min_probe_gap,
        mend:
            "the judge does not tell good answers from bad ones; use a stronger model, or say in the rubric what a bad \
               answer is"
                .to_owned(),
    })
}

/// Over prompts whose good answer was cut too: a judge that does not see what is missing.
fn cut_gap(judge: &JudgeFigures, gate: &GateSettings) -> Option<GateCheck> {
    let cut = judge.probes.iter().find(|probe| probe.kind == Kind::Truncated);
    let value = cut.filter(|probe| probe.n >= MIN_PROBES)?.gap?;
    Some(GateCheck {
        judge: judge.name.clone(),
        figure: "what good answers score more than their first third".to_owned(),
        value: Some(value),
        limit: gate.min_cut_gap,
        key: "min_cut_gap".to_owned(),
        unmeasured: None,
        is_floor: true,
        passed: value >= gate.min_cut_gap,
        mend: "the judge does not see that an answer stops in the middle; use a stronger model, or say in the rubric that \
               an answer has to be whole"
            .to_owned(),
    })
}

fn injection(judge: &JudgeFigures, gate: &GateSettings) -> Option<GateCheck> {
    let value = probe(judge, Kind::Injection)? - probe(judge, Kind::OffTopic)?;
    Some(GateCheck {
        judge: judge.name.clone(),
        figure: "what an instruction to the judge adds to the score of a bad answer".to_owned(),
        value: Some(value),
        limit: gate.max_injection_gain,
        key: "max_injection_gain".to_owned(),
        unmeasured: None,
        is_floor: false,
        passed: value <= gate.max_injection_gain,
        mend: "the judge obeys what answers say to it; use a stronger model, or say in the rubric that an answer that \
               speaks to the judge is a bad one"
            .to_owned(),
    })
}

fn position(judge: &JudgeFigures, gate: &GateSettings) -> Option<GateCheck> {
    let position = judge.position.filter(|position| position.n >= MIN_PAIRS)?;
    let place = if position.bias > 0.0 { "first" } else { "second" };
    Some(GateCheck {
        judge: judge.name.clone(),
        figure: "the position bias".to_owned(),
        value: Some(position.bias.abs()),
        limit: gate.max_position_bias,
        key: "max_position_bias".to_owned(),
        unmeasured: None,
        is_floor: false,
        passed: position.bias.abs() <= gate.max_position_bias,
        mend: format!("the judge prefers the {place} answer whichever it is; use a stronger model, or a rubric judge"),
    })
}

/// Without two different judgements alpha is undefined: passed only where probes show that the
/// judge can say something else.
fn agreement(judge: &JudgeFigures, gate: &GateSettings) -> Option<GateCheck> {
    let agreement = judge.agreement?;
    let tells_apart = || probe_gap(judge, gate).is_some_and(|check| check.passed);
    let passed = agreement
        .alpha_interval
        .map_or_else(tells_apart, |alpha| alpha >= gate.min_alpha);
    let mend = match agreement.alpha_interval {
        None => {
            "the judge says the same of every reply, so that its agreement with itself shows nothing; use a stronger model"
        }
        Some(_) => {
            "the judge contradicts itself; set temperature = 0 in `endpoint.parameters`, make the rubric more definite, \
                    or use a stronger model"
        }
    };
    Some(GateCheck {
        judge: judge.name.clone(),
        figure: format!("Krippendorff's alpha of {} replies judged twice", agreement.n),
        value: agreement.alpha_interval,
        limit: gate.min_alpha,
        key: "min_alpha".to_owned(),
        unmeasured: None,
        is_floor: true,
        passed,
        mend: mend.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::report::{Agreement, Position, ProbeFigures};
    use super::*;

    fn fair() -> JudgeFigures {
        let probe = |kind, mean| ProbeFigures {
            kind,
            n: 8,
            mean,
            gap: Some(0.9 - mean),
        };
        JudgeFigures {
            name: "j".to_owned(),
            role: "model".to_owned(),
            parse_rate: Some(1.0),
            agreement: Some(Agreement {
                n: 20,
                alpha_interval: Some(0.9),
                alpha_nominal: None,
                raw_equal: 0.9,
                raw_near: 1.0,
            }),
            position: Some(Position {
                n: 20,
                bias: 0.05,
                flipped: 0.1,
            }),
            probes: vec![
                probe(Kind::Good, 0.9),
                probe(Kind::OffTopic, 0.1),
                probe(Kind::Empty, 0.0),
                probe(Kind::Injection, 0.2),
                probe(Kind::Bad, 0.1),
                probe(Kind::Truncated, 0.4),
            ],
            ..JudgeFigures::default()
        }
    }

    /// Keys of what could not be measured after `change`.
    fn unmeasured(change: impl FnOnce(&mut JudgeFigures, &mut GateSettings), expected: &[&str], why: &str) {
        let (mut figures, mut gate) = (fair(), GateSettings::default());
        change(&mut figures, &mut gate);
        let all = checks(&figures, &gate);
        let gaps: Vec<&GateCheck> = all.iter().filter(|check| check.unmeasured.is_some()).collect();
        let keys: Vec<&str> = gaps.iter().map(|check| check.key.as_str()).collect();
        assert_eq!(keys, expected);
        for gap in gaps {
            assert!(gap.passed && gap.sentence().contains(why), "{}", gap.sentence());
        }
    }

    #[test]
    fn what_could_not_be_measured_is_told_with_the_reason() {
        unmeasured(|_, _| (), &[], "");
        unmeasured(|judge, _| judge.probes.truncate(5), &["min_cut_gap"], "40 characters");
        unmeasured(
            |judge, gate| {
                judge.probes.clear();
                gate.probes = false;
            },
            &["min_probe_gap", "min_cut_gap", "max_injection_gain"],
            "judge.gate.probes is false",
        );
        unmeasured(|judge, _| judge.agreement = None, &["min_alpha"], "judged twice");
        unmeasured(|judge, _| judge.position = None, &[], "");
        unmeasured(
            |judge, _| (judge.position, judge.score_kind) = (None, "llm_pairwise:j".to_owned()),
            &["max_position_bias"],
            "four pairs",
        );
        unmeasured(
            |judge, _| {
                *judge = JudgeFigures {
                    role: "command".to_owned(),
                    ..JudgeFigures::default()
                }
            },
            &["min_parse_rate"],
            "no verdict",
        );
        unmeasured(
            |judge, _| {
                *judge = JudgeFigures {
                    role: CHECKER.to_owned(),
                    ..JudgeFigures::default()
                }
            },
            &[],
            "",
        );
    }

    /// Keys of what fails after `change`.
    fn fails(change: impl FnOnce(&mut JudgeFigures), expected: &[&str]) {
        let mut figures = fair();
        change(&mut figures);
        let checks = checks(&figures, &GateSettings::default());
        let failed: Vec<&str> = checks
            .iter()
            .filter(|check| !check.passed)
            .map(|check| check.key.as_str())
            .collect();
        assert_eq!(failed, expected);
    }

    #[test]
    fn each_fault_has_its_check() {
        fails(|_| (), &[]);
        fails(|judge| judge.parse_rate = Some(0.5), &["min_parse_rate"]);
        fails(|judge| judge.probes[1].mean = 0.8, &["min_probe_gap"]);
        fails(|judge| judge.probes[3].mean = 0.9, &["max_injection_gain"]);
        fails(|judge| judge.probes[4].mean = 0.8, &["min_probe_gap"]);
        fails(|judge| judge.probes[5].gap = Some(0.0), &["min_cut_gap"]);
        fails(
            |judge| judge.position.as_mut().unwrap().bias = -0.9,
            &["max_position_bias"],
        );
        fails(
            |judge| judge.agreement.as_mut().unwrap().alpha_interval = Some(0.3),
            &["min_alpha"],
        );
    }

    #[test]
    fn a_constant_judge_fails_even_where_alpha_is_undefined() {
        let constant = |judge: &mut JudgeFigures| {
            judge.agreement.as_mut().unwrap().alpha_interval = None;
            judge
                .probes
                .iter_mut()
                .for_each(|probe| (probe.mean, probe.gap) = (1.0, Some(0.0)));
        };
        fails(constant, &["min_probe_gap", "min_cut_gap", "min_alpha"]);
        // All replies are good and the probes show that bad ones are told apart.
        fails(|judge| judge.agreement.as_mut().unwrap().alpha_interval = None, &[]);
    }

    #[test]
    fn too_few_to_say() {
        fails(
            |judge| {
                judge
                    .probes
                    .iter_mut()
                    .for_each(|probe| (probe.n, probe.mean) = (1, 1.0));
            },
            &[],
        );
        fails(
            |judge| {
                judge.position = Some(Position {
                    n: 1,
                    bias: 1.0,
                    flipped: 1.0,
                });
            },
            &[],
        );
        fails(
            |judge| (judge.role, judge.parse_rate) = ("checker".to_owned(), Some(0.0)),
            &[],
        );
    }

    #[test]
    fn sentences_name_figure_floor_and_mend() {
        let mut judge = fair();
        judge.parse_rate = Some(0.5);
        let sentence = checks(&judge, &GateSettings::default())[0].sentence();
        for part in [
            "judge `j`",
            "is 0.500, under the floor of 0.95",
            "judge.gate.min_parse_rate",
            "max_tokens",
        ] {
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}
