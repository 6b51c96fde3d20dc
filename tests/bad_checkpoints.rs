//! Checkpoints that do not fit, are damaged or mean harm: an error, never a panic, never served.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tiercast_records::disk::sha256_of_file;

use crate::fixture::{Fixture, contents, copy};
use crate::run::tiercast;

/// Spoils a copy of a good checkpoint; it is then refused with `parts` in the message.
fn check(data: &Fixture, case: &str, spoil: impl FnOnce(&Path), parts: &[&str]) {
    let (folder, checkpoint) = (data.path("spoilt"), data.at("spoilt"));
    copy(&data.path("checkpoint"), &folder);
    spoil(&folder);
    let opening = ["opening checkpoint", "spoilt"];
    tiercast(&["route", "--checkpoint", &checkpoint, "Prove it."]).refused(case, 1, &[&opening, parts].concat());
    fs::remove_dir_all(&folder).unwrap();
}

/// Changes a JSON file of the folder.
fn edit(folder: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(folder.join(file)).unwrap()).unwrap();
    change(&mut value);
    fs::write(folder.join(file), value.to_string()).unwrap();
}

/// Changes a JSON file and makes the manifest vouch for it, as an attacker would.
fn forge(folder: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    edit(folder, file, change);
    vouch(folder, file);
}

fn vouch(folder: &Path, file: &str) {
    let sha256 = sha256_of_file(&folder.join(file)).unwrap();
    edit(folder, "manifest.json", |manifest| {
        manifest["files"][file] = json!(sha256);
    });
}

#[test]
fn another_version() {
    let data = Fixture::trained();
    let set = |key: &'static str, value: Value| {
        move |folder: &Path| edit(folder, "manifest.json", |manifest| manifest[key] = value)
    };
    check(
        &data,
        "format",
        set("format_version", json!(1)),
        &["format version 1", "reads 3", "train again"],
    );
    check(
        &data,
        "features",
        set("feature_version", json!(99)),
        &["version 99", "train again"],
    );
    check(
        &data,
        "kind",
        set("format", json!("other")),
        &["manifest.json", "`other`"],
    );
    let forged = |folder: &Path| {
        forge(folder, "features.json", |features| {
            features["feature_version"] = json!(99);
        });
    };
    check(
        &data,
        "features beside the manifest",
        forged,
        &["features.json", "feature version 99"],
    );
}

#[test]
fn a_file_that_is_missing_or_cut_short() {
    let data = Fixture::trained();
    let files = contents(&data.path("checkpoint"));
    for (name, bytes) in &files {
        let cut = |folder: &Path| fs::write(folder.join(name), &bytes[..bytes.len() / 2]).unwrap();
        check(&data, "cut short", cut, &[name]);
        check(
            &data,
            "empty",
            |folder| fs::write(folder.join(name), "").unwrap(),
            &[name],
        );
        check(
            &data,
            "missing",
            |folder| fs::remove_file(folder.join(name)).unwrap(),
            &[name],
        );
    }
    assert_eq!(files.len(), 14);
    let nowhere = tiercast(&["route", "--checkpoint", &data.at("nowhere"), "x"]);
    nowhere.refused("no folder", 1, &["nowhere", "manifest.json", "tiercast train"]);
}

#[test]
fn a_bit_that_flipped() {
    let data = Fixture::trained();
    for (name, bytes) in contents(&data.path("checkpoint")) {
        if name == "manifest.json" {
            continue;
        }
        for place in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut bytes = bytes.clone();
            bytes[place] ^= 1;
            let flip = |folder: &Path| fs::write(folder.join(&name), &bytes).unwrap();
            check(&data, "flipped", flip, &[&name, "SHA-256", "restore it or train again"]);
        }
    }
}

/// The manifest names no hash of itself. Where a flip is in words alone it opens; else it says so.
#[test]
fn a_bit_that_flipped_in_the_manifest() {
    let data = Fixture::trained();
    let good = fs::read(data.path("checkpoint/manifest.json")).unwrap();
    let decision = |run: &str| -> Value { serde_json::from_str::<Value>(run).unwrap()["tiers"].clone() };
    let route = || tiercast(&["route", "--json", "--checkpoint", &data.at("checkpoint"), "Prove it."]);
    let before = decision(&route().ok().stdout);
    for place in (0..good.len()).step_by(good.len() / 40) {
        let mut bytes = good.clone();
        bytes[place] ^= 0x10;
        fs::write(data.path("checkpoint/manifest.json"), &bytes).unwrap();
        let run = route();
        match run.code {
            Some(0) => assert_eq!(decision(&run.stdout), before, "byte {place}"),
            _ => run.refused(&format!("byte {place}"), 1, &["opening checkpoint"]),
        }
    }
}

#[test]
fn forged_views_are_refused() {
    let data = Fixture::trained();
    let pool = |change: fn(&mut Value)| move |folder: &Path| forge(folder, "pool.json", change);
    check(
        &data,
        "weights above one",
        pool(|pool| pool["known"] = json!([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])),
        &["pool.json", "`known`"],
    );
    check(
        &data,
        "no quantiles",
        pool(|pool| pool["doubt"]["quantiles"] = json!([])),
        &["pool.json", "quantiles"],
    );
    let cut = |folder: &Path| {
        let bytes = fs::read(folder.join("neighbours.bin")).unwrap();
        fs::write(folder.join("neighbours.bin"), &bytes[..bytes.len() - 1]).unwrap();
        vouch(folder, "neighbours.bin");
    };
    check(&data, "part of a neighbour", cut, &["neighbours.bin", "bytes"]);
    let swapped = |folder: &Path| {
        fs::copy(folder.join("network.bpk"), folder.join("views.bpk")).unwrap();
        vouch(folder, "views.bpk");
    };
    check(&data, "other tensors", swapped, &["views.bpk", "`base`"]);
}

