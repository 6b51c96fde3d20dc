use proptest::prelude::*;

use super::*;

fn row(at: u32) -> Features {
    Features {
        surface: vec![at as f32 / 100.0, f32::from(at.is_multiple_of(10)), 2.0],
        embedding: (0..8).map(|i| if i == at % 8 { 127 } else { 40 }).collect(),
        ..Features::default()
    }
}

fn fitted(n: u32) -> Reference {
    let rows: Vec<Features> = (0..n).map(row).collect();
    let tasks = ["code", "law", "code"];
    let rows = rows
        .iter()
        .enumerate()
        .map(|(at, row)| (row, tasks.get(at % 4).copied()));
    Reference::fit(3, &["length", "question", "constant"], rows).unwrap()
}

#[test]
fn shares_by_hand() {
    let reference = fitted(1000);
    assert_eq!((reference.n_rows(), reference.feature_version()), (1000, 3));
    let signals = reference.signals();
    // Ten bins of a tenth each, and nothing below or above.
    assert_eq!(signals[0].counts.len(), 12);
    assert_eq!(signals[0].edges[..3], [0.0, 0.99, 1.99]);
    assert_eq!(signals[0].counts[1..11], [100; 10]);
    assert_eq!(signals[1].counts, [0, 900, 100, 0]);
    assert_eq!(signals[2].counts, [0, 1000, 0]);
    assert_eq!(
        reference.tasks(),
        &BTreeMap::from([("code".to_owned(), 500), ("law".to_owned(), 250)])
    );
}

#[test]
fn bins_by_hand() {
    let signal = Signal::fit("s", vec![1.0, 1.0, 2.0, 3.0]);
    assert_eq!(signal.edges, [1.0, 1.0, 2.0, 3.0]);
    for (value, bin) in [
        (0.9, 0),
        (1.0, 1),
        (1.5, 2),
        (2.0, 2),
        (3.0, 3),
        (3.1, 4),
        (f32::NAN, 4),
    ] {
        assert_eq!(signal.bin(value), bin, "{value}");
    }
}

#[test]
fn embedding_means_are_those_of_the_kernel() {
    let reference = fitted(800);
    let summary = reference.embedding().unwrap();
    let length: f64 = summary.mean.iter().map(|value| f64::from(value * value)).sum();
    // Features have unit length: what is not in the mean is in the spread.
    assert!(
        (length + f64::from(summary.trace) - 1.0).abs() < 1e-4,
        "{length} {}",
        summary.trace
    );
    assert!(summary.largest <= summary.frobenius && summary.frobenius <= summary.trace);
    // Two rows differ in two places, by 87/256 each.
    assert!((summary.bandwidth - 87.0 / 256.0 * 2.0_f32.sqrt()).abs() < 1e-3);
}

#[test]
fn it_comes_back_from_json_and_is_small() {
    let reference = fitted(1000);
    let json = serde_json::to_string(&reference).unwrap();
    assert_eq!(serde_json::from_str::<Reference>(&json).unwrap(), reference);
    assert!(json.len() < 8_000, "{}", json.len());
}

#[test]
fn damaged_ones_are_refused() {
    let json = serde_json::to_value(fitted(100)).unwrap();
    let check = |path: &str, value: serde_json::Value, expected: &str| {
        let mut changed = json.clone();
        *changed.pointer_mut(path).unwrap() = value;
        let error = serde_json::from_value::<Reference>(changed).unwrap_err().to_string();
        assert!(
            error.contains(expected) && error.contains("train the checkpoint anew"),
            "{error}"
        );
    };
    check("/version", 9.into(), "version 9");
    check("/n_rows", 0.into(), "no row");
    check("/signals/0/counts/1", 7.into(), "bins");
    check("/signals/0/edges", serde_json::json!([]), "bins");
    check("/embedding/mean", serde_json::json!([1.0]), "embeddings");
    check("/embedding/dim", 1_000_000_000.into(), "embeddings");
    check("/embedding/bandwidth", 0.into(), "embeddings");
}

#[test]
fn many_rows_are_thinned_and_rare_tasks_put_together() {
    let kept = thinned(0..1_000_000);
    assert!((ROWS..2 * ROWS).contains(&kept.len()), "{}", kept.len());
    // Of each of four tasks in turn, a fourth.
    for task in 0..4 {
        let n = kept.iter().filter(|at| *at % 4 == task).count();
        assert!(n.abs_diff(kept.len() / 4) < 300, "{n}");
    }
    let names: Vec<String> = (0..1000).map(|i| format!("task {i}")).collect();
    let counts = task_counts(names.iter().map(String::as_str));
    assert_eq!((counts.len(), counts[OTHER]), (TASKS + 1, 1000 - TASKS as u64));
}

#[test]
fn degenerate() {
    assert_eq!(Reference::fit(1, &["a"], std::iter::empty()), None);
    let lame = [
        Features::default(),
        Features {
            surface: vec![f32::NAN],
            ..Features::default()
        },
        Features {
            surface: vec![1.0],
            ..Features::default()
        },
    ];
    let reference = Reference::fit(1, &["a"], lame.iter().map(|row| (row, None))).unwrap();
    assert_eq!((reference.n_rows(), reference.embedding()), (1, None));
    assert_eq!(reference.signals()[0].counts, [0, 1, 0]);
}

proptest! {
    #[test]
    fn any_signal_is_valid_and_counts_its_own_rows(values in prop::collection::vec(-50_i8..50, 1..200)) {
        let values: Vec<f32> = values.into_iter().map(f32::from).collect();
        let signal = Signal::fit("s", values.clone());
        prop_assert!(signal.is_valid(values.len() as u64));
        let mut counts = vec![0; signal.counts.len()];
        values.iter().for_each(|value| counts[signal.bin(*value)] += 1);
        prop_assert_eq!(counts, signal.counts);
    }
}
