//! How often a certificate is broken: certified on one random half of the rows, looked at on the other.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use tiercast_statistics::certify::{Tally, fixed_sequence};

use super::report::CertificateReport;
use super::{Dial, Path, Policy};
use crate::operating::RIGHT;
use crate::study::Study;

/// Random halves.
const N_SPLITS: usize = 200;

/// Floors tried: 1, .995, ..., 0, as `train --certify` does.
const STEPS: usize = 200;

/// Share lost that is tolerated, and the probability that it is more.
const ALPHA: f64 = 0.15;
const DELTA: f64 = 0.1;

/// One item at one floor: not sent to a cheaper tier, or sent and lost or not.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Kept,
    Fine,
    Lost,
}

/// Both kinds of loss, of a policy whose dial is a floor from 0 to 1.
pub(super) fn certificates(study: &Study<'_>, policy: &Policy<'_>) -> Vec<CertificateReport> {
    let dearest = study.inputs.catalog.dearest();
    if !matches!(policy.dial, Dial::Share(_)) || study.n_tiers < 2 {
        return Vec::new();
    }
    let floors: Vec<f64> = (0..=STEPS).rev().map(|step| step as f64 / STEPS as f64).collect();
    ["missed", "avoidable"]
        .map(|loss| {
            let fate = |(item, prompt): (usize, &usize), floor: f64| {
                let Path { accepted, .. } = (policy.decide)(floor, *prompt);
                let is_right = |tier: usize| study.items.quality.at(item, tier) >= RIGHT;
                match accepted {
                    tier if tier == dearest => Fate::Kept,
                    tier if is_right(tier) || (loss == "avoidable" && !is_right(dearest)) => Fate::Fine,
                    _ => Fate::Lost,
                }
            };
            let fates: Vec<Vec<Fate>> = floors
                .par_iter()
                .map(|floor| {
                    let items = study.items.prompts.iter().enumerate();
                    items.map(|of| fate(of, *floor)).collect()
                })
                .collect();
            report(study, loss, &fates)
        })
        .to_vec()
}

fn report(study: &Study<'_>, loss: &str, fates: &[Vec<Fate>]) -> CertificateReport {
    let split = |seed: usize| {
        let mut groups: Vec<bool> = (0..study.group_sizes.len()).map(|group| group % 2 == 0).collect();
        groups.shuffle(&mut ChaCha8Rng::seed_from_u64(
            study.inputs.seed.wrapping_add(seed as u64),
        ));
        let is_in = |item: usize| groups[study.groups[item]];
        let tallies: Vec<Tally> = fates.iter().map(|fates| tally(fates, &is_in)).collect();
        let certified = fixed_sequence(&tallies, ALPHA, DELTA)?;
        let at = &fates[*certified.end()];
        let (other, whole) = (tally(at, &|item| !is_in(item)), tally(at, &|_| true));
        Some((whole.n as f64 / at.len() as f64, rate(other), rate(whole)))
    };
    let found: Vec<Option<(f64, f64, f64)>> = (0..N_SPLITS).into_par_iter().map(split).collect();
    let certified: Vec<&(f64, f64, f64)> = found.iter().flatten().collect();
    let share = |of: &dyn Fn(&(f64, f64, f64)) -> bool| {
        certified.iter().filter(|found| of(found)).count() as f64 / N_SPLITS as f64
    };
    CertificateReport {
        loss: loss.to_owned(),
        alpha: ALPHA,
        delta: DELTA,
        n_splits: N_SPLITS,
        certified: certified.len() as f64 / N_SPLITS as f64,
        share: certified.iter().map(|found| found.0).sum::<f64>() / N_SPLITS as f64,
        broken_on_other_half: share(&|found| found.1 > ALPHA),
        broken_on_all: share(&|found| found.2 > ALPHA),
    }
}

fn tally(fates: &[Fate], is_in: &dyn Fn(usize) -> bool) -> Tally {
    let mut tally = Tally { n: 0, losses: 0 };
    for (item, fate) in fates.iter().enumerate() {
        if *fate != Fate::Kept && is_in(item) {
            tally.n += 1;
            tally.losses += usize::from(*fate == Fate::Lost);
        }
    }
    tally
}

fn rate(tally: Tally) -> f64 {
    tally.losses as f64 / tally.n.max(1) as f64
}
