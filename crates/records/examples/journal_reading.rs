//! Microseconds per row of a journal's segment: written, read without the heavy columns, and read whole. One
//! JSON line.
//!
//! `journal_reading FOLDER [ROWS]`: a segment of ROWS rows (200,000) in FOLDER, of four tiers, one or two calls,
//! and features of the reference checkpoint's size.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement prints and stops at what is wrong"
)]

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use tiercast_records::RecordsError;
use tiercast_records::features::Features;
use tiercast_records::journal::{Call, Expected, Parts, Role, Served, read_served, write_served};

const TIERS: [&str; 4] = ["small", "medium", "large", "reasoner"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = Path::new(&arguments[0]).join("journal_reading.parquet");
    let n_rows = arguments.get(1).map_or(200_000, |n| n.parse().unwrap());
    let rows: Vec<Served> = (0..5_000).map(row).collect();
    let began = Instant::now();
    let written = write_served::<RecordsError>(&path, |sink| {
        (0..n_rows).try_for_each(|i| {
            let mut row = rows[i % rows.len()].clone();
            row.id = format!("dec_{:024x}", mix(i));
            row.prompt_hash = format!("{:032x}", mix(i / 2));
            row.time_ms += i as i64 * 40;
            sink.push(row)
        })
    });
    let write_us = us_per_row(began, n_rows);
    let bytes = std::fs::metadata(&path).unwrap().len();
    println!(
        "{{\"rows\": {}, \"bytes_per_row\": {:.1}, \"write_us\": {write_us:.2}, \"read_light_us\": {:.2}, \
         \"read_pmf_us\": {:.2}, \"read_all_us\": {:.2}}}",
        written.unwrap().rows,
        bytes as f64 / n_rows as f64,
        read(&path, Parts::default(), n_rows),
        read(
            &path,
            Parts {
                pmf: true,
                ..Parts::default()
            },
            n_rows
        ),
        read(&path, Parts::ALL, n_rows),
    );
    std::fs::remove_file(&path).unwrap();
}

/// The best of five: the machine may have other work.
fn read(path: &Path, parts: Parts, n_rows: usize) -> f64 {
    let once = |_| {
        let began = Instant::now();
        let mut cost_usd = 0.0;
        let mut n_read = 0;
        read_served(path, parts, &mut |row| {
            cost_usd += row.cost_usd();
            n_read += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
        assert!(n_read == n_rows && cost_usd > 0.0);
        us_per_row(began, n_rows)
    };
    (0..5).map(once).fold(f64::INFINITY, f64::min)
}

fn us_per_row(began: Instant, n_rows: usize) -> f64 {
    began.elapsed().as_secs_f64() * 1e6 / n_rows as f64
}

/// Bits without a pattern, the same each time.
fn mix(i: usize) -> u64 {
    let mut bits = (i as u64)
        .wrapping_add(0x9e37_79b9_7f4a_7c15)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits ^= bits >> 29;
    bits.wrapping_mul(0x94d0_49bb_1331_11eb)
}

fn part(i: usize, at: usize) -> f32 {
    (mix(i * 1000 + at) >> 40) as f32 / (1 << 24) as f32
}

fn row(i: usize) -> Served {
    let n_calls = 1 + usize::from(i.is_multiple_of(10));
    let roles = [Role::Chosen, Role::Fallback];
    Served {
        id: String::new(),
        time_ms: 1_700_000_000_000,
        endpoint: "chat".into(),
        session: Some(format!("session-{}", i / 8)),
        cohort: format!("cohort-{}", i % 5).into(),
        task: format!("task-{}", i % 12).into(),
        task_is_told: i.is_multiple_of(9),
        policy: "meta".into(),
        reason: "cheapest_acceptable".into(),
        rule: None,
        checkpoint: "reference".into(),
        feature_version: 4,
        target: Some(0.8),
        propensity: 0.97,
        chosen: i % 4,
        tiers: (0..4).map(|tier| expected(i, tier)).collect(),
        evidence: true,
        overhead_ms: 1.0 + part(i, 1),
        calls: roles[..n_calls].iter().map(|role| call(i, *role)).collect(),
        answered_by: Some(n_calls - 1),
        prompt_hash: String::new(),
        features: Some(features(i)),
        prompt: None,
        reply: None,
    }
}

fn expected(i: usize, tier: usize) -> Expected {
    let masses: Vec<f32> = (0..21).map(|at| part(i, 100 * tier + at)).collect();
    let sum: f32 = masses.iter().sum();
    Expected {
        tier: TIERS[tier].into(),
        predicted_as: (tier == 3).then(|| "large".into()),
        quality_mean: part(i, tier + 40),
        quality_pmf: masses.iter().map(|mass| mass / sum).collect(),
        cost_usd: f64::from(part(i, tier + 50)) / 100.0,
        input_tokens: (i % 3000) as f32,
        output_tokens: 900.0 * part(i, tier + 60),
        latency_p95_ms: Some(4_000.0 * part(i, tier + 70)),
        acceptable: tier > i % 3,
        excluded: (tier == 2 && i.is_multiple_of(7)).then(|| "budget".into()),
    }
}

fn call(i: usize, role: Role) -> Call {
    Call {
        tier: TIERS[i % 4].into(),
        role,
        outcome: "complete".into(),
        error: None,
        input_tokens: (i % 3000) as f64,
        cached_tokens: 0.0,
        output_tokens: (i % 800) as f64,
        is_estimated: false,
        cost_usd: f64::from(part(i, 80)) / 100.0,
        first_token_ms: Some(400.0 * part(i, 81)),
        total_ms: 4_000.0 * part(i, 82),
        estimate: None,
    }
}

fn features(i: usize) -> Features {
    let byte = |at| (part(i, at) * 200.0 - 100.0) as i8;
    let ngrams = |from: usize, n: usize| (0..n).map(|at| (mix(i * 77 + from + at) as u32 >> 12, 1)).collect();
    Features {
        ask_tokens: (i % 400) as u32,
        context_tokens: (i % 3000) as u32,
        surface: (0..40).map(|at| (part(i, 200 + at) * 20.0).floor()).collect(),
        embedding: (0..256).map(|at| byte(300 + at)).collect(),
        dense: (0..384).map(|at| byte(600 + at)).collect(),
        word_ngrams: ngrams(0, 24),
        char_ngrams: ngrams(500, 24),
    }
}
