//! `tiercast config` and `tiercast doctor`, as a user meets them.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::endpoint::Endpoint;
use crate::http::{Server, ask};
use crate::run::{Run, checkout, command, tiercast};

const EXAMPLE: &str = "tiercast.example.toml";

/// A folder with a `tiercast.toml`.
struct Folder(TempDir);

impl Folder {
    fn new(text: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write(text);
        folder
    }

    fn write(&self, text: &str) {
        fs::write(self.0.path().join("tiercast.toml"), text).unwrap();
    }

    fn at(&self) -> String {
        self.0
            .path()
            .join("tiercast.toml")
            .into_os_string()
            .into_string()
            .unwrap()
    }

    /// `tiercast config COMMAND FILE MORE`.
    fn config(&self, command: &str, more: &[&str]) -> Run {
        tiercast(&[&["config", command, &self.at()], more].concat())
    }

    /// `tiercast doctor` in the folder, with variables.
    fn doctor(&self, variables: &[(&str, &str)]) -> Run {
        let checkpoint = checkout().join("checkpoints/reference");
        command(&["doctor", "--checkpoint", checkpoint.to_str().unwrap()])
            .current_dir(self.0.path())
            .envs(variables.iter().copied())
            .output()
            .unwrap()
            .into()
    }
}

fn example() -> String {
    fs::read_to_string(checkout().join(EXAMPLE)).unwrap()
}

/// The example with every key that is not set in it: lines that begin with `#` and no space.
fn whole_example() -> String {
    let set = |line: &str| match line.strip_prefix('#') {
        Some(key) if !key.is_empty() && !key.starts_with(' ') => format!("{key}\n"),
        _ => format!("{line}\n"),
    };
    example().lines().map(set).collect()
}

fn schema() -> Value {
    serde_json::from_str(&tiercast(&["config", "schema"]).ok().stdout).unwrap()
}

fn json_of(text: &str) -> Value {
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

/// The endpoint of a trained tier at `url`.
fn tier_at(url: &str) -> String {
    format!("[tiers.mathstral-7B.endpoint]\nbase_url = \"{url}\"\n")
}

/// Where nothing listens: the port was free a moment ago.
fn down() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/v1", listener.local_addr().unwrap())
}

/// The line of a report that has `part`.
fn line<'a>(run: &'a Run, part: &str) -> &'a str {
    let mut lines = run.stdout.lines();
    lines
        .find(|line| line.contains(part))
        .unwrap_or_else(|| panic!("no line with `{part}`: {run:#?}"))
}

#[test]
fn config_init_writes_the_example_once() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("mine.toml");
    let out = out.to_str().unwrap();
    let run = tiercast(&["config", "init", "--out", out]).ok();
    assert!(run.stderr.contains("tiercast doctor"), "{run:?}");
    assert_eq!(fs::read_to_string(out).unwrap(), example());
    fs::write(out, "workers = 2\n").unwrap();
    tiercast(&["config", "init", "--out", out]).refused("twice", 2, &["mine.toml is there already", "--out"]);
    assert_eq!(fs::read_to_string(out).unwrap(), "workers = 2\n");
    let nowhere = folder.path().join("no/tiercast.toml");
    tiercast(&["config", "init", "--out", nowhere.to_str().unwrap()]).refused("nowhere", 1, &["no/tiercast.toml"]);
}

#[test]
fn config_example_is_valid_and_serves() {
    let run = tiercast(&["config", "validate", EXAMPLE, "--checkpoint", "checkpoints/reference"]).ok();
    for part in [
        "tiercast.example.toml: valid",
        "local (borrows the evidence of Meta-Llama-3.1-8B-Instruct)",
        "gemini-1.5-flash-002 at 127.0.0.1:9000",
        "standard, gold",
        "the tiers go with it",
    ] {
        assert!(run.stdout.contains(part), "`{part}` is not in: {run:#?}");
    }
    assert_eq!(run.stderr, "");
    let server = Server::run(&["serve", "--checkpoint", "checkpoints/reference", "--config", EXAMPLE]);
    let answer = server.route(&ask("What is 17 x 23?")).json();
    assert!(answer["decision"]["tier"].is_string(), "{answer}");
}

