use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::describe::describe;
use crate::split::{split_key, split_of_key};
use crate::table::{properties, write_batches};
use crate::{RecordsError, disk, manifest};

type Columns = Vec<(&'static str, ArrayRef)>;

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn numbers(values: &[Option<f64>]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

/// Two prompts, two models, every row right.
fn columns() -> Columns {
    vec![
        ("prompt_id", texts(&[Some("p"), Some("p"), Some("q"), Some("q")])),
        (
            "split",
            texts(&[Some("train"), Some("train"), Some("test"), Some("test")]),
        ),
        ("model", texts(&[Some("a"), Some("b"), Some("a"), Some("b")])),
        ("score", numbers(&[Some(0.0), Some(1.0), Some(0.5), Some(1.0)])),
    ]
}

fn with(column: &'static str, values: ArrayRef) -> Columns {
    let mut columns = columns();
    columns.retain(|(name, _)| *name != column);
    columns.push((column, values));
    columns
}

fn without(column: &str) -> Columns {
    columns().into_iter().filter(|(name, _)| *name != column).collect()
}

fn save(folder: &TempDir, name: &str, columns: Columns) -> PathBuf {
    let path = folder.path().join(name);
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    disk::write_atomically(&path, |file| {
        write_batches(file, batch.schema(), properties(1, vec![]), [Ok(batch)])
    })
    .unwrap();
    path
}

fn read_all(paths: &[PathBuf]) -> Result<Outcomes, RecordsError> {
    read(
        paths,
        &ReadOptions {
            with_text: true,
            ..ReadOptions::default()
        },
    )
}

/// Reading and validating name the same place and the same mend.
#[track_caller]
fn check_refused(columns: Columns, expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = save(&folder, "mine.parquet", columns);
    let error = read_all(std::slice::from_ref(&path)).unwrap_err().to_string();
    for part in ["mine.parquet"].iter().chain(expected) {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    let report = validate(&path).unwrap();
    assert!(
        error.ends_with(&report.problems[0].to_string()),
        "{:?}",
        report.problems
    );
}

#[test]
fn the_four_required_columns_suffice() {
    let folder = tempfile::tempdir().unwrap();
    let outcomes = read_all(&[save(&folder, "mine.parquet", columns())]).unwrap();
    let prompt = &outcomes.prompts[1];
    assert_eq!(
        (
            prompt.dataset.as_str(),
            prompt.subset.as_str(),
            prompt.split_key.as_str()
        ),
        ("mine", "", "q")
    );
    assert_eq!(
        outcomes.models[0],
        Model {
            name: "a".to_owned(),
            class: 2
        }
    );
    assert_eq!(outcomes.score_kinds, ["unspecified"]);
    let expected = Outcome {
        prompt: 1,
        model: 0,
        score: 0.5,
        score_kind: 0,
        n_samples: 1,
        input_tokens: None,
        output_tokens: None,
        cost_usd: None,
        cost_kind: CostKind::None,
        latency_s: None,
    };
    assert_eq!(outcomes.outcomes[2], expected);
}

#[test]
fn a_cost_of_no_stated_kind_counts_as_reported() {
    let folder = tempfile::tempdir().unwrap();
    let costs = numbers(&[Some(0.1), None, Some(0.0), None]);
    let outcomes = read_all(&[save(&folder, "a.parquet", with("cost_usd", costs))]).unwrap();
    let kinds: Vec<CostKind> = outcomes.outcomes.iter().map(|row| row.cost_kind).collect();
    assert_eq!(
        kinds,
        [CostKind::Reported, CostKind::None, CostKind::Reported, CostKind::None]
    );
}

#[test]
fn numbers_of_any_width_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let scores: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 1, 0]));
    let outcomes = read_all(&[save(&folder, "a.parquet", with("score", scores))]).unwrap();
    assert_eq!(outcomes.outcomes[1].score, 1.0);
}

#[test]
fn faulty_columns_are_named() {
    check_refused(
        without("score"),
        &["column `score`: the column is missing", "prompt_id, split, model"],
    );
    check_refused(
        with("score", texts(&[Some("1"); 4])),
        &["column `score`: it holds Utf8 where numbers are read"],
    );
    check_refused(
        with("split", numbers(&[Some(1.0); 4])),
        &["column `split`", "Write the column as text"],
    );
}

