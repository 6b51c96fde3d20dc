//! How long a plan takes: `cargo bench -p tiercast-routing --bench plan`.
//!
//! Tasks of 20, 200 and 10,000 steps over eight tiers at half of what the best tiers would cost, of four
//! kinds: qualities at random; dearer tiers nearly always better; quality and cost in one proportion, where
//! the relaxation says least; and all steps alike.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tiercast_routing::plan::{Estimate, State, Step, Terms, solve};

const N_TIERS: usize = 8;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Random,
    DearerIsBetter,
    Proportional,
    Alike,
}

fn estimate(kind: Kind, tier: usize, rng: &mut ChaCha8Rng) -> Estimate {
    let price = 0.0002 * 2_f64.powi(tier as i32);
    let (size, noise) = (rng.random_range(0.2..5.0), rng.random::<f64>());
    let cost_usd = price * size;
    match kind {
        Kind::Random => Estimate {
            quality: noise,
            cost_usd,
        },
        Kind::DearerIsBetter => Estimate {
            quality: (0.3 + 0.08 * tier as f64 + 0.1 * noise).min(1.0),
            cost_usd,
        },
        Kind::Proportional => Estimate {
            quality: 0.2 + cost_usd,
            cost_usd,
        },
        Kind::Alike => Estimate {
            quality: 0.3 + 0.08 * tier as f64,
            cost_usd: price,
        },
    }
}

fn task(kind: Kind, n_steps: usize) -> (Vec<Step>, Terms) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut step = |step_idx: usize| Step {
        id: format!("step {step_idx}"),
        importance: if matches!(kind, Kind::Random | Kind::DearerIsBetter) {
            rng.random_range(0.5..2.0)
        } else {
            1.0
        },
        depends_on: step_idx
            .checked_sub(1)
            .map(|earlier| format!("step {earlier}"))
            .into_iter()
            .collect(),
        state: State::Waiting((0..N_TIERS).map(|tier| Some(estimate(kind, tier, &mut rng))).collect()),
    };
    let steps: Vec<Step> = (0..n_steps).map(&mut step).collect();
    let dearest = |step: &Step| match &step.state {
        State::Waiting(tiers) => tiers
            .iter()
            .flatten()
            .map(|estimate| estimate.cost_usd)
            .fold(0.0, f64::max),
        State::Done { .. } => 0.0,
    };
    let budget_usd = steps.iter().map(dearest).sum::<f64>() / 2.0;
    (steps, Terms::of_budget(budget_usd))
}

fn plans(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("plan");
    for kind in [Kind::Random, Kind::DearerIsBetter, Kind::Proportional, Kind::Alike] {
        for n_steps in [20, 200, 10_000] {
            let (steps, terms) = task(kind, n_steps);
            if n_steps > 1000 {
                group.sample_size(10);
            }
            group.bench_with_input(
                BenchmarkId::new(format!("{kind:?}"), n_steps),
                &steps,
                |bench, steps| {
                    bench.iter(|| solve(black_box(steps), &terms).expect("half of the dearest is enough"));
                },
            );
        }
    }
    group.finish();
}

criterion_group!(benches, plans);
criterion_main!(benches);
