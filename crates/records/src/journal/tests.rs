use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;

use super::*;
use crate::error::RecordsError;

fn in_folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    (folder, path)
}

/// A row with something in every column, told apart by `i`.
fn served(i: usize) -> Served {
    let tier = |tier: &str, excluded: Option<&str>| Expected {
        tier: tier.into(),
        predicted_as: excluded.map(|_| "small".into()),
        quality_mean: 0.5 + i as f32 / 1e6,
        quality_pmf: (0..i % 4).map(|point| point as f32 / 8.0).collect(),
        cost_usd: i as f64 / 3.0,
        input_tokens: i as f32,
        output_tokens: 7.5,
        latency_p95_ms: i.is_multiple_of(2).then_some(120.0),
        acceptable: excluded.is_none(),
        excluded: excluded.map(Into::into),
    };
    let call = |role| Call {
        tier: "small".into(),
        role,
        outcome: "complete".into(),
        error: (role == Role::Chosen).then(|| "timeout".into()),
        input_tokens: 10.0,
        cached_tokens: 0.1,
        output_tokens: i as f64,
        is_estimated: i.is_multiple_of(3),
        cost_usd: 0.25,
        start_ms: 0.25,
        first_token_ms: (role != Role::Chosen).then_some(3.5),
        total_ms: 9.0,
        estimate: (role == Role::Escalation).then_some(0.75),
    };
    Served {
        id: format!("dec_{i:x}"),
        time_ms: 1_700_000_000_000 - i as i64,
        endpoint: "chat".into(),
        session: (!i.is_multiple_of(3)).then(|| format!("session-{}", i % 7)),
        cohort: format!("cohort-{}", i % 2).into(),
        task: "code".into(),
        task_is_told: i % 2 == 1,
        policy: "meta".into(),
        reason: "cheapest_acceptable".into(),
        rule: i.is_multiple_of(5).then(|| "short asks".into()),
        checkpoint: "reference".into(),
        feature_version: 3,
        target: i.is_multiple_of(2).then_some(0.8),
        propensity: 0.95,
        chosen: i % 2,
        tiers: vec![tier("small", None), tier("large", Some("budget"))],
        evidence: !i.is_multiple_of(4),
        overhead_ms: 0.5,
        calls: [Role::Chosen, Role::Fallback, Role::Escalation][..i % 4 % 3]
            .iter()
            .copied()
            .map(call)
            .collect(),
        answered_by: (i % 4 % 3).checked_sub(1),
        prompt_hash: format!("{i:032x}"),
        features: (i % 3 != 1).then(|| features(i)),
        prompt: i.is_multiple_of(2).then(|| format!("What is {i}?")),
        trace: None,
        reply: i.is_multiple_of(4).then(|| format!("A number: {i}.")),
    }
}

fn features(i: usize) -> Features {
    Features {
        ask_tokens: i as u32,
        context_tokens: 2,
        surface: vec![i as f32 / 3.0, -1.0],
        embedding: vec![-128, 127, 0],
        dense: (0..i as i8 % 3).collect(),
        word_ngrams: vec![(u32::MAX - i as u32, 7)],
        char_ngrams: (0..i as u32 % 3).map(|at| (at, u16::MAX)).collect(),
    }
}

fn feedback(i: usize) -> Feedback {
    Feedback {
        time_ms: i as i64,
        about: match i % 2 {
            0 => About::Decision(format!("dec_{i:x}")),
            _ => About::Session(format!("session-{i}")),
        },
        source: "client".into(),
        score: i.is_multiple_of(3).then_some(0.1),
        verdict: Verdict::ALL.get(i % 5).copied(),
        comment: i.is_multiple_of(4).then(|| "it was ¾ right".to_owned()),
        sampled: i.is_multiple_of(5).then(|| Sampled {
            judge_hash: "0123456789abcdef".into(),
            rate: 0.05,
        }),
    }
}

fn write(path: &Path, rows: &[Served]) -> Written {
    write_served::<RecordsError>(path, |sink| rows.iter().cloned().try_for_each(|row| sink.push(row))).unwrap()
}

fn write_words(path: &Path, rows: &[Feedback]) -> Written {
    write_feedback::<RecordsError>(path, |sink| rows.iter().cloned().try_for_each(|row| sink.push(row))).unwrap()
}

