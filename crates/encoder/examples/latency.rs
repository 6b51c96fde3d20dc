//! Times the encoder for `evals/encoder/bench.py`.
//!
//! `latency MODEL` prints a table. `latency MODEL ENGINE THREADS TOKENS CALLS` prints the milliseconds
//! of each call, one per line; ENGINE is `int8`, a kernel's name or `reference`, and `batch` prints one
//! number, the milliseconds per text of CALLS texts at once.

#![expect(clippy::print_stdout, reason = "printing is its purpose")]

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Instant;

use burn::tensor::Device;
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;
use tiercast_encoder::dense::DenseEncoder;
use tiercast_encoder::kernel::Kernel;
use tiercast_encoder::reference::Transformer;
use tiercast_encoder::weights::DenseWeights;

/// Calls before the clock starts.
const N_WARM_UP: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [model] => table(&Engines::open(model)?),
        [model, engine, n_threads, n_tokens, n_calls] => {
            let times = Engines::open(model)?.run(engine, n_threads.parse()?, n_tokens.parse()?, n_calls.parse()?)?;
            times.iter().for_each(|time| println!("{time:.4}"));
            Ok(())
        }
        _ => Err("usage: latency MODEL [ENGINE THREADS TOKENS CALLS]".into()),
    }
}

struct Engines {
    encoder: DenseEncoder,
    reference: LazyLock<Transformer, Box<dyn FnOnce() -> Transformer + Send>>,
}

impl Engines {
    fn open(model: &str) -> Result<Self, Box<dyn Error>> {
        let weights = DenseWeights::open(Path::new(model))?;
        let encoder = DenseEncoder::new(weights.clone());
        let load = move || Transformer::load(&weights, &Device::flex());
        Ok(Self {
            encoder,
            reference: LazyLock::new(Box::new(load)),
        })
    }

    /// Milliseconds of each call.
    fn run(&self, engine: &str, n_threads: usize, n_tokens: usize, n_calls: usize) -> Result<Vec<f64>, Box<dyn Error>> {
        let pool = ThreadPoolBuilder::new().num_threads(n_threads).build()?;
        // [CLS] and [SEP] are two of them.
        let n_words = n_tokens.saturating_sub(2) as u32;
        let tokens: Vec<u32> = (0..n_words).map(|idx| 1996 + idx * 7919 % 20_000).collect();
        let encoder = self.encoder.clone();
        Ok(match engine {
            "reference" => pool.install(|| calls(n_calls, || self.reference.embed(&tokens))),
            "int8" => pool.install(|| calls(n_calls, || encoder.embed(&tokens))),
            "batch" => {
                let texts = || (0..n_calls).into_par_iter();
                let batch = || texts().map(|_| i64::from(encoder.embed(&tokens)[0])).sum::<i64>();
                let times = pool.install(|| timed(1, batch));
                vec![times[0] / n_calls as f64]
            }
            name => {
                let kernels = Kernel::available();
                let kernel = kernels.iter().find(|kernel| kernel.name() == name);
                let encoder = encoder.with_kernel(*kernel.ok_or_else(|| format!("no engine `{name}` here"))?);
                pool.install(|| calls(n_calls, || encoder.embed(&tokens)))
            }
        })
    }
}

/// Milliseconds of each of `n_calls` calls, after some that are not counted.
fn calls<T>(n_calls: usize, call: impl Fn() -> T) -> Vec<f64> {
    timed(N_WARM_UP, &call);
    timed(n_calls, call)
}

fn timed<T>(n_calls: usize, call: impl Fn() -> T) -> Vec<f64> {
    let milliseconds = |_| {
        let start = Instant::now();
        black_box(call());
        start.elapsed().as_secs_f64() * 1e3
    };
    (0..n_calls).map(milliseconds).collect()
}

fn table(engines: &Engines) -> Result<(), Box<dyn Error>> {
    println!("engine threads tokens p50_ms p99_ms");
    let kernels = Kernel::available();
    let names = kernels.iter().map(|kernel| kernel.name()).chain(["reference"]);
    for name in names {
        for n_threads in [1, 2] {
            for n_tokens in [16, 64, 128, 256] {
                let mut times = engines.run(name, n_threads, n_tokens, 40)?;
                times.sort_by(f64::total_cmp);
                let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
                println!("{name} {n_threads} {n_tokens} {p50:.2} {p99:.2}");
            }
        }
    }
    Ok(())
}
