//! What is learnt offline is what is served: one path from text to distribution, to the bit.

use serde_json::Value;
use tiercast_records::outcomes;
use tiercast_records::predictions;

use crate::fixture::{Fixture, contents, rows, texts};
use crate::http::{Server, ask};
use crate::run::tiercast;

#[test]
fn predict_and_the_server_agree_to_the_bit() {
    let data = Fixture::trained();
    let (outcomes, checkpoint, out) = (data.at("outcomes.parquet"), data.at("checkpoint"), data.at("p.parquet"));
    tiercast(&[
        "predict",
        "--checkpoint",
        &checkpoint,
        "--outcomes",
        &outcomes,
        "--out",
        &out,
    ])
    .ok();
    let predictions = predictions::read(&data.path("p.parquet")).unwrap();
    let server = Server::start(&checkpoint);
    for (prompt, text) in rows().prompts.iter().zip(texts()) {
        let served = server.route(&ask(&text)).text;
        for row in predictions.iter().filter(|row| row.prompt_id == prompt.prompt_id) {
            // The shortest digits that read back as the same number differ if any bit does.
            let pmf = format!("\"quality_pmf\":{}", serde_json::to_string(&row.quality_pmf).unwrap());
            assert!(served.contains(&pmf), "{text}: {pmf} is not in {served}");
        }
    }
}

#[test]
fn figures_alone_train_the_same_checkpoint_as_text() {
    let data = Fixture::trained();
    tiercast(&[
        "featurise",
        "--outcomes",
        &data.at("outcomes.parquet"),
        "--out",
        &data.at("features.parquet"),
    ])
    .ok();
    outcomes::write(&data.path("outcomes.parquet"), &rows().without_text()).unwrap();
    data.train("figures", &[]).ok();
    let [text, figures] = ["checkpoint", "figures"].map(|out| contents(&data.path(out)));
    assert!(text.keys().eq(figures.keys()));
    // The card and the manifest name the file, which is another one.
    for name in text
        .keys()
        .filter(|name| !["README.md", "manifest.json"].contains(&name.as_str()))
    {
        assert!(text[name] == figures[name], "{name} differs");
    }
    let [text, figures] = [text, figures].map(|files| manifest_but_for_the_file(&files["manifest.json"]));
    assert_eq!(text, figures);
}

fn manifest_but_for_the_file(bytes: &[u8]) -> Value {
    let mut manifest: Value = serde_json::from_slice(bytes).unwrap();
    manifest["provenance"].as_object_mut().unwrap().remove("data").unwrap();
    manifest["files"].as_object_mut().unwrap().remove("README.md").unwrap();
    manifest
}
