use super::*;
use crate::outcomes::{self, CostKind, PromptText, ReadOptions, Split};
use crate::prompts::{self, Prompt};

fn prompt(id: &str) -> Prompt {
    Prompt {
        prompt_id: id.to_owned(),
        split_key: format!("key of {id}"),
        split: Split::Train,
        dataset: "d".to_owned(),
        subset: "s".to_owned(),
        domain: "math".to_owned(),
        text: PromptText::Text(format!("text of {id}")),
        response_format: None,
        schema: None,
        reference: Some(42.into()),
        judge: None,
    }
}

fn sample<'a>(prompt: &'a Prompt, model: &'a str, score: f64) -> ScoredSample<'a> {
    ScoredSample {
        prompt,
        model,
        class: 3,
        response: Some("a reply"),
        finish_reason: Some(if score > 0.0 { "stop" } else { "length" }),
        truncated: score == 0.0,
        score,
        score_kind: "exact_match",
        input_tokens: Some(10),
        cached_input_tokens: Some(4),
        output_tokens: Some(if score > 0.5 { 5 } else { 8 }),
        tokens_estimated: false,
        cost_usd: Some(score),
        latency_s: None,
    }
}

fn write(samples: &[ScoredSample<'_>]) -> (tempfile::TempDir, Result<u64, RecordsError>) {
    let folder = tempfile::tempdir().unwrap();
    let written = write_outcomes(&folder.path().join("o.parquet"), |sink| {
        samples.iter().try_for_each(|sample| sink.add(sample))
    });
    (folder, written)
}

#[test]
fn samples_of_a_pair_are_one_row_that_others_read() {
    let (a, b) = (prompt("a"), prompt("b"));
    let samples = [
        sample(&a, "x", 1.0),
        sample(&a, "x", 0.0),
        sample(&a, "y", 1.0),
        sample(&b, "x", 0.5),
    ];
    let (folder, written) = write(&samples);
    assert_eq!(written.unwrap(), 3);
    let path = folder.path().join("o.parquet");
    let options = ReadOptions {
        with_text: true,
        ..ReadOptions::default()
    };
    let read = outcomes::read(std::slice::from_ref(&path), &options).unwrap();
    let first = &read.outcomes[0];
    assert_eq!((first.score, first.n_samples, first.cost_usd), (0.5, 2, Some(0.5)));
    // 6.5 rounds up.
    assert_eq!((first.output_tokens, first.cost_kind), (Some(7), CostKind::Computed));
    assert_eq!(read.prompts[1].text, Some(b.text.clone()));
    // And it can be asked again.
    let again = prompts::read(&path, false).unwrap();
    assert_eq!((again.prompts.len(), again.report.n_merged), (2, 1));
    assert_eq!(again.prompts[0].reference, Some("42".into()));
}

#[test]
fn a_cut_reply_is_replayed_as_one() {
    let (a, b) = (prompt("a"), prompt("b"));
    let (folder, written) = write(&[sample(&a, "x", 1.0), sample(&b, "x", 0.0)]);
    assert_eq!(written.unwrap(), 2);
    let mut replayed = Vec::new();
    crate::completions::for_each(&folder.path().join("o.parquet"), |row| {
        replayed.push((row.finish_reason.map(str::to_owned), row.cached_input_tokens));
    })
    .unwrap();
    let expected = ["stop", "length"].map(|reason| (Some(reason.to_owned()), Some(4)));
    assert_eq!(replayed, expected);
}

/// As in the public rows of MMLU-Pro: a few models were judged by another key to the questions.
#[test]
fn outcomes_may_differ_in_the_reference() {
    let a = prompt("a");
    let other = Prompt {
        reference: Some("43".into()),
        ..a.clone()
    };
    let (folder, written) = write(&[sample(&a, "x", 1.0), sample(&other, "y", 1.0)]);
    assert_eq!(written.unwrap(), 2);
    let read = prompts::read(&folder.path().join("o.parquet"), false).unwrap();
    assert_eq!(read.prompts[0].reference, Some("42".into()));
    assert!(
        read.report.warnings[0].contains("1 rows have another `reference`"),
        "{:?}",
        read.report
    );
}

#[test]
fn what_no_reader_could_use_is_refused() {
    let (a, b) = (prompt("a"), prompt("b"));
    let check = |samples: &[ScoredSample<'_>], expected: &str| {
        let (folder, written) = write(samples);
        let error = written.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(expected), "{cause}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    };
    check(&[sample(&a, "x", 1.5)], "outside [0, 1]");
    check(&[sample(&a, "x", f64::NAN)], "outside [0, 1]");
    check(&[sample(&b, "x", 1.0), sample(&a, "x", 1.0)], "out of order");
    let other = ScoredSample {
        score_kind: "judge",
        ..sample(&a, "x", 1.0)
    };
    check(&[sample(&a, "x", 1.0), other], "in two ways");
}

#[test]
fn many_completions_are_written_in_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.parquet");
    let completion = |number: usize| Completion {
        prompt: prompt(&format!("{number:06}")),
        model: "x".to_owned(),
        class: 3,
        sample: 0,
        response: Some("r".repeat(100)),
        tool_calls: None,
        finish_reason: Some("stop".to_owned()),
        truncated: false,
        logprobs: None,
        input_tokens: Some(1),
        cached_input_tokens: None,
        output_tokens: Some(2),
        tokens_estimated: true,
        cost_usd: None,
        time_to_first_token_s: None,
        latency_s: Some(0.5),
        n_requests: 1,
        error: None,
    };
    let n = write_completions::<RecordsError>(&path, |add| (0..5000).try_for_each(|number| add(completion(number))));
    assert_eq!(n.unwrap(), 5000);
    assert_eq!(prompts::read(&path, false).unwrap().prompts.len(), 5000);
}
