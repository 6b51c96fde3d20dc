//! A head made by hand, and heads that are refused.

use super::*;

/// Weighs one figure and nothing else.
fn head(figure: &str, weight: f32) -> Head {
    let mut weights = vec![0.0; N_FIGURES];
    let at = (0..signs::N).find(|sign| signs::name(*sign) == Some(figure));
    weights[at.expect("a sign")] = weight;
    let linear = |weights| Linear {
        intercept: 0.0,
        weights,
    };
    let stack = |agreement| Stack {
        mean_logprob: false,
        agreement,
        scaling: Scaling {
            mean: vec![0.0; N_STACKED],
            scale: vec![1.0; N_STACKED],
        },
        linear: linear(vec![1.0, 0.0, 0.0, 0.0, 0.0, if agreement { 3.0 } else { 0.0 }]),
    };
    Head {
        views: Views {
            figures: linear(weights),
            ngrams: linear(vec![0.5]),
        },
        stacks: vec![stack(false), stack(true)],
        platt: Platt::IDENTITY,
    }
}

fn by_hand() -> AnswerHead {
    AnswerHead {
        signs_version: SIGNS_VERSION,
        scaling: Scaling {
            mean: vec![0.0; N_FIGURES],
            scale: vec![1.0; N_FIGURES],
        },
        vocabulary: Vocabulary {
            columns: vec![7],
            idf: vec![1.0],
        },
        pooled: head("any_wrong", -2.0),
        tiers: vec![None, Some(head("any_wrong", -1.0))],
    }
}

fn quality(tier: usize, text: &str, agreement: Option<f64>) -> f64 {
    let features = Features::default();
    let reply = Reply {
        question: "How many?",
        features: &features,
        forecast: f64::NAN,
        text,
        mean_logprob: Some(f64::NAN),
        agreement,
    };
    by_hand().quality(tier, &reply)
}

#[test]
fn the_tier_or_the_pool_and_the_richest_stack() {
    let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
    for (tier, text, agreement, expected) in [
        (0, "1 + 1 = 3", None, -2.0),
        (1, "1 + 1 = 3", None, -1.0),
        (9, "1 + 1 = 3", None, -2.0),
        (1, "1 + 1 = 2", None, 0.0),
        (1, "1 + 1 = 2", Some(1.0), 3.0),
        (1, "", Some(0.0), 0.0),
        (1, "", Some(f64::INFINITY), 0.0),
        (1, "", Some(-7.0), 0.0),
    ] {
        let found = quality(tier, text, agreement);
        assert!(
            (found - logistic(expected)).abs() < 1e-6,
            "{tier} {text:?} {agreement:?}: {found}"
        );
    }
}

#[test]
fn survives_its_file() {
    let head = by_hand();
    let text = serde_json::to_string(&head).expect("a head has no odd values");
    let read: AnswerHead = serde_json::from_str(&text).expect("as written");
    assert_eq!(read, head);
    assert_eq!(read.check(2), Ok(()));
}

#[test]
fn bad_heads_are_refused() {
    let refused = |change: fn(&mut AnswerHead), word: &str| {
        let mut head = by_hand();
        change(&mut head);
        let error = head.check(2).expect_err(word);
        assert!(error.contains(word), "{error}");
    };
    refused(|head| head.signs_version += 1, "train the cascade anew");
    refused(|head| head.tiers.clear(), "0 tiers, the catalog has 2");
    refused(|head| head.vocabulary.columns.push(3), "ascending");
    refused(|head| head.scaling.mean.truncate(3), "3 columns");
    refused(|head| head.pooled.stacks.clear(), "pooled.stacks");
    refused(
        |head| head.pooled.views.figures.weights[0] = f32::NAN,
        "pooled.views.figures: NaN",
    );
    let steep = |head: &mut AnswerHead| head.tiers[1].as_mut().expect("has its own").platt.slope = -1.0;
    refused(steep, "tiers[1].platt");
}

#[test]
fn ngrams_fall_into_columns_once() {
    let found = columns(&"one two three ".repeat(2000));
    assert!(found.is_sorted_by(|a, b| a.0 < b.0));
    assert!(found.iter().all(|(column, _)| u32::from(*column) < NGRAM_COLUMNS));
    assert!(columns("").is_empty());
}

#[test]
fn rows_have_unit_length() {
    let vocabulary = Vocabulary {
        columns: vec![2, 5, 9],
        idf: vec![1.0, 2.0, 3.0],
    };
    let row = vocabulary.row(&[(1, 4), (2, 1), (9, 2)]);
    let length: f32 = row.iter().map(|(_, value)| value * value).sum();
    assert!((length - 1.0).abs() < 1e-6 && row.len() == 2 && row[1].0 == 2);
    assert!(vocabulary.row(&[]).is_empty());
}