#[test]
fn faulty_cells_are_named_by_row_and_column() {
    let third = |value| numbers(&[Some(1.0), Some(1.0), value, Some(1.0)]);
    let third_text = |good, value| texts(&[Some(good), Some(good), value, Some(good)]);
    let check = |column: &'static str, values: ArrayRef, expected: &str| {
        let place = format!("data row 2 (counting from 0), column `{column}`");
        check_refused(with(column, values), &[&place, expected]);
    };
    check("score", third(Some(1.5)), "1.5 is outside [0, 1]");
    check("score", third(Some(-0.1)), "Scale scores");
    check("score", third(Some(f64::NAN)), "NaN");
    check("score", third(None), "Leave out rows that were not judged");
    check("model_tier", third(Some(5.0)), "5 is no tier class");
    check("model_tier", third(Some(1.5)), "1.5 is no tier class");
    check("model_tier", third(Some(2.0)), "of class 2 here and 1 at data row 0");
    check("cost_usd", third(Some(-1.0)), "-1 cannot be US dollars");
    check("cost_usd", third(Some(f64::NAN)), "NaN");
    check("latency_s", third(Some(-2.0)), "-2 cannot be seconds");
    check("input_tokens", third(Some(-3.0)), "-3 is no count");
    check("output_tokens", third(Some(f64::NAN)), "leave the cell empty");
    check("n_samples", third(Some(0.0)), "at least 1");
    check(
        "cost_kind",
        third_text("computed", Some("guessed")),
        "reported, computed, computed_visible_output_only",
    );
    check(
        "split",
        texts(&[Some("train"), Some("train"), Some("dev"), Some("test")]),
        "`dev` is no split",
    );
    check(
        "split",
        texts(&[Some("train"), Some("train"), None, Some("test")]),
        "route-split-v1",
    );
    check(
        "prompt_id",
        texts(&[Some("p"), Some("p"), Some(""), Some("q")]),
        "it is empty",
    );
    check("prompt_format", third_text("text", Some("html")), "messages_json");
}

#[test]
fn a_cost_of_kind_none_is_a_contradiction() {
    let mut columns = with("cost_usd", numbers(&[Some(0.5); 4]));
    columns.push(("cost_kind", texts(&[Some("none"); 4])));
    check_refused(columns, &["data row 0", "`none` beside a cost_usd of 0.5"]);
}

#[test]
fn rows_that_disagree_are_named() {
    let model = texts(&[Some("a"), Some("a"), Some("a"), Some("b")]);
    check_refused(
        with("model", model),
        &["data row 1", "`a` answered prompt `p` already at data row 0"],
    );
    let split = texts(&[Some("train"), Some("test"), Some("test"), Some("test")]);
    check_refused(
        with("split", split),
        &["data row 1", "prompt `p` is in test here and in train at data row 0"],
    );
    let key = texts(&[Some("k"), Some("k"), Some("k"), Some("k")]);
    check_refused(
        with("split_key", key),
        &["data row 2", "key `k` is in test here and in train at data row 0"],
    );
    let key = texts(&[Some("k"), Some("l"), None, None]);
    check_refused(
        with("split_key", key),
        &["data row 1", "the key `l` here and `k` before"],
    );
    let prompt = texts(&[Some("x"), Some("y"), None, None]);
    check_refused(
        with("prompt", prompt),
        &["data row 1", "prompt `p` has another text at data row 0"],
    );
}

#[test]
fn a_file_without_rows_is_refused() {
    let empty = columns()
        .into_iter()
        .map(|(name, array)| (name, array.slice(0, 0)))
        .collect();
    check_refused(empty, &["the file has no rows"]);
}

