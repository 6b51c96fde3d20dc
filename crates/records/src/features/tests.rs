use std::fs;
use std::path::PathBuf;

use super::*;

fn features(seed: u32) -> Features {
    Features {
        ask_tokens: seed,
        context_tokens: 2 * seed,
        surface: vec![seed as f32 / 3.0, -1.0],
        embedding: vec![-128, 127, seed as i8],
        dense: Vec::new(),
        word_ngrams: (0..seed % 4).map(|i| (u32::MAX - i * seed, 7)).collect(),
        char_ngrams: vec![(9, u16::MAX), (3, 1)],
    }
}

fn rows(n: u32) -> Vec<(String, Features)> {
    (0..n)
        .map(|i| (format!("{:08x}", i.wrapping_mul(2_654_435_761)), features(i)))
        .collect()
}

fn in_folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("features.parquet");
    (folder, path)
}

#[test]
fn rows_come_back_with_their_version_and_order_of_ngrams() {
    let (_folder, path) = in_folder();
    let rows = rows(10_000);
    write(&path, 7, &rows).unwrap();
    let file = read(&path).unwrap();
    assert_eq!(file.version, 7);
    assert_eq!(file.rows, rows.into_iter().collect());
}

#[test]
fn a_transformer_embedding_comes_back() {
    let (_folder, path) = in_folder();
    let mut rows = rows(10);
    rows.iter_mut()
        .for_each(|(_, features)| features.dense = vec![1, -128, 127, 0]);
    write(&path, 7, &rows).unwrap();
    assert_eq!(read(&path).unwrap().rows, rows.clone().into_iter().collect());
    rows[3].1.dense.clear();
    assert!(write(&path, 7, &rows).unwrap_err().to_string().contains("dense"));
}

#[test]
fn equal_rows_give_equal_bytes_in_any_order() {
    let (_folder, path) = in_folder();
    let mut rows = rows(50);
    write(&path, 1, &rows).unwrap();
    let first = fs::read(&path).unwrap();
    rows.reverse();
    write(&path, 1, &rows).unwrap();
    assert_eq!(fs::read(&path).unwrap(), first);
}

#[test]
fn rows_that_do_not_fit_are_refused_by_number() {
    let check = |change: fn(&mut (String, Features)), expected: &str| {
        let (_folder, path) = in_folder();
        let mut rows = rows(5);
        change(&mut rows[3]);
        let error = write(&path, 1, &rows).unwrap_err().to_string();
        assert!(error.contains("row 3") && error.contains(expected), "{error}");
        assert!(!path.exists());
    };
    check(
        |row| row.1.surface.push(1.0),
        "column `surface`: 3 values where the first row has 2",
    );
    check(
        |row| row.1.embedding.clear(),
        "column `embedding`: 0 values where the first row has 3",
    );
    check(
        |row| row.0 = "00000000".to_owned(),
        "prompt `00000000` has a row already, row 0",
    );
}

#[test]
fn other_files_are_refused() {
    let (_folder, path) = in_folder();
    fs::write(&path, "prompt_id,embedding\n").unwrap();
    assert!(
        read(&path)
            .unwrap_err()
            .to_string()
            .contains("cannot be read as Parquet")
    );
    crate::predictions::write(&path, []).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("tiercast featurise"));
}
