//! Recipes.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::endpoint::{Endpoint, echo};
use crate::fixture::Fixture;
use crate::http::{lines, rest};
use crate::run::{command, send, tiercast};

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

#[test]
fn a_step_is_skipped_while_what_it_reads_and_writes_is_unchanged() {
    let data = Fixture::new();
    let training = data.training("checkpoint");
    let (outcomes, checkpoint, predictions) = (
        data.at("outcomes.parquet"),
        data.at("checkpoint"),
        data.at("predictions.parquet"),
    );
    let predict = [
        "predict",
        "--checkpoint",
        &checkpoint,
        "--outcomes",
        &outcomes,
        "--out",
        &predictions,
    ];
    let step = |run: &[&str], inputs: &[&str], outputs: &[&str]| {
        let list = |words: &[&str]| serde_json::to_string(words).unwrap();
        format!(
            "[[step]]\nrun = {}\ninputs = {}\noutputs = {}\n",
            list(run),
            list(inputs),
            list(outputs)
        )
    };
    let training: Vec<&str> = training.iter().map(String::as_str).collect();
    let steps = [
        step(&training, &[&outcomes], &[&checkpoint]),
        step(&predict, &[&checkpoint, &outcomes], &[&predictions]),
    ];
    fs::write(
        data.path("recipe.toml"),
        format!("description = \"twice\"\n{}", steps.concat()),
    )
    .unwrap();
    let (recipe, memory) = (data.at("recipe.toml"), data.at("memory"));
    let skipped = |more: &[&str]| {
        let words = ["pipeline", "run", &recipe, "--memory", &memory];
        let run = tiercast(&[&words[..], more].concat()).ok();
        run.stderr.matches("unchanged, skipped").count()
    };
    assert_eq!(skipped(&[]), 0, "the first time");
    assert_eq!(skipped(&[]), 2, "nothing has changed");
    // What a step left is gone: it alone runs again, and leaves the same.
    fs::remove_file(data.path("predictions.parquet")).unwrap();
    assert_eq!(skipped(&[]), 1, "an output is gone");
    assert_eq!(skipped(&[]), 2, "the same bytes again");
    assert_eq!(skipped(&["--again"]), 0, "asked to skip nothing");
}

#[test]
fn what_a_recipe_needs_in_the_background_is_named_when_it_cannot_start() {
    let data = Fixture::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let recipe = format!(
        "description = \"x\"\n[[background]]\nrun = [\"serve\", \"--checkpoint\", \"none\"]\nlisten = \"{address}\"\n\
         [[step]]\nrun = [\"data\", \"validate\", {:?}]\n",
        data.at("outcomes.parquet")
    );
    fs::write(data.path("recipe.toml"), recipe).unwrap();
    let words = [
        "pipeline",
        "run",
        &data.at("recipe.toml"),
        "--memory",
        &data.at("memory"),
    ];
    tiercast(&words).refused("the address is taken", 1, &["listens on", &address.to_string()]);
    drop(listener);
    tiercast(&words).refused("it ends at once", 1, &["in the background ended"]);
}

/// `kill -9` gives a recipe no time to end its servers: they see their standard input close.
#[test]
fn what_runs_in_the_background_does_not_outlive_its_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let silent = Endpoint::holding(0, |_| (200, String::new()));
    fs::write(at("prompts.jsonl"), "{\"prompt\": \"What is 2 + 2?\"}\n").unwrap();
    let tier = "[tiers.big]\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 1\n[tiers.big.endpoint]\nbase_url = ";
    fs::write(at("tiercast.toml"), format!("{tier}\"{}\"\n", silent.url())).unwrap();
    let list = |words: &[&str]| serde_json::to_string(words).unwrap();
    let listen = address.to_string();
    let replay = [
        "replay",
        "--outcomes",
        "datasets/smoke/outcomes.parquet",
        "--listen",
        &listen,
    ];
    let (prompts, config, out) = (at("prompts.jsonl"), at("tiercast.toml"), at("run"));
    let collect = ["collect", "--prompts", &prompts, "--config", &config, "--out", &out];
    let recipe = format!(
        "description = \"x\"\n[[background]]\nrun = {}\nlisten = \"{listen}\"\n[[step]]\nrun = {}\n",
        list(&replay),
        list(&collect)
    );
    fs::write(at("recipe.toml"), recipe).unwrap();
    let mut recipe = command(&["pipeline", "run", &at("recipe.toml"), "--memory", &at("memory")])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    silent.wait_for(1);
    let is_there = || std::net::TcpStream::connect(address).is_ok();
    assert!(is_there());
    recipe.kill().unwrap();
    recipe.wait().unwrap();
    let killed = Instant::now();
    while is_there() {
        assert!(killed.elapsed() < Duration::from_secs(20), "it is still listening");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The smoke set brings a judge along with every prompt; many share a name, none of them has changed.
#[test]
fn judging_the_smoke_set_twice_finds_every_verdict_and_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let top = |name: &str| crate::run::checkout().join(name).to_string_lossy().into_owned();
    // The config of the recipe, at an address that is free.
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let config = fs::read_to_string(top("pipelines/smoke.tiercast.toml")).unwrap();
    fs::write(
        at("tiercast.toml"),
        config.replace("127.0.0.1:9124", &address.to_string()),
    )
    .unwrap();
    let list = |words: &[&str]| serde_json::to_string(words).unwrap();
    let replay = [
        "replay",
        "--outcomes",
        &top("datasets/smoke/outcomes.parquet"),
        "--instant",
        "--listen",
        &address.to_string(),
    ];
    let collect = [
        "collect",
        "--prompts",
        &top("datasets/smoke/prompts.jsonl"),
        "--config",
        &at("tiercast.toml"),
        "--out",
        &at("run"),
    ];
    let judge = ["judge", "--run", &at("run"), "--config", &at("tiercast.toml")];
    let recipe = format!(
        "description = \"smoke\"\n[[background]]\nrun = {}\nlisten = \"{address}\"\n[[step]]\nrun = {}\n[[step]]\nrun = {}\n",
        list(&replay),
        list(&collect),
        list(&judge)
    );
    fs::write(at("recipe.toml"), recipe).unwrap();
    let first = tiercast(&["pipeline", "run", &at("recipe.toml"), "--memory", &at("memory")]).ok();
    assert!(
        first.stderr.contains("888 of 888 calls done") || first.stdout.contains("888 of 888 calls done"),
        "{first:?}"
    );
    // Cut replies are replayed as cut: the figures of the datasheet.
    let judged: serde_json::Value = serde_json::from_str(&fs::read_to_string(at("run/judge.json")).unwrap()).unwrap();
    for (tier, n_cut, mean) in [("smol-8", 226, 0.071), ("smol-24", 93, 0.236), ("smol-64", 39, 0.307)] {
        let found = judged["tiers"]
            .as_array()
            .unwrap()
            .iter()
            .find(|found| found["tier"] == tier)
            .unwrap();
        assert_eq!(found["n_truncated"], n_cut, "{found}");
        assert!((found["mean"].as_f64().unwrap() - mean).abs() < 1e-3, "{found}");
    }
    let again = tiercast(&judge).ok();
    assert!(again.stderr.contains("0 verdicts made"), "{again:?}");
    assert!(!again.stderr.contains("has changed"), "{again:?}");
}