fn read(path: &Path, parts: Parts) -> Result<Vec<Served>, RecordsError> {
    let mut rows = Vec::new();
    read_served(path, parts, &mut |row| {
        rows.push(row);
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

#[test]
fn what_was_served_comes_back_in_order_over_batches_and_row_groups() {
    let (_folder, path) = in_folder();
    let rows: Vec<Served> = (0..40_000).map(served).collect();
    let expected = Written {
        rows: 40_000,
        times_ms: Some((1_700_000_000_000 - 39_999, 1_700_000_000_000)),
    };
    assert_eq!(write(&path, &rows), expected);
    assert!(read(&path, Parts::ALL).unwrap() == rows);
}

#[test]
fn what_is_not_wanted_is_left_out_and_nothing_else() {
    let (_folder, path) = in_folder();
    let rows: Vec<Served> = (0..50).map(served).collect();
    write(&path, &rows);
    let check = |parts: Parts| {
        let mut expected = rows.clone();
        expected.iter_mut().for_each(|row| parts.trim(row));
        assert_eq!(read(&path, parts).unwrap(), expected);
    };
    check(Parts::default());
    check(Parts {
        pmf: true,
        ..Parts::default()
    });
    check(Parts {
        features: true,
        ..Parts::default()
    });
    check(Parts {
        text: true,
        ..Parts::default()
    });
    assert!(
        read(&path, Parts::default())
            .unwrap()
            .iter()
            .all(|row| row.prompt.is_none() && row.features.is_none())
    );
}

#[test]
fn feedback_comes_back() {
    let (_folder, path) = in_folder();
    let rows: Vec<Feedback> = (0..10_000).map(feedback).collect();
    write_words(&path, &rows);
    let mut found = Vec::new();
    read_feedback(&path, &mut |row| {
        found.push(row);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(found, rows);
}

/// What a build wrote that knew nothing of judges.
#[test]
fn feedback_of_an_older_version_is_read() {
    let (_folder, path) = in_folder();
    let rows: Vec<Feedback> = (0..10).map(feedback).collect();
    let batch = super::writing::feedback_batch(&rows);
    let batch = batch.project(&[0, 1, 2, 3, 4, 5, 6]).unwrap();
    let note = |key: &str, value: &str| KeyValue::new(key.to_owned(), value.to_owned());
    let notes = vec![note(VERSION_KEY, "1"), note(KIND_KEY, "feedback")];
    let properties = WriterProperties::builder().set_key_value_metadata(Some(notes));
    let file = fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let mut found = Vec::new();
    read_feedback(&path, &mut |row| {
        found.push(row);
        ControlFlow::Continue(())
    })
    .unwrap();
    let plain = |row: &Feedback| Feedback {
        sampled: None,
        ..row.clone()
    };
    assert_eq!(found, rows.iter().map(plain).collect::<Vec<_>>());
}

#[test]
fn a_word_is_shared_by_all_rows() {
    let (_folder, path) = in_folder();
    write(&path, &(0..10_000).map(served).collect::<Vec<_>>());
    let rows = read(&path, Parts::default()).unwrap();
    assert!(Arc::ptr_eq(&rows[0].tiers[0].tier, &rows[9_999].tiers[0].tier));
}

#[test]
fn a_reader_may_stop() {
    let (_folder, path) = in_folder();
    write(&path, &(0..10_000).map(served).collect::<Vec<_>>());
    let mut n_rows = 0;
    read_served(&path, Parts::default(), &mut |_| {
        n_rows += 1;
        if n_rows == 5_000 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .unwrap();
    assert_eq!(n_rows, 5_000);
}

#[test]
fn an_error_of_the_rows_is_passed_on_and_leaves_no_file() {
    let (folder, path) = in_folder();
    let error = write_served(&path, |sink| {
        (0..3_000).try_for_each(|i| sink.push(served(i)))?;
        Err(RecordsError::NoFiles)
    });
    let error = error.unwrap_err();
    assert!(matches!(error, RecordsError::NoFiles), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_segment_cut_anywhere_is_named_with_what_to_do() {
    let (_folder, path) = in_folder();
    write(&path, &(0..500).map(served).collect::<Vec<_>>());
    let whole = fs::read(&path).unwrap();
    for n_bytes in [0, 3, 4, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        fs::write(&path, &whole[..n_bytes]).unwrap();
        let error = read(&path, Parts::default()).unwrap_err().to_string();
        assert!(
            error.contains("rows.parquet") && error.contains("move it away"),
            "{error}"
        );
    }
}

#[test]
fn files_of_a_newer_version_or_another_kind_are_refused_by_name() {
    let (_folder, path) = in_folder();
    let check = |expected: &str| {
        let error = read(&path, Parts::default()).unwrap_err().to_string();
        assert!(error.contains("rows.parquet") && error.contains(expected), "{error}");
    };
    write(&path, &[served(1)]);
    let newer = fs::read(&path).unwrap();
    let at = newer
        .windows(VERSION_KEY.len())
        .position(|bytes| bytes == VERSION_KEY.as_bytes())
        .unwrap();
    let mut newer = newer;
    // Field header and length stand between key and value.
    newer[at + VERSION_KEY.len() + 2] = b'7';
    fs::write(&path, newer).unwrap();
    check("journal version 7, and this build reads versions up to 1");
    write_words(&path, &[feedback(1)]);
    check("it holds feedback where served is read");
    crate::predictions::write(&path, []).unwrap();
    check("no segment of a journal");
}

proptest! {
    #[test]
    fn any_text_and_any_number_comes_back(
        id in ".*", label in ".*", session in proptest::option::of(".*"),
        time_ms: i64, cost in proptest::num::f64::ANY, target in proptest::option::of(proptest::num::f32::NORMAL),
    ) {
        let (_folder, path) = in_folder();
        let mut row = served(2);
        row.id = id;
        row.cohort = label.as_str().into();
        row.rule = Some(label.as_str().into());
        row.session = session;
        row.time_ms = time_ms;
        row.propensity = cost;
        row.target = target;
        write(&path, std::slice::from_ref(&row));
        let mut found = read(&path, Parts::ALL).unwrap().remove(0);
        prop_assert_eq!(found.propensity.to_bits(), row.propensity.to_bits());
        found.propensity = row.propensity;
        prop_assert!(found.propensity.is_nan() || found == row);
    }
}
