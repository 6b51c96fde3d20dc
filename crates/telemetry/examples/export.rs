//! What handing a row over costs, and how many spans a second reach a collector: one JSON line per figure.
//!
//! `throughput`: rows of two calls over five tiers, with text, to a collector in this process that reads
//! and answers. Costs are processor time as Linux counts it, so that others on the machine disturb them little:
//! of the calling thread in nanoseconds per row, and of this whole process, the collector too, per span.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement prints and stops at what is wrong"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tiercast_records::journal::{Call, Expected, Label, Role, Served, Trace};
use tiercast_telemetry::exporter::Exporter;
use tiercast_telemetry::settings::Settings;
use tiercast_telemetry::targets::Targets;

const N_ROWS: usize = 100_000;
/// Rows of which nothing is kept: enough for the processor's clock, which ticks in milliseconds.
const N_CHEAP: usize = 10_000_000;
const SPANS_PER_ROW: f64 = 4.0;

fn main() {
    let url = collector();
    let row = served();
    let unsampled = Served {
        trace: row.trace.map(|trace| Trace {
            sampled: false,
            ..trace
        }),
        ..row.clone()
    };
    let queue = format!("endpoint = '{url}'\nqueue = {N_ROWS}");
    told(
        "row of an unsampled trace, ns",
        nanoseconds(&queue, &unsampled, 1, N_CHEAP),
    );
    for n_threads in [1, 4] {
        let what = format!("row by {n_threads} threads while the exporter works, ns");
        told(&what, nanoseconds(&queue, &row, n_threads, N_ROWS));
    }
    // Nobody listens there: the queue is full after its first row.
    told(
        "row to a full queue, ns",
        nanoseconds("endpoint = 'http://127.0.0.1:1'\nqueue = 1", &row, 1, N_CHEAP),
    );
    let (by_clock, by_processor) = spans_per_second(&queue, &row);
    told("spans a second", by_clock);
    told("spans a second of processor time", by_processor);
}

fn told(what: &str, figure: f64) {
    println!("{{\"what\": \"{what}\", \"figure\": {figure:.0}}}");
}

fn exporter(settings: &str) -> Exporter {
    let settings: Settings = toml::from_str(settings).unwrap();
    Exporter::start(&settings, |_| None).unwrap()
}

/// Of the calling threads, per row: the least of five times.
fn nanoseconds(settings: &str, row: &Served, n_threads: usize, n_rows: usize) -> f64 {
    let once = || {
        let exporter = exporter(settings);
        let spent = || {
            let start = processor_ns("thread-self");
            record(&exporter, row, n_rows / n_threads);
            processor_ns("thread-self") - start
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(spent)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<f64>()
        })
    };
    (0..5).map(|_| once()).fold(f64::INFINITY, f64::min) / n_rows as f64
}

/// Nanoseconds on a processor, of a thread in `/proc`.
fn processor_ns(thread: &str) -> f64 {
    let told = std::fs::read_to_string(format!("/proc/{thread}/schedstat")).unwrap();
    told.split(' ').next().unwrap().parse().unwrap()
}

/// Of all threads that run.
fn all_processor_ns() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let names = threads.map(|thread| thread.unwrap().file_name().into_string().unwrap());
    names.map(|name| processor_ns(&format!("self/task/{name}"))).sum()
}

fn record(exporter: &Exporter, row: &Served, n_rows: usize) {
    let targets = Arc::new(Targets::new());
    for _ in 0..n_rows {
        exporter.record(row, &targets);
    }
}

/// From the first row's handing over to the last span's arrival, by the clock and by processor time.
fn spans_per_second(settings: &str, row: &Served) -> (f64, f64) {
    let exporter = exporter(settings);
    let (start, start_ns) = (Instant::now(), all_processor_ns());
    record(&exporter, row, N_ROWS);
    let n_spans = N_ROWS as f64 * SPANS_PER_ROW;
    while (exporter.health().exported as f64) < n_spans {
        assert_eq!(exporter.health().dropped, 0, "{:?}", exporter.health());
        thread::sleep(Duration::from_millis(5));
    }
    // The exporter's thread still runs, so what it spent is in the sum.
    let spent_ns = all_processor_ns() - start_ns;
    (n_spans / start.elapsed().as_secs_f64(), n_spans / spent_ns * 1e9)
}

/// The address of a collector that takes everything and looks at nothing.
fn collector() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(BufReader::new(stream.unwrap())));
        }
    });
    url
}

fn serve(mut stream: BufReader<TcpStream>) -> Option<()> {
    loop {
        let mut n_bytes = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok().filter(|n_read| *n_read > 0)?;
            if line == "\r\n" {
                break;
            }
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                continue;
            };
            if name.eq_ignore_ascii_case("content-length") {
                n_bytes = value.parse().ok()?;
            }
        }
        stream.read_exact(&mut vec![0; n_bytes]).ok()?;
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .ok()?;
    }
}

fn served() -> Served {
    let label = |text: &str| Label::from(text);
    let expected = |tier: &str| Expected {
        tier: label(tier),
        predicted_as: None,
        quality_mean: 0.8,
        quality_pmf: vec![1.0 / 21.0; 21],
        cost_usd: 0.001,
        input_tokens: 900.0,
        output_tokens: 300.0,
        latency_p95_ms: Some(2_000.0),
        acceptable: true,
        excluded: None,
    };
    let call = |tier: &str, role, start_ms| Call {
        tier: label(tier),
        role,
        outcome: label("complete"),
        error: None,
        input_tokens: 900.0,
        cached_tokens: 0.0,
        output_tokens: 300.0,
        is_estimated: false,
        cost_usd: 0.001,
        start_ms,
        first_token_ms: Some(300.0),
        total_ms: 900.0,
        estimate: None,
    };
    Served {
        id: "dec_0123456789abcdef0123456789abcdef".to_owned(),
        time_ms: 1_700_000_000_000,
        endpoint: label("chat"),
        session: Some("session-0123456789".to_owned()),
        cohort: label("default"),
        task: label("code"),
        task_is_told: false,
        policy: label("cascade"),
        reason: label("cheapest_acceptable"),
        rule: None,
        checkpoint: label("reference-1"),
        feature_version: 3,
        target: Some(0.7),
        propensity: 1.0,
        chosen: 2,
        tiers: ["a", "b", "c", "d", "e"].map(expected).into(),
        evidence: true,
        overhead_ms: 3.0,
        calls: vec![call("c", Role::Chosen, 0.5), call("e", Role::Escalation, 901.0)],
        answered_by: Some(1),
        prompt_hash: "0123456789abcdef0123456789abcdef".to_owned(),
        features: None,
        prompt: Some("word ".repeat(800)),
        reply: Some("word ".repeat(200)),
        trace: Some(Trace {
            trace_id: [7; 16],
            parent: None,
            span: [9; 8],
            sampled: true,
        }),
    }
}