/// A recipe in a folder of its own that collects from `url`, and then does `steps`.
struct Collecting {
    folder: tempfile::TempDir,
}

impl Collecting {
    fn then(url: &str, steps: &[&[&str]]) -> Self {
        let recipe = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let write = |name: &str, text: &str| fs::write(recipe.at(name), text).unwrap();
        write("prompts.jsonl", "{\"prompt\": \"What is 2 + 2?\"}\n");
        let prices = "input_usd_per_mtok = 1\noutput_usd_per_mtok = 1";
        write(
            "tiercast.toml",
            &format!("[tiers.big]\n{prices}\n[tiers.big.endpoint]\nbase_url = \"{url}\"\n"),
        );
        let [prompts, config, out] = ["prompts.jsonl", "tiercast.toml", "run"].map(|name| recipe.at(name));
        let collect = ["collect", "--prompts", &prompts, "--config", &config, "--out", &out];
        let step = |words: &[&str]| format!("[[step]]\nrun = {}\n", serde_json::to_string(words).unwrap());
        let steps: String = std::iter::once(&collect[..])
            .chain(steps.iter().copied())
            .map(step)
            .collect();
        write("recipe.toml", &format!("description = \"a trial\"\n{steps}"));
        recipe
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn command(&self) -> std::process::Command {
        command(&[
            "pipeline",
            "run",
            &self.at("recipe.toml"),
            "--memory",
            &self.at("memory"),
        ])
    }

    /// Started, with what it says line by line.
    fn start(&self) -> (std::process::Child, std::sync::mpsc::Receiver<String>) {
        let mut child = self.command().stderr(Stdio::piped()).spawn().unwrap();
        let said = lines(child.stderr.take().unwrap());
        (child, said)
    }
}

/// The collecting step listened for signals; that must not make the next one deaf.
#[test]
fn a_step_after_collecting_can_be_stopped() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let endpoint = Endpoint::start(echo);
        // Seven thousand prompts: half a minute at best.
        let outcomes = "datasets/reference/mmlu_pro.parquet";
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("checkpoint").to_string_lossy().into_owned();
        let train = ["train", "--outcomes", outcomes, "--out", &out];
        let recipe = Collecting::then(endpoint.url(), &[&train, &["data", "describe", outcomes]]);
        let (mut child, said) = recipe.start();
        while !said.recv().unwrap().contains("epoch 2/") {}
        send(signal, child.id());
        let rest = rest(&said);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{rest}");
        assert!(
            rest.contains("step 2 was ended by signal") && !rest.contains("[3/3]"),
            "{rest}"
        );
    }
}

#[test]
fn ctrl_c_during_the_last_call_ends_the_recipe_and_keeps_the_call() {
    let endpoint = Endpoint::holding(0, echo);
    let recipe = Collecting::then(
        endpoint.url(),
        &[&["data", "describe", "datasets/smoke/outcomes.parquet"]],
    );
    let (mut child, said) = recipe.start();
    endpoint.wait_for(1);
    send("INT", child.id());
    while !said.recv().unwrap().contains("stopping") {}
    endpoint.open(usize::MAX);
    let rest = rest(&said);
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest}");
    assert!(
        rest.contains("no later step was run") && !rest.contains("[2/2]"),
        "{rest}"
    );
    let again = crate::run::Run::from(recipe.command().output().unwrap()).ok();
    assert!(again.stderr.contains("[2/2]"), "{again:?}");
    assert_eq!(endpoint.asked().len(), 1, "the call was paid twice");
}

/// The step goes with its recipe, so that the same command can go on at once.
#[test]
fn a_recipe_that_was_killed_goes_on_at_once() {
    let endpoint = Endpoint::holding(0, echo);
    let recipe = Collecting::then(endpoint.url(), &[]);
    let (mut child, said) = recipe.start();
    endpoint.wait_for(1);
    child.kill().unwrap();
    child.wait().unwrap();
    // Ends when the step does, which waits for a call.
    rest(&said);
    endpoint.open(usize::MAX);
    let again = crate::run::Run::from(recipe.command().output().unwrap()).ok();
    assert!(
        again.stderr.contains("were under way when the last run was killed"),
        "{again:?}"
    );
}