#[test]
fn files_that_are_not_parquet_or_cut_short_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(save(&folder, "whole.parquet", columns())).unwrap();
    let check = |bytes: &[u8]| {
        let path = folder.path().join("bad.parquet");
        fs::write(&path, bytes).unwrap();
        let error = validate(&path).unwrap_err().to_string();
        assert!(
            error.contains("bad.parquet") && error.contains("cannot be read as Parquet"),
            "{error}"
        );
        assert!(read_all(&[path]).is_err());
    };
    check(b"");
    check(b"prompt_id,score\np,1\n");
    check(&whole[..whole.len() - 10]);
    check(&whole[..whole.len() / 2]);
    let error = read_all(&[folder.path().to_path_buf()]).unwrap_err();
    assert!(
        std::error::Error::source(&error)
            .unwrap()
            .to_string()
            .contains("folder"),
        "{error}"
    );
    assert!(matches!(read_all(&[]), Err(RecordsError::NoFiles)));
}

#[test]
fn files_are_merged_whatever_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let one = save(&folder, "one.parquet", columns());
    let other = with("model", texts(&[Some("c"), Some("d"), Some("c"), Some("d")]));
    let two = save(&folder, "two.parquet", other);
    let outcomes = read_all(&[one.clone(), two.clone()]).unwrap();
    assert_eq!(outcomes, read_all(&[two, one.clone()]).unwrap());
    assert_eq!(
        (outcomes.prompts.len(), outcomes.models.len(), outcomes.outcomes.len()),
        (2, 4, 8)
    );
    assert_eq!(outcomes.prompts[0].dataset, "one");

    let same = save(&folder, "same.parquet", columns());
    let error = read_all(&[one.clone(), same]).unwrap_err().to_string();
    assert!(
        error.contains("same.parquet") && error.contains("data row 0 of ") && error.contains("one.parquet"),
        "{error}"
    );

    let moved = with("split", texts(&[Some("holdout"); 4]));
    let moved = save(&folder, "moved.parquet", moved);
    let error = read_all(&[one, moved]).unwrap_err().to_string();
    assert!(
        error.contains("in holdout here and in train at data row 0 of"),
        "{error}"
    );
}

#[test]
fn models_and_splits_are_chosen_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let paths = [save(&folder, "a.parquet", columns())];
    let options = |models: &[&str], splits: &[Split]| ReadOptions {
        with_text: false,
        models: Some(models.iter().map(|&model| model.to_owned()).collect()),
        splits: Some(splits.to_vec()),
    };
    let outcomes = read(&paths, &options(&["b"], &[Split::Test])).unwrap();
    assert_eq!(
        (outcomes.prompts.len(), outcomes.models.len(), outcomes.outcomes.len()),
        (1, 1, 1)
    );
    let error = read(&paths, &options(&["b", "gpt"], &Split::ALL))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no row for `gpt`") && error.contains("models out of: a, b"),
        "{error}"
    );
    assert!(read(&paths, &options(&["b"], &[Split::Holdout])).is_err());
}

#[test]
fn validating_lists_every_problem_and_counts_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let mut columns = with("score", numbers(&[Some(2.0), Some(1.0), None, Some(1.0)]));
    columns.push(("model_tier", numbers(&[Some(9.0), None, None, None])));
    let report = validate(&save(&folder, "a.parquet", columns)).unwrap();
    let places: Vec<_> = report
        .problems
        .iter()
        .map(|p| (p.row.unwrap(), p.column.clone().unwrap()))
        .collect();
    let expected = [
        (0, "score".to_owned()),
        (0, "model_tier".to_owned()),
        (2, "score".to_owned()),
    ];
    assert_eq!(places, expected);
    assert_eq!((report.n_rows, report.n_outcomes, report.n_problems), (4, 2, 3));

    let n = 100;
    let ids: Vec<String> = (0..n).map(|i| format!("p{i}")).collect();
    let columns: Columns = vec![
        ("prompt_id", Arc::new(StringArray::from(ids))),
        ("split", texts(&vec![Some("dev"); n])),
        ("model", texts(&vec![Some("a"); n])),
        ("score", numbers(&vec![Some(1.0); n])),
    ];
    let report = validate(&save(&folder, "b.parquet", columns)).unwrap();
    assert_eq!((report.problems.len(), report.n_problems), (20, 100));
}

