//! Times the features of many prompts for `evals/speed/bench.py`.
//!
//! `featurise FILE PROMPTS THREADS ROUNDS` prints the seconds of each round, one per line. Reading
//! the file and the tokenizer is not included; the text of one prompt is made into features as `serve`
//! and `train` do it.

#![expect(clippy::print_stdout, reason = "printing is its purpose")]

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use rayon::ThreadPoolBuilder;
use rayon::prelude::*;
use tiercast_chat::prompt_request;
use tiercast_predictor::features::Featuriser;
use tiercast_records::outcomes::{self, PromptText, ReadOptions};
use tiercast_routing::request::Request;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, n_prompts, n_threads, n_rounds] = arguments.as_slice() else {
        return Err("usage: featurise FILE PROMPTS THREADS ROUNDS".into());
    };
    let requests = requests(file, n_prompts.parse()?)?;
    let pool = ThreadPoolBuilder::new().num_threads(n_threads.parse()?).build()?;
    let featuriser = Featuriser::new();
    let round = || -> usize {
        let features = requests.par_iter().map(|request| featuriser.features(request));
        features.collect::<Vec<_>>().len()
    };
    // The first round warms up.
    pool.install(|| black_box(round()));
    for _ in 0..n_rounds.parse()? {
        let start = Instant::now();
        pool.install(|| black_box(round()));
        println!("{:.4}", start.elapsed().as_secs_f64());
    }
    Ok(())
}

fn requests(file: &str, n_prompts: usize) -> Result<Vec<Request>, Box<dyn Error>> {
    let options = ReadOptions {
        with_text: true,
        ..ReadOptions::default()
    };
    let outcomes = outcomes::read(&[file.into()], &options)?;
    let texts = outcomes
        .prompts
        .iter()
        .take(n_prompts)
        .filter_map(|prompt| prompt.text.as_ref());
    let request = |text: &PromptText| match text {
        PromptText::Text(text) => prompt_request(text, false),
        PromptText::MessagesJson(text) => prompt_request(text, true),
    };
    Ok(texts.map(request).collect::<Result<_, _>>()?)
}
