//! Traffic by seed: requests of several tasks, tiers that are chosen by forecasts, outcomes that follow them.

use std::collections::{BTreeMap, VecDeque};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tiercast_records::features::Features;
use tiercast_records::journal::{About, Call, Entry, Expected, Feedback, Label, Role, Served};

/// Surface signals, of which every third is mostly zero.
pub(crate) const N_SIGNALS: usize = 54;
const EMBEDDING_DIM: usize = 256;
/// Tasks of calm traffic; one more is new.
const N_TASKS: usize = 6;
/// Name, ability, prices per token of prompt and reply, milliseconds to the first token, and how far outcomes lie from
/// the forecasts: within the usual margin.
const TIERS: [(&str, f64, f64, f64, f64, f64); 4] = [
    ("strong", 3.2, 3e-6, 1.5e-5, 900.0, 0.01),
    ("mid", 2.0, 4e-7, 1.6e-6, 500.0, -0.02),
    ("small", 0.8, 1e-7, 4e-7, 250.0, 0.0),
    ("vertical", 1.6, 2e-7, 6e-7, 300.0, 0.02),
];
/// The tier that something happens to.
pub(crate) const HIT: &str = "small";
/// Mean quality that a tier is chosen for.
const FLOOR: f64 = 0.75;

/// What happens to traffic or to the tier [`HIT`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    /// Share of requests that become a new task.
    pub(crate) new_task: f64,
    /// Quality that is lost.
    pub(crate) worse: f64,
    /// Factor of its prices.
    pub(crate) price: f64,
    /// Factor of its latency.
    pub(crate) latency: f64,
    /// Factor of the length of its replies.
    pub(crate) length: f64,
}

/// Nothing happens.
pub(crate) const CALM: Change = Change {
    new_task: 0.0,
    worse: 0.0,
    price: 1.0,
    latency: 1.0,
    length: 1.0,
};

/// Makes entries of a journal.
pub(crate) struct Traffic {
    pub(crate) change: Change,
    pub(crate) with_features: bool,
    /// Share of answers that are rated.
    pub(crate) rated: f64,
    rng: ChaCha8Rng,
    n_requests: u64,
    sessions: Vec<(String, usize)>,
    /// Feedback on its way, with the request that it comes after.
    pending: VecDeque<(u64, Feedback)>,
    /// Logarithm of the load, which comes and goes: a tenth up or down is usual.
    load: f64,
    centres: Vec<Vec<f32>>,
    labels: BTreeMap<String, Label>,
}

impl Traffic {
    pub(crate) fn new(seed: u64, rated: f64, with_features: bool) -> Self {
        // Tasks are the same in every world.
        let mut world = ChaCha8Rng::seed_from_u64(17);
        let centres = (0..=N_TASKS)
            .map(|_| {
                (0..EMBEDDING_DIM + N_SIGNALS)
                    .map(|_| world.random::<f32>() - 0.5)
                    .collect()
            })
            .collect();
        Self {
            change: CALM,
            with_features,
            rated,
            rng: ChaCha8Rng::seed_from_u64(seed),
            n_requests: 0,
            sessions: Vec::new(),
            pending: VecDeque::new(),
            load: 0.0,
            centres,
            labels: BTreeMap::new(),
        }
    }

    /// The next entries: feedback that has arrived, then a request.
    pub(crate) fn next(&mut self) -> Vec<Entry> {
        let n_due = self
            .pending
            .iter()
            .take_while(|(due, _)| *due <= self.n_requests)
            .count();
        let mut entries: Vec<Entry> = self
            .pending
            .drain(..n_due)
            .map(|(_, said)| Entry::Feedback(said))
            .collect();
        let (row, quality) = self.request();
        if self.rng.random::<f64>() < self.rated {
            let score = f64::from(self.rng.random::<f64>() < quality);
            let feedback = self.feedback(&row, score);
            self.pending.push_back((self.n_requests + 200, feedback));
        }
        entries.push(Entry::Served(Box::new(row)));
        entries
    }

    fn feedback(&mut self, row: &Served, score: f64) -> Feedback {
        Feedback {
            time_ms: row.time_ms + 60_000,
            about: About::Decision(row.id.clone()),
            source: self.label("judge"),
            score: Some(score),
            verdict: None,
            comment: None,
            sampled: None,
        }
    }

    /// A request and the true mean quality of its answer.
    fn request(&mut self) -> (Served, f64) {
        self.n_requests += 1;
        let (session, task) = self.session();
        self.load = 0.999 * self.load + 0.0045 * self.normal();
        let difficulty = 0.3 * task as f64 - 0.4 + 1.2 * self.normal();
        let input_tokens = (5.0 + 0.2 * task as f64 + 0.8 * self.normal()).exp().round().max(1.0);
        let length = 5.0 + 0.15 * task as f64 + 0.5 * self.normal();
        let tiers: Vec<Expected> = (0..TIERS.len())
            .map(|at| self.expected(at, difficulty, input_tokens, length.exp()))
            .collect();
        let good_enough = (0..tiers.len()).filter(|at| f64::from(tiers[*at].quality_mean) >= FLOOR);
        let chosen = good_enough
            .min_by(|a, b| tiers[*a].cost_usd.total_cmp(&tiers[*b].cost_usd))
            .unwrap_or(0);
        let is_hit = TIERS[chosen].0 == HIT;
        let call = self.call(chosen, input_tokens, length, is_hit);
        let lost = if is_hit { self.change.worse } else { 0.0 };
        let quality = (f64::from(tiers[chosen].quality_mean) + TIERS[chosen].5 - lost).clamp(0.0, 1.0);
        let row = Served {
            id: format!("d{}", self.n_requests),
            time_ms: 1_760_000_000_000 + 500 * self.n_requests as i64,
            endpoint: self.label("chat"),
            session,
            cohort: {
                let cohort = self.rng.random_range(0..3);
                self.label(["free", "team", "paid"][cohort])
            },
            task: self.label(&format!("task {task}")),
            task_is_told: false,
            policy: self.label("meta"),
            reason: self.label("cheapest_acceptable"),
            rule: None,
            checkpoint: self.label("c1"),
            feature_version: 1,
            target: Some(FLOOR as f32),
            propensity: 1.0,
            chosen,
            tiers,
            evidence: true,
            overhead_ms: 0.5,
            calls: vec![call],
            answered_by: Some(0),
            prompt_hash: String::new(),
            features: self.with_features.then(|| self.features(task)),
            prompt: None,
            reply: None,
            trace: None,
        };
        (row, quality)
    }