#[test]
fn a_file_changed_since_its_manifest_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = save(&folder, "a.parquet", columns());
    manifest::write(
        folder.path(),
        manifest::DATASET,
        &[("a.parquet", 4)],
        Default::default(),
    )
    .unwrap();
    read_all(std::slice::from_ref(&path)).unwrap();
    save(&folder, "a.parquet", with("score", numbers(&[Some(1.0); 4])));
    let error = read_all(&[path]).unwrap_err().to_string();
    assert!(
        error.contains("is not the file that") && error.contains("manifest.json"),
        "{error}"
    );
}

#[test]
fn the_matrix_has_a_cell_per_prompt_and_asked_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = save(
        &folder,
        "a.parquet",
        columns()
            .into_iter()
            .map(|(name, array)| (name, array.slice(0, 3)))
            .collect(),
    );
    let outcomes = read_all(&[path]).unwrap();
    assert_eq!(outcomes.matrix(&[1, 0]), [[Some(1), Some(0)], [None, Some(2)]]);
    let only_b = outcomes.restrict(&[outcomes.model_position("b").unwrap()]);
    assert_eq!(
        (
            only_b.prompts.len(),
            only_b.models[0].name.as_str(),
            only_b.outcomes.len()
        ),
        (1, "b", 1)
    );
}

