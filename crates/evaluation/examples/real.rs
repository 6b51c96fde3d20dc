//! Temporary: numbers on the real files.
use std::collections::BTreeMap;
use tiercast_evaluation::evaluate::evaluate;
use tiercast_evaluation::report::CheckpointInfo;
use tiercast_evaluation::study::{Inputs, slices_of};
use tiercast_records::features::Features;
use tiercast_records::outcomes::{ReadOptions, Split, read};
use tiercast_routing::catalog::{Capabilities, Catalog, Tier};
use tiercast_routing::decide::Forecast;
use tiercast_routing::distribution::QualityDistribution;

fn hash(text: &str) -> u32 {
    text.bytes()
        .fold(2166136261u32, |h, b| (h ^ u32::from(b)).wrapping_mul(16777619))
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let names: Vec<String> = args[2].split(',').map(str::to_owned).collect();
    let outcomes = read(
        &[args[1].clone().into()],
        &ReadOptions {
            with_text: true,
            models: Some(names.clone()),
            splits: None,
        },
    )
    .expect("readable");
    let tier = |name: &String| Tier {
        name: name.clone(),
        class: 2,
        input_usd_per_mtok: 1.0,
        output_usd_per_mtok: 1.0,
        context_window: None,
        capabilities: Capabilities::default(),
        latency_p95_s: None,
    };
    let catalog = Catalog::new(names.iter().map(tier).collect()).expect("valid");
    let features: Vec<Features> = outcomes
        .prompts
        .iter()
        .map(|p| {
            let text = p.text.as_ref().map(|t| t.as_str().to_lowercase()).unwrap_or_default();
            let words: Vec<&str> = text
                .split(|c: char| !c.is_alphanumeric())
                .filter(|w| !w.is_empty())
                .collect();
            let mut counts: BTreeMap<u32, u16> = BTreeMap::new();
            for w in &words {
                *counts.entry(hash(w)).or_default() += 1;
            }
            for w in words.windows(2) {
                *counts.entry(hash(&w.join(" "))).or_default() += 1;
            }
            // Signed random projection of the words, in place of an embedding.
            let mut dense = vec![0.0f64; 128];
            for w in &words {
                let mut h = u64::from(hash(w)) | 1;
                for d in &mut dense {
                    h ^= h << 13;
                    h ^= h >> 7;
                    h ^= h << 17;
                    *d += if h & 1 == 0 { 1.0 } else { -1.0 };
                }
            }
            let norm = dense.iter().map(|d| d * d).sum::<f64>().sqrt().max(1e-9);
            Features {
                ask_tokens: words.len() as u32,
                embedding: dense.iter().map(|d| (d / norm * 127.0) as i8).collect(),
                word_ngrams: counts.into_iter().collect(),
                ..Features::default()
            }
        })
        .collect();
    // Mean cost per tier on train; quality: subset mean with 10 prior rows.
    let mut cost = vec![(0.0, 0.0); names.len()];
    let mut table: BTreeMap<(String, usize), (f64, f64)> = BTreeMap::new();
    for o in &outcomes.outcomes {
        let p = &outcomes.prompts[o.prompt];
        if p.split != Split::Train {
            continue;
        }
        let t = catalog.position(&outcomes.models[o.model].name).expect("known");
        cost[t].0 += o.cost_usd.unwrap_or(0.0);
        cost[t].1 += 1.0;
        let cell = table.entry((p.subset.clone(), t)).or_default();
        cell.0 += o.score;
        cell.1 += 1.0;
    }
    let forecasts: Vec<Vec<Forecast>> = outcomes
        .prompts
        .iter()
        .map(|p| {
            (0..names.len())
                .map(|t| {
                    let (s, n) = table.get(&(p.subset.clone(), t)).copied().unwrap_or((0.0, 0.0));
                    let c = cost[t].0 / cost[t].1;
                    Forecast {
                        quality: QualityDistribution::two_point((s + 5.0) / (n + 10.0)),
                        input_tokens: 100.0,
                        output_tokens: 100.0,
                        cost_usd: c,
                        ask_cost_usd: c,
                        latency_p95_s: None,
                    }
                })
                .collect()
        })
        .collect();
    let start = std::time::Instant::now();
    let report = evaluate(
        &Inputs {
            catalog: &catalog,
            slices: slices_of(&outcomes),
            outcomes: &outcomes,
            features: &features,
            forecasts: &forecasts,
            split: Split::Test,
            seed: 1,
            n_bootstrap: 1000,
            checkpoint: CheckpointInfo::default(),
            auto_floor: 0.7,
            cheap_floor: 0.6,
        },
        &|what| println!("{:6.1}s {what}", start.elapsed().as_secs_f64()),
    )
    .expect("evaluates");
    println!(
        "{:6.1}s done; {:?} {:?}",
        start.elapsed().as_secs_f64(),
        report.data,
        report.references
    );
    for m in &report.methods {
        println!(
            "{:45} aiq {:.4} [{:.3},{:.3}] log {:.4} peak {:.3} defer {:.3} share100 {:?} save {:?} pd {:.3} {}",
            m.name,
            m.aiq.value,
            m.aiq.low,
            m.aiq.high,
            m.aiq_log.map_or(f64::NAN, |a| a.value),
            m.peak_quality,
            m.deferral_area,
            m.cost_share[3].cost_share,
            m.cost_save,
            m.pareto_distance,
            m.setting
        );
        if let Some(t) = &m.two_tier {
            println!("      apgr {:?} cpt50 {:?} cpt80 {:?}", t.apgr, t.cpt50, t.cpt80);
        }
        for o in &m.operating_points {
            println!(
                "      {} q {:.3} c {:.6} rq {:.3} rc {:.3} arena {:.4} sel {:?} acc {:?} cost {:?} macro {:.3} gR {:.3} gB {:.3} gO {:.3} H {:.2}",
                o.name,
                o.quality.value,
                o.cost_usd.value,
                o.relative_quality.value,
                o.relative_cost.value,
                o.arena_score,
                o.optimal_selection,
                o.optimal_accuracy,
                o.optimal_cost,
                o.macro_quality,
                o.gain_over_random,
                o.gain_over_best_single,
                o.gap_to_oracle,
                o.selection_entropy_bits
            );
        }
    }
    for s in &report.slices {
        for m in &s.methods {
            println!("{} {} {:?}", s.name, m.method, m.two_tier.apgr);
        }
    }
    for d in &report.differences {
        println!("diff {} {} {:?} {}", d.method, d.metric, d.difference, d.significant);
    }
    println!(
        "{:?}\n{:?}\n{:?}\n{:?}",
        report.prediction.methods, report.cost_head, report.certified, report.notes
    );
    let _ = std::fs::write(
        "/tmp/report_real.json",
        serde_json::to_string_pretty(&report).expect("json"),
    );
}
