//! Recipes.

use std::fs;

use crate::fixture::Fixture;
use crate::run::tiercast;

fn recipe(data: &Fixture, steps: &[&[&str]]) -> String {
    let step = |words: &&[&str]| format!("[[step]]\nrun = {}\n", serde_json::to_string(words).unwrap());
    let steps: String = steps.iter().map(step).collect();
    fs::write(data.path("recipe.toml"), format!("description = \"a trial\"\n{steps}")).unwrap();
    data.at("recipe.toml")
}

#[test]
fn a_recipe_runs_its_steps_in_order() {
    let data = Fixture::new();
    let training = data.training("checkpoint");
    let training: Vec<&str> = training.iter().map(String::as_str).collect();
    let (outcomes, checkpoint) = (data.at("outcomes.parquet"), data.at("checkpoint"));
    let route = ["route", "--checkpoint", &checkpoint, "Prove it."];
    let recipe = recipe(&data, &[&["data", "validate", &outcomes], &training, &route]);
    let run = tiercast(&["pipeline", "run", &recipe]).ok();
    assert!(
        run.stderr.contains("a trial") && run.stderr.contains("[3/3] tiercast route"),
        "{run:?}"
    );
    assert!(
        run.stdout.contains("OK ") && run.stdout.contains("$ per 1000"),
        "{run:?}"
    );
}

#[test]
fn a_recipe_stops_at_the_step_that_fails() {
    let data = Fixture::new();
    let (missing, outcomes) = (data.at("missing.parquet"), data.at("outcomes.parquet"));
    let recipe = recipe(
        &data,
        &[&["data", "validate", &missing], &["data", "describe", &outcomes]],
    );
    let run = tiercast(&["pipeline", "run", &recipe]);
    run.refused("a step fails", 1, &["step 1", "missing.parquet"]);
    assert!(!run.stderr.contains("[2/2]"), "{run:?}");
}

#[test]
fn a_wrong_recipe_is_refused_before_anything_runs() {
    let data = Fixture::new();
    let outcomes = data.at("outcomes.parquet");
    let check = |case: &str, step: &[&str], parts: &[&str]| {
        let recipe = recipe(&data, &[&["data", "validate", &outcomes], step]);
        let run = tiercast(&["pipeline", "run", &recipe]);
        run.refused(case, 2, parts);
        assert!(run.stdout.is_empty(), "{case}: {run:?}");
    };
    check("no such stage", &["fly"], &["step `fly`", "unrecognized subcommand"]);
    check(
        "no such option",
        &["route", "--loud", "x"],
        &["step `route --loud x`", "--loud"],
    );
    check(
        "a recipe in a recipe",
        &["pipeline", "run", "x.toml"],
        &["a recipe runs no recipe"],
    );

    fs::write(data.path("recipe.toml"), "description = \"x\"\nsteps = 3\n").unwrap();
    tiercast(&["pipeline", "run", &data.at("recipe.toml")]).refused(
        "unknown key",
        2,
        &["recipe.toml", "line 2", "steps"],
    );
    tiercast(&["pipeline", "run", &data.at("none.toml")]).refused("no file", 1, &["none.toml"]);
}
