//! Fits the estimate of replies on rows from standard input and prints that of the test rows; for
//! `evals/cascade`, which compares it with other people's library on the same folds.
//!
//! A row is a line of JSON: `split` (train, validation or test), `tier`, `key`, `question`, `text`,
//! `score`, `forecast`, and perhaps `agreement`.

use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};

use serde::Deserialize;
use tiercast_predictor::answers::Reply;
use tiercast_predictor::features::Featuriser;
use tiercast_records::features::Features;
use tiercast_routing::request::Request;
use tiercast_trainer::answers::{Judged, fit_answers};

#[derive(Deserialize)]
struct Line {
    split: String,
    tier: usize,
    key: String,
    question: String,
    text: String,
    score: f64,
    forecast: f64,
    #[serde(default)]
    agreement: Option<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let lines = stdin().lock().lines();
    let rows: Vec<Line> = lines
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect::<Result<_, Box<dyn Error>>>()?;
    let featuriser = Featuriser::new();
    let features: Vec<Features> = rows
        .iter()
        .map(|row| featuriser.features(&Request::of_text(&row.question)))
        .collect();
    let part = |split: &str| -> Vec<Judged<'_>> {
        let both = rows.iter().zip(&features);
        both.filter(|(row, _)| row.split == split)
            .map(|(row, features)| judged(row, features))
            .collect()
    };
    let n_tiers = rows.iter().map(|row| row.tier + 1).max().unwrap_or(0);
    let head = fit_answers(&part("train"), &part("validation"), n_tiers)?;
    let mut out = stdout().lock();
    for judged in part("test") {
        writeln!(out, "{}", head.quality(judged.tier, &judged.reply))?;
    }
    Ok(())
}

fn judged<'a>(row: &'a Line, features: &'a Features) -> Judged<'a> {
    Judged {
        tier: row.tier,
        split_key: &row.key,
        reply: Reply {
            question: &row.question,
            features,
            forecast: row.forecast,
            text: &row.text,
            mean_logprob: None,
            agreement: row.agreement,
        },
        score: row.score,
    }
}