    /// Four requests in ten belong to one of forty sessions, which keep to their task.
    fn session(&mut self) -> (Option<String>, usize) {
        let fresh = |traffic: &mut Self| {
            if traffic.rng.random::<f64>() < traffic.change.new_task {
                return N_TASKS;
            }
            // Squared, so that the first tasks are the more frequent ones.
            (traffic.rng.random::<f64>().powi(2) * N_TASKS as f64) as usize
        };
        if self.rng.random::<f64>() >= 0.4 {
            return (None, fresh(self));
        }
        let at = self.rng.random_range(0..40);
        if at >= self.sessions.len() || self.rng.random::<f64>() < 0.1 {
            let session = (format!("s{}", self.n_requests), fresh(self));
            if at >= self.sessions.len() {
                self.sessions.push(session.clone());
            } else {
                self.sessions[at] = session.clone();
            }
            return (Some(session.0), session.1);
        }
        let (session, task) = self.sessions[at].clone();
        (Some(session), task)
    }

    fn expected(&mut self, at: usize, difficulty: f64, input_tokens: f64, output_tokens: f64) -> Expected {
        let (name, ability, prompt, reply, latency, _) = TIERS[at];
        let quality = 1.0 / (1.0 + (difficulty - ability).exp());
        Expected {
            tier: self.label(name),
            predicted_as: None,
            quality_mean: quality as f32,
            quality_pmf: Vec::new(),
            cost_usd: input_tokens * prompt + output_tokens * reply,
            input_tokens: input_tokens as f32,
            output_tokens: output_tokens as f32,
            latency_p95_ms: Some(4.0 * latency as f32),
            acceptable: quality >= FLOOR,
            excluded: None,
        }
    }

    fn call(&mut self, at: usize, input_tokens: f64, length: f64, is_hit: bool) -> Call {
        let (name, _, prompt, reply, latency, _) = TIERS[at];
        let change = if is_hit { self.change } else { CALM };
        let output_tokens = (change.length * (length + 0.6 * self.normal()).exp()).round();
        let load = change.latency * self.load.exp();
        let first_token = latency * load * (0.5 * self.normal()).exp();
        let total = first_token + 10.0 * output_tokens * load * (0.2 * self.normal()).exp();
        let cached_tokens = if self.rng.random::<f64>() < 0.2 {
            (0.5 * input_tokens).round()
        } else {
            0.0
        };
        let prompt_cost = (input_tokens - 0.9 * cached_tokens) * prompt;
        Call {
            tier: self.label(name),
            role: Role::Chosen,
            outcome: self.label("complete"),
            error: None,
            input_tokens,
            cached_tokens,
            output_tokens,
            is_estimated: false,
            cost_usd: change.price * (prompt_cost + output_tokens * reply),
            start_ms: 0.0,
            first_token_ms: Some(first_token as f32),
            total_ms: total as f32,
            estimate: None,
        }
    }

    /// Signals and an embedding around those of the task.
    pub(crate) fn features(&mut self, task: usize) -> Features {
        let mut noise = [0_u8; EMBEDDING_DIM + N_SIGNALS];
        self.rng.fill_bytes(&mut noise);
        let noise = noise.map(|byte| f32::from(byte) / 256.0 - 0.5);
        let centre = &self.centres[task];
        let values: Vec<f32> = centre
            .iter()
            .zip(noise)
            .map(|(centre, noise)| centre + 2.0 * noise)
            .collect();
        let (embedding, surface) = values.split_at(EMBEDDING_DIM);
        let length = embedding.iter().map(|value| value * value).sum::<f32>().sqrt();
        let surface = surface.iter().enumerate().map(|(at, value)| {
            let value = if at.is_multiple_of(3) {
                (value - 0.9).max(0.0)
            } else {
                value + 3.0
            };
            (value * 1024.0).round() / 1024.0
        });
        Features {
            surface: surface.collect(),
            embedding: embedding
                .iter()
                .map(|value| (256.0 * value / length).round() as i8)
                .collect(),
            ..Features::default()
        }
    }

    fn label(&mut self, name: &str) -> Label {
        if let Some(label) = self.labels.get(name) {
            return label.clone();
        }
        self.labels
            .entry(name.to_owned())
            .or_insert_with(|| name.into())
            .clone()
    }

    fn normal(&mut self) -> f64 {
        let (radius, angle): (f64, f64) = (self.rng.random(), self.rng.random());
        (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}
