//! Prompt length alone: a logistic regression per tier on the logarithm of the tokens of the ask.

use tiercast_statistics::logistic::{Logistic, SparseRow};

use super::{Predicted, predict};
use crate::report::MethodKind;
use crate::study::Study;

const L2: f64 = 1e-4;

pub(super) fn fit(study: &Study<'_>) -> Predicted {
    let row = |prompt: usize| columns(study.inputs.features[prompt].ask_tokens);
    let rows: Vec<SparseRow> = study.train.prompts.iter().map(|prompt| row(*prompt)).collect();
    let models: Vec<Logistic> = (0..study.n_tiers)
        .map(|tier| Logistic::fit(&rows, &study.train.quality.column(tier), 2, L2))
        .collect();
    let predict_one = |prompt: usize| models.iter().map(|model| model.predict(&row(prompt))).collect();
    Predicted {
        name: "prompt_length".to_owned(),
        label: "Prompt length".to_owned(),
        kind: MethodKind::Learned,
        setting: String::new(),
        validation: predict(study, &study.validation, predict_one),
        items: predict(study, &study.items, predict_one),
    }
}

/// Logarithm of tokens and its square, both shifted to be near zero at 100 tokens.
fn columns(tokens: u32) -> SparseRow {
    let log = (f64::from(tokens).ln_1p() - 101_f64.ln()) as f32;
    vec![(0, log), (1, log * log)]
}
