//! The dense encoder: trained with, cached, served from the checkpoint alone, and refused when it is
//! not the one that is meant.

use std::fs;

use serde_json::Value;
use tiercast_records::predictions;

use crate::fixture::{Fixture, contents, texts};
use crate::http::{Server, ask};
use crate::run::{checkout, tiercast};

const SHA256: &str = "4f06a31bded2b376aa5d3e464dae0a062470395fe03141be6470018bb8ade3dd";

/// Arguments that train a dense checkpoint named `out`, with a cache beside it.
fn dense(data: &Fixture, out: &str, more: &[&str]) -> crate::run::Run {
    let cache = data.at("cache");
    let fixed = ["--encoder", "dense", "--cache", &cache];
    data.train(out, &[&fixed[..], more].concat())
}

#[test]
fn a_dense_checkpoint_trains_predicts_and_serves() {
    let data = Fixture::new();
    dense(&data, "first", &[]).ok();
    let names: Vec<String> = contents(&data.path("cache")).into_keys().collect();
    assert_eq!(names, ["dense-v1-4f06a31b.parquet"]);

    // Embeddings from the cache are those that were made.
    dense(&data, "second", &[]).ok();
    let (first, second) = (contents(&data.path("first")), contents(&data.path("second")));
    assert_eq!(first, second);
    assert!(first.contains_key("encoder.bin"));

    for (out, cache) in [("with.parquet", "cache"), ("without.parquet", "nothing")] {
        let (rows, cache, out) = (data.at("outcomes.parquet"), data.at(cache), data.at(out));
        let checkpoint = data.at("first");
        let given = ["--outcomes", &rows, "--cache", &cache, "--out", &out];
        tiercast(&[&["predict", "--checkpoint", &checkpoint], &given[..]].concat()).ok();
    }
    let [with, without] = ["with.parquet", "without.parquet"].map(|name| predictions::read(&data.path(name)).unwrap());
    assert_eq!(with, without);

    let server = Server::start(&data.at("first"));
    let answer = server.route(&ask(&texts()[0])).json();
    let predicted = with.iter().find(|row| row.model == "small").unwrap();
    let served = &answer["tiers"].as_array().unwrap()[2];
    assert_eq!(served["tier"], "small");
    assert_eq!(served["quality_mean"].as_f64().unwrap(), predicted.quality_mean);
}

#[test]
fn weights_that_are_altered_or_missing_are_named_by_their_hash() {
    let data = Fixture::new();
    let weights = checkout().join("checkpoints/encoders/dense/model.bin");
    let mut bytes = fs::read(weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(data.path("altered.bin"), &bytes).unwrap();
    for name in ["altered.bin", "missing.bin"] {
        let path = data.at(name);
        let run = dense(&data, "out", &["--encoder-weights", &path]);
        run.refused(name, 1, &[name, SHA256, "repository"]);
        assert!(!data.path("out").exists(), "{name}");
    }
}

#[test]
fn figures_without_text_need_embeddings() {
    let data = Fixture::new();
    let figures = checkout().join("datasets/reference/zeroeval.parquet");
    let (figures, out) = (figures.to_str().unwrap(), data.at("out"));
    let run = tiercast(&["train", "--outcomes", figures, "--out", &out, "--encoder", "dense"]);
    run.refused(
        "figures",
        1,
        &["transformer embedding", "featurise --encoder dense", "--encoder fast"],
    );
}

/// Every view can be switched off; what is left still makes a checkpoint that decides.
#[test]
fn views_can_be_switched_off() {
    let data = Fixture::new();
    for off in [
        "surface",
        "ngrams",
        "embedding",
        "neighbours",
        "tasks",
        "surface,ngrams,embedding,neighbours,tasks",
    ] {
        data.train(off, &["--without", off]).ok();
        let run = tiercast(&["route", "--json", "--checkpoint", &data.at(off), &texts()[1]]).ok();
        let answer: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(answer["tiers"].as_array().unwrap().len(), 3, "{off}");
    }
    data.train("out", &["--without", "nothing"])
        .refused("a view there is not", 2, &["nothing", "neighbours"]);
}