/// Tables as read from a file: consistent, in any order.
fn any_outcomes() -> impl Strategy<Value = Outcomes> {
    let kinds = prop::sample::select(CostKind::ALL.to_vec());
    let tokens = || prop::option::of(0..=u32::MAX);
    let figures = (
        0.0..=1.0_f64,
        0..3_usize,
        1..9_u32,
        tokens(),
        tokens(),
        0.0..9.0_f64,
        kinds,
        prop::option::of(0.0..99.0_f64),
    );
    let cells = prop::collection::btree_map((0..12_usize, 0..4_usize), figures, 1..40);
    let words = prop::collection::vec((".{0,6}", any::<bool>(), 0..4_usize), 12);
    (words, cells, any::<bool>()).prop_map(|(words, cells, with_text)| {
        let prompts = words.into_iter().enumerate().map(|(i, (word, is_json, split))| {
            let text = if is_json {
                PromptText::MessagesJson(word.clone())
            } else {
                PromptText::Text(word.clone())
            };
            Prompt {
                prompt_id: format!("p{i}"),
                split_key: format!("k{}", i % 2 + 2 * split),
                split: Split::ALL[split],
                dataset: format!("d{}", i % 3),
                subset: word.clone(),
                domain: word,
                text: with_text.then_some(text),
            }
        });
        let outcomes = cells.into_iter().map(|((prompt, model), figures)| {
            let (score, score_kind, n_samples, input_tokens, output_tokens, cost, cost_kind, latency_s) = figures;
            let cost_usd = (cost_kind != CostKind::None).then_some(cost);
            Outcome {
                prompt,
                model,
                score,
                score_kind,
                n_samples,
                input_tokens,
                output_tokens,
                cost_usd,
                cost_kind,
                latency_s,
            }
        });
        Outcomes {
            prompts: prompts.collect(),
            models: (0..4)
                .rev()
                .map(|i| Model {
                    name: format!("m{i}"),
                    class: i + 1,
                })
                .collect(),
            score_kinds: ["z", "y", "x"].map(str::to_owned).into(),
            outcomes: outcomes.collect(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_written_is_read_and_bytes_repeat(outcomes in any_outcomes()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o.parquet");
        write(&path, &outcomes).unwrap();
        let bytes = fs::read(&path).unwrap();
        let found = read_all(std::slice::from_ref(&path)).unwrap();
        prop_assert_eq!(&found, &outcomes.in_order());
        write(&path, &found).unwrap();
        prop_assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

/// A file of the developers' data, or a message that the test is skipped.
fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data")
        .join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
    }
    path.exists().then_some(path)
}

const MMLU_PRO_TIERS: [&str; 5] = [
    "gemini-1.5-pro-002",
    "Meta-Llama-3.1-70B-Instruct",
    "gemini-1.5-flash-002",
    "Meta-Llama-3.1-8B-Instruct",
    "mathstral-7B",
];

#[test]
fn headroom_of_mmlu_pro_is_that_of_its_readme() {
    let Some(path) = shared("mmlu_pro.parquet") else { return };
    let start = Instant::now();
    let models = Some(MMLU_PRO_TIERS.map(str::to_owned).into());
    let outcomes = read(
        &[path],
        &ReadOptions {
            models,
            ..ReadOptions::default()
        },
    )
    .unwrap();
    let seconds = start.elapsed().as_secs_f64();
    println!("read in {seconds:.1} s");
    assert!(seconds < 20.0, "reading took {seconds} s");
    let headroom = describe(&outcomes).headroom.unwrap();
    println!("{headroom:#?}");
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 0.000_51, "{found} {expected}");
    assert_eq!(
        (headroom.n_prompts, headroom.best_single.as_str()),
        (10_071, "gemini-1.5-pro-002")
    );
    close(headroom.best_single_score, 0.700);
    close(headroom.best_single_usd_per_1000.unwrap(), 0.660);
    close(headroom.oracle_score, 0.862);
    close(headroom.oracle_usd_per_1000.unwrap(), 0.105);
    close(headroom.mean_pairwise_disagreement.unwrap(), 0.316);
    assert!((headroom.share_all_right - 0.23).abs() < 0.006 && (headroom.share_none_right - 0.14).abs() < 0.006);

    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("tiers.parquet");
    write(&copy, &outcomes).unwrap();
    println!("five tiers, figures only: {} bytes", fs::metadata(&copy).unwrap().len());
    assert_eq!(read_all(&[copy]).unwrap(), outcomes);
}

#[test]
fn every_shared_file_is_valid_alone_and_together() {
    let names = [
        "alpaca_eval_1",
        "alpaca_eval_2",
        "bfcl",
        "llmrouter",
        "mmlu_pro",
        "routellm",
        "zeroeval",
    ];
    let paths: Vec<PathBuf> = names
        .iter()
        .filter_map(|name| shared(&format!("{name}.parquet")))
        .collect();
    if paths.len() < names.len() {
        return;
    }
    for path in &paths {
        let report = validate(path).unwrap();
        assert!(report.is_ok(), "{}: {:#?}", path.display(), report.problems);
    }
    // Both alpaca files judge the same replies; gemma-2-9b-it met GSM8K in llmrouter and zeroeval.
    let error = read(&paths, &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("Read the files apart"), "{error}");
    let models = Some(
        ["mathstral-7B", "gpt-4o-2024-05-13", "codegemma-7b"]
            .map(str::to_owned)
            .into(),
    );
    let outcomes = read(
        &paths,
        &ReadOptions {
            models,
            ..ReadOptions::default()
        },
    )
    .unwrap();
    println!(
        "together: {} prompts, {} outcomes",
        outcomes.prompts.len(),
        outcomes.outcomes.len()
    );
}

#[test]
fn keys_and_splits_of_bare_questions_are_those_of_the_shared_data() {
    let Some(path) = shared("zeroeval.parquet") else { return };
    let models = Some(vec!["gpt-4o-2024-05-13".to_owned()]);
    let outcomes = read(
        &[path],
        &ReadOptions {
            with_text: true,
            models,
            splits: None,
        },
    )
    .unwrap();
    let gsm: Vec<&Prompt> = outcomes
        .prompts
        .iter()
        .filter(|prompt| prompt.subset == "gsm")
        .collect();
    let text = |prompt: &Prompt| prompt.text.as_ref().map(|text| text.as_str().to_owned()).unwrap();
    let same_key = gsm
        .iter()
        .filter(|prompt| split_key(&text(prompt)) == prompt.split_key)
        .count();
    let same_split = gsm
        .iter()
        .filter(|prompt| split_of_key(&prompt.split_key) == Some(prompt.split))
        .count();
    println!(
        "{} gsm prompts, {same_key} of the same key, {same_split} of the split of their key",
        gsm.len()
    );
    assert!(same_key * 100 >= gsm.len() * 98, "{same_key} of {}", gsm.len());
    assert!(same_split * 100 >= gsm.len() * 98, "{same_split} of {}", gsm.len());
}