#[test]
fn a_forged_network_is_refused_before_it_is_built() {
    let data = Fixture::trained();
    let size = |key: &'static str, size: u64| {
        move |folder: &Path| forge(folder, "network.json", |network| network[key] = json!(size))
    };
    for key in [
        "d_hidden",
        "d_ngram",
        "n_ngrams",
        "n_tasks",
        "n_members",
        "d_dense",
        "n_tiers",
        "d_difficulty",
    ] {
        check(
            &data,
            key,
            size(key, 1_000_000_000),
            &["network.json", key, "1000000000"],
        );
        check(&data, key, size(key, 0), &["network.json", key]);
        check(&data, key, size(key, u64::MAX), &["network.json", key]);
    }
    // Within every bound, and still not what the weights are for. Too few bytes are noticed before
    // the quarter of a gigabyte that 400 members would take.
    check(
        &data,
        "more members",
        size("n_members", 400),
        &["network.bpk", "smaller"],
    );
    check(&data, "wider", size("d_hidden", 97), &["network.bpk", "smaller"]);
    check(&data, "narrower", size("d_hidden", 95), &["network.bpk", "shape"]);
}

#[test]
fn forged_weights() {
    let data = Fixture::trained();
    let good = fs::read(data.path("checkpoint/network.bpk")).unwrap();
    let weights = |bytes: Vec<u8>| {
        move |folder: &Path| {
            fs::write(folder.join("network.bpk"), bytes).unwrap();
            vouch(folder, "network.bpk");
        }
    };
    check(&data, "empty", weights(Vec::new()), &["network.bpk"]);
    check(&data, "noise", weights(vec![0xff; 4096]), &["network.bpk"]);
    check(
        &data,
        "cut short",
        weights(good[..good.len() / 2].to_vec()),
        &["network.bpk"],
    );
    check(&data, "header alone", weights(good[..64].to_vec()), &["network.bpk"]);
    check(
        &data,
        "longer",
        weights([&good[..], &[0; 2 << 20]].concat()),
        &["network.bpk", "larger"],
    );
    let not_finite = [&good[..good.len() - 4], &f32::NAN.to_le_bytes()].concat();
    check(&data, "NaN", weights(not_finite), &["network.bpk"]);
    // Every part of the header, one byte at a time: any answer but a panic or a kill.
    let folder = data.path("spoilt");
    copy(&data.path("checkpoint"), &folder);
    for place in (0..good.len().min(2048)).step_by(37) {
        let mut bytes = good.clone();
        bytes[place] = 0xff;
        weights(bytes)(&folder);
        let run = tiercast(&["route", "--checkpoint", &data.at("spoilt"), "x"]);
        assert!(
            matches!(run.code, Some(0 | 1)) && !run.stderr.contains("panicked"),
            "byte {place}: {run:?}"
        );
    }
}

#[test]
fn parts_that_do_not_belong_together() {
    let data = Fixture::trained();
    let check = |case: &str, file: &'static str, change: fn(&mut Value), parts: &[&str]| {
        check(
            &data,
            case,
            |folder| forge(folder, file, change),
            &[&[file], parts].concat(),
        );
    };
    check(
        "a tier renamed",
        "catalog.json",
        rename_first_tier,
        &["not those of the manifest"],
    );
    check(
        "a tier less",
        "calibration.json",
        |fit| drop(fit["tiers"].as_array_mut().unwrap().pop()),
        &["2 tiers"],
    );
    check(
        "another grid",
        "calibration.json",
        |fit| fit["grid"][1] = json!(0.07),
        &["grid"],
    );
    check(
        "a level beyond",
        "calibration.json",
        |fit| fit["service_levels"]["auto"] = json!(1.5),
        &["service level"],
    );
    check(
        "an unknown key",
        "calibration.json",
        |fit| fit["extra"] = json!(1),
        &["unknown field `extra`"],
    );
    check(
        "an n-gram less",
        "features.json",
        |f| drop(f["ngram_idf"].as_array_mut().unwrap().pop()),
        &["n-gram"],
    );
}

fn rename_first_tier(catalog: &mut Value) {
    let tiers = if catalog.is_array() {
        catalog
    } else {
        &mut catalog["tiers"]
    };
    tiers[0]["name"] = json!("other");
}

#[test]
fn what_is_no_checkpoint_is_not_overwritten() {
    let data = Fixture::new();
    fs::create_dir(data.path("thesis")).unwrap();
    fs::write(data.path("thesis/chapter.txt"), "years of work").unwrap();
    data.train("thesis", &[])
        .refused("in the way", 1, &["thesis", "no checkpoint", "another folder"]);
    assert_eq!(
        fs::read_to_string(data.path("thesis/chapter.txt")).unwrap(),
        "years of work"
    );

    fs::write(data.path("file"), "not a folder").unwrap();
    data.train("file", &[]).refused("a file", 1, &["file"]);
    assert_eq!(fs::read_to_string(data.path("file")).unwrap(), "not a folder");
    assert_eq!(data.names(), ["file", "outcomes.parquet", "thesis"]);
}
