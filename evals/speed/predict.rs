//! Where the time of one prediction goes: `cargo bench -p tiercast --bench predict`.
//!
//! A prompt of 128 tokens through the committed checkpoint, on one core: features and their parts,
//! the encoding, every view alone, the assessment, and all of it as the server does it.

#![expect(clippy::print_stdout, reason = "printing is its purpose")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use tiercast_predictor::checkpoint;
use tiercast_predictor::device::DeviceKind;
use tiercast_predictor::encoder::FastEncoder;
use tiercast_predictor::features::Featuriser;
use tiercast_predictor::member::Member;
use tiercast_predictor::model::ask;
use tiercast_predictor::ngrams::ngrams;
use tiercast_predictor::predictor::Predictor;
use tiercast_predictor::surface::surface;
use tiercast_predictor::weights;
use tiercast_routing::request::Request;

/// Calls behind the percentiles.
const N_CALLS: usize = 5000;

const PROMPT: &str = "A bakery sells three kinds of bread. On Monday it sold 48 loaves of rye, twice as many of \
    wheat, and one quarter as many of spelt as of rye. On Tuesday the sales of wheat fell by 12.5 %, those of rye \
    rose by 25 %, and spelt was sold out before noon with 20 loaves. Which of the following statements is NOT true? \
    Explain your reasoning step by step, then write the answer as JSON.\n\
    A. More than 350 loaves were sold altogether.\n\
    B. Tuesday's takings were lower than Monday's.\n\
    C. Rye brought in the largest share.";

fn checkpoint_folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../checkpoints/reference")
}

fn features(bench: &mut Criterion) {
    let request = Request::of_text(PROMPT);
    let (featuriser, encoder) = (Featuriser::new(), FastEncoder::new());
    let tokens = encoder.tokenize(PROMPT);
    assert_eq!(tokens.len(), 128, "the prompt is what it is said to be");
    let mut group = bench.benchmark_group("features");
    group.bench_function("tokenise", |bench| bench.iter(|| encoder.tokenize(PROMPT)));
    group.bench_function("embed", |bench| bench.iter(|| encoder.embed(&tokens)));
    group.bench_function("n-grams", |bench| bench.iter(|| ngrams(PROMPT)));
    group.bench_function("surface", |bench| bench.iter(|| surface(&request, 128)));
    group.bench_function("all", |bench| bench.iter(|| featuriser.features(&request)));
}

fn views(bench: &mut Criterion) {
    let (_, contents) = checkpoint::open(&checkpoint_folder()).expect("the committed checkpoint opens");
    let device = DeviceKind::Flex.device().expect("flex is always there");
    let ensemble = weights::from_bytes(contents.weights, &contents.network, &device).expect("its weights are whole");
    let members: Vec<Member> = ensemble.members.iter().map(Member::new).collect();
    let features = Featuriser::new().features(&Request::of_text(PROMPT));
    let row = contents.encoding.encode(&features);
    let (tables, neighbours) = (&contents.tables, &contents.neighbours);
    let nearest = neighbours.nearest(&row.key, |_| true);
    let tasks = ask(&members, &row).tasks;
    let mut group = bench.benchmark_group("views");
    group.bench_function("encode", |bench| bench.iter(|| contents.encoding.encode(&features)));
    group.bench_function("networks", |bench| bench.iter(|| ask(&members, &row)));
    group.bench_function("search", |bench| {
        bench.iter(|| neighbours.nearest(&row.key, |_| true));
    });
    group.bench_function("neighbours", |bench| {
        bench.iter(|| neighbours.distributions(&nearest, &contents.pool.neighbours, &tables.base));
    });
    group.bench_function("tasks", |bench| bench.iter(|| tables.of_tasks(&tasks)));
    group.bench_function("n-grams", |bench| bench.iter(|| tables.of_ngrams(&row)));
    group.bench_function("surface", |bench| bench.iter(|| tables.of_surface(&row)));
}

fn whole(bench: &mut Criterion) {
    let predictor = Predictor::open(&checkpoint_folder(), DeviceKind::Flex).expect("the committed checkpoint opens");
    let request = Request::of_text(PROMPT);
    let features = predictor.features(&request);
    let mut group = bench.benchmark_group("whole");
    group.bench_function("assess", |bench| bench.iter(|| predictor.assess_one(&features)));
    group.bench_function("request to forecasts", |bench| {
        bench.iter(|| predictor.assess_one(&predictor.features(&request)));
    });
    percentiles(&predictor);
}

/// Criterion gives means; a server is judged by its slow requests too.
fn percentiles(predictor: &Predictor) {
    let mut times: Vec<Duration> = (0..N_CALLS)
        .map(|call| {
            let request = Request::of_text(format!("{call} {PROMPT}"));
            let start = Instant::now();
            black_box(predictor.assess_one(&predictor.features(&request)));
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    let [median, slow] = [times[N_CALLS / 2], times[N_CALLS / 100 * 99]];
    println!("request to forecasts, {N_CALLS} calls: p50 {median:.0?}, p99 {slow:.0?}");
}

criterion_group!(benches, features, views, whole);
criterion_main!(benches);