#[test]
fn config_example_is_valid_with_every_key_set() {
    let folder = Folder::new(&whole_example());
    fs::create_dir(folder.0.path().join("rubrics")).unwrap();
    let rubric = checkout().join("pipelines/rubrics/helpful.md");
    fs::copy(rubric, folder.0.path().join("rubrics/helpful.md")).unwrap();
    let run = folder.config("validate", &[]).ok();
    assert!(run.stdout.contains("keys.\"app\" (by sha256, cohort gold)"), "{run:#?}");
    assert!(
        run.stdout
            .contains("keys.\"batch\" (by variable TIERCAST_BATCH_KEY), admin"),
        "{run:#?}"
    );
    let schema = jsonschema::options().build(&schema()).unwrap();
    for text in [whole_example(), example()] {
        let errors: Vec<String> = schema
            .iter_errors(&json_of(&text))
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
    // What is shown of it is a file of the same keys, but for what is not shown.
    let shown = folder.config("show", &[]).ok().stdout;
    assert!(!shown.contains("5e884898"), "{shown}");
    let digest = "0".repeat(64);
    let shown = shown.replace("(not shown)", &digest);
    assert!(schema.is_valid(&json_of(&shown)), "{shown}");
    folder.write(&shown);
    let again = folder.config("show", &[]).ok().stdout;
    assert_eq!(again.replace("(not shown)", &digest), shown);
}

#[test]
fn config_validate_says_where_and_what_to_mend() {
    let folder = Folder::new("");
    let check = |text: &str, parts: &[&str]| {
        folder.write(text);
        folder
            .config("validate", &["--checkpoint", "checkpoints/reference"])
            .refused(text, 2, &[&["tiercast.toml"], parts].concat());
    };
    check("workers = 2\nspeed = 3\n", &["line 2", "unknown field `speed`"]);
    check("\nworkers = 0\n", &["line 2: `workers` is 0; it must be 1 to 64"]);
    check(
        "[tiers.huge]\nclass = 1\n",
        &["line 1", "`huge`", "mathstral-7B", "predict_as"],
    );
    check(
        "\n[collect]\nsamples = 0\n",
        &["line 2", "`samples` is 0; it must be 1 to 1000"],
    );
    check("[collect]\nsample = 2\n", &["line 2", "sample"]);
    check("[judge]\ndefault = \"none\"\n", &["`none`"]);
    check(
        "[judge.gate]\nseed = 1\nmin_alpha = 2\n",
        &["line 3", "`judge.gate.min_alpha` is 2"],
    );
    check(
        "[judge.judges.a]\nkind = \"regex\"\npattern = \"(\"\n",
        &["line 1: `judge.judges.a`"],
    );
    check(
        "[tiers.mathstral-7B.endpoint]\nbase_url = \"h\"\n",
        &["line 1", "`base_url` is no URL"],
    );
    let digit = "[keys.a]\nsha256 = \"hush-hush\"\n";
    check(digit, &["line 2", "64 hex digits"]);
    assert!(!format!("{:?}", folder.config("validate", &[])).contains("hush"));
    let gone = tiercast(&["config", "validate", "no/such.toml"]);
    gone.refused("gone", 2, &["no/such.toml", "tiercast config init"]);
    folder.write("");
    let run = folder.config("validate", &[]).ok();
    assert!(run.stdout.contains("those of the checkpoint"), "{run:#?}");
    let no_checkpoint = folder.config("validate", &["--checkpoint", "no/such"]);
    no_checkpoint.refused("no checkpoint", 1, &["opening checkpoint no/such"]);
}

#[test]
fn config_validate_tells_what_collect_would_refuse() {
    let folder = Folder::new(&tier_at("http://127.0.0.1:1/v1"));
    let run = folder
        .config("validate", &["--checkpoint", "checkpoints/reference"])
        .ok();
    assert!(
        run.stderr.contains("`collect` does not") && run.stderr.contains("input_usd_per_mtok"),
        "{run:#?}"
    );
}

#[test]
fn config_show_fills_in_defaults() {
    let folder = Folder::new(&format!("workers = 2\n{}", tier_at("http://127.0.0.1:1/v1")));
    let shown = json_of(&folder.config("show", &[]).ok().stdout);
    assert_eq!((&shown["workers"], &shown["queue_capacity"]), (&json!(2), &json!(256)));
    let endpoint = &shown["tiers"]["mathstral-7B"]["endpoint"];
    assert_eq!(
        (&endpoint["timeout_s"], &endpoint["dialects"]),
        (&json!(60.0), &json!(["chat"]))
    );
    assert_eq!(
        (&shown["collect"]["samples"], &shown["judge"]["gate"]["probes"]),
        (&json!(1), &json!(true))
    );
}

/// The keys that a table takes, as a refusal of an unknown one names them.
fn taken(folder: &Folder, table: &str) -> BTreeSet<String> {
    folder.write(table);
    let run = folder.config("validate", &[]);
    run.refused(table, 2, &["unknown field `no_such_key`"]);
    let (_, names) = run.stderr.split_once("expected").unwrap();
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn config_schema_has_every_key_and_no_other() {
    let (folder, schema) = (Folder::new(""), schema());
    let endpoint = "base_url = \"http://h\"";
    let tables = [
        ("no_such_key = 1", ""),
        ("[tiers.a]\nno_such_key = 1", "/$defs/tier"),
        (
            "[tiers.a.capabilities]\nno_such_key = 1",
            "/$defs/tier/properties/capabilities",
        ),
        (
            &format!("[tiers.a.endpoint]\n{endpoint}\nno_such_key = 1"),
            "/$defs/endpoint",
        ),
        ("[service_levels.a]\nno_such_key = 1", "/$defs/service_level"),
        ("[cascade]\nno_such_key = 1", "/$defs/cascade"),
        ("[[rules]]\nname = \"a\"\nno_such_key = 1", "/$defs/rule"),
        ("[budgets]\nno_such_key = 1", "/$defs/budgets"),
        ("[[budgets.limits]]\nscope = \"all\"\nno_such_key = 1", "/$defs/limit"),
        ("[keys.a]\nno_such_key = 1", "/$defs/key"),
        ("[admin]\nno_such_key = 1", "/$defs/key"),
        ("[collect]\nno_such_key = 1", "/$defs/collect"),
        ("[judge]\nno_such_key = 1", "/$defs/judge"),
        ("[judge.gate]\nno_such_key = 1", "/$defs/gate"),
    ];
    let properties = |at: &str| -> BTreeSet<String> {
        let at = schema.pointer(at).unwrap_or_else(|| panic!("nothing at {at}"));
        assert_eq!(at["additionalProperties"], false, "{at}");
        at["properties"].as_object().unwrap().keys().cloned().collect()
    };
    for (table, at) in tables {
        assert_eq!(taken(&folder, table), properties(at), "{at}");
    }
    let judges = schema["$defs"]["judge_definition"]["oneOf"].as_array().unwrap();
    for (idx, judge) in judges.iter().enumerate() {
        let kind = &judge["properties"]["kind"];
        let kind = kind["const"].as_str().or(kind["enum"][0].as_str()).unwrap();
        let table = format!("[judge.judges.a]\nkind = \"{kind}\"\nno_such_key = 1");
        let mut named = properties(&format!("/$defs/judge_definition/oneOf/{idx}"));
        named.remove("kind");
        assert_eq!(taken(&folder, &table), named, "{kind}");
    }
    let example = example();
    let names = tables.iter().flat_map(|(_, at)| properties(at));
    let missing: Vec<String> = names.filter(|name| !example.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "the example says nothing of {missing:?}");
}

#[test]
fn config_schema_refuses_what_validate_refuses() {
    let schema = jsonschema::options().build(&schema()).unwrap();
    let with = |edit: fn(&mut Value)| {
        let mut config = json_of(&example());
        edit(&mut config);
        config
    };
    assert!(schema.is_valid(&with(|_| ())));
    let cases: [fn(&mut Value); 8] = [
        |config| config["speed"] = json!(3),
        |config| config["workers"] = json!(0),
        |config| config["tiers"]["local"]["endpoint"]["speed"] = json!(3),
        |config| config["tiers"]["local"]["class"] = json!(9),
        |config| config["service_levels"]["gold"]["quality"] = json!(1.5),
        |config| config["keys"] = json!({"a": {}}),
        |config| config["keys"] = json!({"a": {"env": "sk-hush hush"}}),
        |config| config["judge"]["judges"]["exact"]["kind"] = json!("guess"),
    ];
    for (idx, case) in cases.into_iter().enumerate() {
        assert!(!schema.is_valid(&with(case)), "case {idx}");
    }
}

#[test]
fn config_key_opens_the_door_and_is_shown_once() {
    let run = tiercast(&["config", "key", "my app", "--cohort", "gold"]).ok();
    let (key, table) = run.stdout.split_once('\n').unwrap();
    assert!(key.starts_with("tc-") && key.len() == 3 + 64, "{run:#?}");
    assert!(!table.contains(key) && run.stderr.contains("cohorts"), "{run:#?}");
    let other = tiercast(&["config", "key", "my app"]).ok();
    assert!(!other.stdout.contains(key), "two keys are never the same");
    tiercast(&["config", "key", ""]).refused("no name", 2, &["<NAME>"]);

    let folder = Folder::new(&format!("cohorts = [\"gold\"]\n{table}"));
    let validated = folder.config("validate", &[]).ok();
    assert!(
        validated.stdout.contains("keys.\"my app\" (by sha256, cohort gold)"),
        "{validated:#?}"
    );
    let server = Server::run(&[
        "serve",
        "--checkpoint",
        "checkpoints/reference",
        "--config",
        &folder.at(),
    ]);
    let body = ask("What is 17 x 23?");
    server
        .post("/v1/route", body.to_string().as_bytes())
        .refused("without", 401, &["key"]);
    let bearer = format!("Bearer {key}");
    assert_eq!(
        server
            .post_with("/v1/route", &[("authorization", &bearer)], &body)
            .status,
        200
    );
}

#[test]
fn doctor_finds_nothing_to_mend() {
    let endpoint = Endpoint::listing(|key| match key {
        "Bearer hush-hush" => (200, json!({"data": [{"id": "mathstral-7B"}]}).to_string()),
        _ => (401, "{}".to_owned()),
    });
    let free = down().replace("http://", "").replace("/v1", "");
    let folder = Folder::new(&format!(
        "listen = \"{free}\"\n[tiers.mathstral-7B]\ninput_usd_per_mtok = 0\noutput_usd_per_mtok = 0\n{}api_key_env = \"DOCTOR_KEY\"\n",
        tier_at(endpoint.url())
    ));
    let run = folder.doctor(&[("DOCTOR_KEY", "hush-hush")]).ok();
    for part in [
        "tiercast.toml",
        "checkpoints/reference (",
        "served: mathstral-7B",
        "not served: gemini-1.5-pro-002",
        "DOCTOR_KEY is set (tier mathstral-7B)",
        "answers and lists `mathstral-7B`",
        "is free",
        "runs is not there yet",
        "no keys are needed",
        "problems: 0, warnings: 0",
    ] {
        line(&run, part);
    }
    assert!(!format!("{run:?}").contains("hush"), "{run:#?}");
    assert!(!folder.0.path().join("runs").exists());
}

#[test]
fn doctor_names_what_is_wrong_and_the_mend() {
    let refusing = Endpoint::listing(|_| (401, json!({"error": {"message": "hush-hush"}}).to_string()));
    let other = Endpoint::listing(|_| (200, json!({"data": [{"id": "another"}]}).to_string()));
    let listless = Endpoint::start(crate::endpoint::echo);
    let page = Endpoint::listing(|_| (200, "<html>hush-hush</html>".to_owned()));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let tier = |name: &str, url: &str, more: &str| {
        format!(
            "[tiers.{name}]\npredict_as = \"mathstral-7B\"\ninput_usd_per_mtok = 0\noutput_usd_per_mtok = 0\n\
             [tiers.{name}.endpoint]\nbase_url = \"{url}\"\n{more}\n"
        )
    };
    let folder = Folder::new(&format!(
        "listen = \"{}\"\n[keys.app]\nenv = \"APP_KEY\"\n[admin]\nenv = \"ADMIN_KEY\"\n{}{}{}{}{}{}[tiers.mathstral-7B]\nclass = 4\n",
        taken.local_addr().unwrap(),
        tier("refusing", refusing.url(), "api_key_env = \"DOCTOR_KEY\""),
        tier("unset", refusing.url(), "api_key_env = \"NO_SUCH_KEY\""),
        tier("other", other.url(), ""),
        tier("listless", listless.url(), ""),
        tier("page", page.url(), ""),
        tier("down", &down(), ""),
    ));
    fs::write(folder.0.path().join("runs"), "a file").unwrap();
    let run = folder.doctor(&[
        ("DOCTOR_KEY", "hush-hush"),
        ("APP_KEY", "hush-hush"),
        ("NO_SUCH_KEY", " "),
    ]);
    assert_eq!(run.code, Some(1), "{run:#?}");
    for (part, verdict) in [
        ("other has the evidence of mathstral-7B", "ok"),
        ("for want of an endpoint: mathstral-7B", "warning"),
        ("APP_KEY is set (keys.\"app\")", "ok"),
        ("ADMIN_KEY is not set or empty (admin)", "problem"),
        ("NO_SUCH_KEY is not set or empty (tier unset)", "problem"),
        ("not asked: tier `unset`", "problem"),
        ("wrong key: tier `refusing`", "problem"),
        ("check the key in DOCTOR_KEY", "problem"),
        ("does not list `other`: set `model`", "warning"),
        ("tier `listless`", "warning"),
        ("tier `page`", "problem"),
        ("tier `down`", "problem"),
        ("is in use", "warning"),
        ("runs cannot be written to", "problem"),
        ("clients need one of the keys: 1", "ok"),
        ("problems: 7, warnings: 4", "problems"),
    ] {
        let line = line(&run, part);
        assert!(line.starts_with(verdict), "{part}: {line}");
    }
    assert!(!format!("{run:?}").contains("hush"), "{run:#?}");
}

#[test]
fn doctor_looks_at_journal_budgets_and_traces() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = |journal: &str, budgets: &str, traces: &str| {
        format!(
            "listen = \"127.0.0.1:0\"\n[journal]\nfolder = \"{journal}\"\n[budgets]\n{budgets}\n\
             [[budgets.limits]]\nscope = \"all\"\nusd = 1.0\n[traces]\nendpoint = \"{traces}\"\n"
        )
    };
    let folder = Folder::new("");
    let at = |name: &str| folder.0.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("file"), "").unwrap();
    let store = |path: &str| format!("path = \"{}\"", at(path));
    let up = format!("http://{}", collector.local_addr().unwrap());
    folder.write(&config(&at("deep/journal"), &store("budgets.sqlite"), &up));
    let run = folder.doctor(&[]).ok();
    for part in [
        "deep/journal is not there yet",
        "budgets.sqlite can be written",
        "takes connections",
    ] {
        assert!(line(&run, part).starts_with("ok"), "{run:#?}");
    }
    assert!(!folder.0.path().join("deep").exists());
    let gone = down();
    folder.write(&config(
        &at("file"),
        &store("no/such/budgets.sqlite"),
        gone.trim_end_matches("/v1"),
    ));
    let run = folder.doctor(&[]);
    assert_eq!(run.code, Some(1), "{run:#?}");
    for (part, verdict) in [
        ("file cannot be written to", "problem  journal"),
        ("budgets.sqlite cannot be written", "problem  budgets"),
        ("traces are dropped until", "warning  traces"),
    ] {
        assert!(line(&run, part).starts_with(verdict), "{run:#?}");
    }
    let valkey = "store = \"valkey\"\nurl_env = \"DOCTOR_VALKEY\"";
    let headers = format!("{up}\"\nheaders_env = {{ authorization = \"DOCTOR_TRACES\" }}\n#");
    folder.write(&config(&at("journal"), valkey, &headers));
    let unset = folder.doctor(&[]);
    assert!(
        line(&unset, "DOCTOR_VALKEY is not set").starts_with("problem  budgets"),
        "{unset:#?}"
    );
    assert!(
        line(&unset, "DOCTOR_TRACES").starts_with("problem  traces"),
        "{unset:#?}"
    );
    let url = gone.replace("http://", "redis://:hush-hush@").replace("/v1", "");
    let away = folder.doctor(&[("DOCTOR_VALKEY", &url), ("DOCTOR_TRACES", "Bearer hush-hush")]);
    assert!(line(&away, "Valkey").starts_with("problem  budgets"), "{away:#?}");
    assert!(!format!("{away:?}").contains("hush"), "{away:#?}");
}

