//! What `upstream` costs per call: calls per second against a running `tiercast replay --instant`,
//! beside a plain reqwest loop that sends the same bodies and reads the same replies.
//!
//! `overhead OUTCOMES BASE_URL [CALLS [CONCURRENCY]]`; `evals/collect/overhead.sh` starts both sides.
//! Of a stream the loop only counts the bytes while `upstream` reads every event, so there the ratio is
//! what reading costs. Client and server share the cores: what the server takes is in both rates and
//! draws the ratio towards 1. Rounds of the two alternate, so that what else the machine does hits both; the ratio is that of
//! the medians.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement prints and stops at what is wrong"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tiercast_records::completions;
use tiercast_upstream::call::ChatCall;
use tiercast_upstream::client::Client;
use tiercast_upstream::upstream::Upstream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const ROUNDS: usize = 5;
const MAX_PROMPTS: usize = 500;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, otherwise| arguments.get(i).map_or(otherwise, |text| text.parse().unwrap());
    let (calls, concurrency) = (number(2, 2000), number(3, 64));
    // Built without a default, so that nobody needs cmake.
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let (model, prompts) = prompts(Path::new(&arguments[0]));
    let base_url = &arguments[1];
    let settings = format!("base_url = \"{base_url}\"\nconcurrency = {concurrency}\nmax_retries = 0");
    let upstream = Upstream::new(
        &model,
        &toml::from_str(&settings).unwrap(),
        None,
        &Client::new().unwrap(),
    )
    .unwrap();
    let (upstream, plain) = (
        Arc::new(upstream),
        reqwest::Client::builder().no_proxy().build().unwrap(),
    );
    for stream in [false, true] {
        let mut rates = [Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            let start = Instant::now();
            with_reqwest(&plain, base_url, &model, &prompts, calls, concurrency, stream).await;
            let reqwest_s = start.elapsed().as_secs_f64();
            let start = Instant::now();
            with_upstream(&upstream, &prompts, calls, stream).await;
            let upstream_s = start.elapsed().as_secs_f64();
            // The first round opens connections.
            if round > 0 {
                rates[0].push(calls as f64 / reqwest_s);
                rates[1].push(calls as f64 / upstream_s);
            }
        }
        let [reqwest, ours] = rates.map(median);
        println!(
            "{}: {calls} calls, {concurrency} at once: reqwest {reqwest:.0}/s, upstream {ours:.0}/s, ratio {:.2}",
            if stream { "streamed" } else { "plain" },
            ours / reqwest
        );
    }
}

/// The first model with replies, and prompts it answered.
fn prompts(outcomes: &Path) -> (String, Vec<String>) {
    let mut model = None;
    let mut prompts = Vec::new();
    completions::for_each(outcomes, |row| {
        let model = model.get_or_insert_with(|| row.model.to_owned());
        let is_usable = row.model == model && row.response.is_some() && !row.is_messages_json;
        if let Some(prompt) = row.prompt.filter(|_| is_usable && prompts.len() < MAX_PROMPTS) {
            prompts.push(prompt.to_owned());
        }
    })
    .unwrap();
    assert!(
        !prompts.is_empty(),
        "the first model has no replies to prompts that are text; name another file"
    );
    (model.unwrap(), prompts)
}

fn messages(prompts: &[String], call: usize) -> Vec<Value> {
    vec![json!({"role": "user", "content": prompts[call % prompts.len()]})]
}

async fn with_upstream(upstream: &Arc<Upstream>, prompts: &[String], calls: usize, stream: bool) {
    let mut tasks = JoinSet::new();
    for call in 0..calls {
        let call = ChatCall {
            messages: messages(prompts, call),
            stream,
            ..ChatCall::default()
        };
        let upstream = Arc::clone(upstream);
        tasks.spawn(async move { upstream.chat(&call).await.unwrap().text.len() });
    }
    tasks.join_all().await;
}

async fn with_reqwest(
    client: &reqwest::Client,
    base_url: &str,
    model: &str,
    prompts: &[String],
    calls: usize,
    concurrency: usize,
    stream: bool,
) {
    let permits = Arc::new(Semaphore::new(concurrency));
    let mut tasks = JoinSet::new();
    for call in 0..calls {
        let body = json!({
            "model": model, "messages": messages(prompts, call),
            "stream": stream, "stream_options": {"include_usage": stream},
        });
        let request = client.post(format!("{base_url}/chat/completions"));
        let permits = Arc::clone(&permits);
        tasks.spawn(async move {
            let _permit = permits.acquire().await.unwrap();
            let request = request
                .header("content-type", "application/json")
                .body(body.to_string());
            let reply = request.send().await.unwrap().bytes().await.unwrap();
            if stream {
                return reply.len();
            }
            let reply: Value = serde_json::from_slice(&reply).unwrap();
            reply["choices"][0]["message"]["content"].as_str().unwrap().len()
        });
    }
    tasks.join_all().await;
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