#[test]
fn doctor_looks_on_where_config_or_checkpoint_do_not_hold() {
    let folder = Folder::new("workers = 0\n[tiers.a.endpoint]\napi_key = \"hush-hush\"\n");
    let run = folder.doctor(&[]);
    assert_eq!(run.code, Some(1), "{run:#?}");
    assert!(line(&run, "TOML").starts_with("problem  config"), "{run:#?}");
    assert!(line(&run, "checkpoints/reference").starts_with("ok"), "{run:#?}");
    assert!(!format!("{run:?}").contains("hush"), "{run:#?}");

    let open = Folder::new("listen = \"0.0.0.0:0\"\n");
    let run = open.doctor(&[]);
    assert_eq!(run.code, Some(1), "{run:#?}");
    line(&run, "tiercast config key NAME");
    open.write("listen = \"0.0.0.0:0\"\nallow_without_key = true\n");
    let run = open.doctor(&[]).ok();
    assert!(line(&run, "no key is asked for").starts_with("warning"), "{run:#?}");
    assert!(line(&run, "decisions only").starts_with("warning"), "{run:#?}");

    open.write("[tiers.huge]\nclass = 1\n");
    let run = open.doctor(&[]);
    assert_eq!(run.code, Some(1), "{run:#?}");
    assert!(line(&run, "predict_as").contains("line 1"), "{run:#?}");

    fs::remove_file(open.at()).unwrap();
    let run = command(&["doctor", "--checkpoint", "no/such"])
        .current_dir(open.0.path())
        .output()
        .unwrap();
    let run = Run::from(run);
    assert_eq!(run.code, Some(1), "{run:#?}");
    assert!(line(&run, "tiercast config init").starts_with("warning"), "{run:#?}");
    assert!(
        line(&run, "opening checkpoint no/such").starts_with("problem"),
        "{run:#?}"
    );
    let named = tiercast(&["doctor", "--config", "no/such.toml"]);
    named.refused("named", 1, &["problem  config", "no/such.toml", "tiercast config init"]);
}

#[test]
fn config_commands_explain_themselves() {
    for arguments in [
        &["config", "--help"][..],
        &["config", "init", "--help"],
        &["config", "validate", "--help"],
        &["config", "show", "--help"],
        &["config", "schema", "--help"],
        &["config", "key", "--help"],
        &["doctor", "--help"],
    ] {
        assert!(tiercast(arguments).ok().stdout.contains("Usage"), "{arguments:?}");
    }
    assert!(Path::new(&checkout()).join(EXAMPLE).is_file());
}
