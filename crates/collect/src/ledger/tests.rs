use std::collections::BTreeSet;

use serde_json::json;
use tiercast_records::outcomes::{PromptText, Split};
use tiercast_records::prompts::Prompt;

use super::*;

fn prompt(number: usize) -> Prompt {
    Prompt {
        prompt_id: format!("p{number:04}"),
        split_key: format!("k{number:04}"),
        split: Split::Test,
        dataset: "d".to_owned(),
        subset: format!("s{}", number % 3),
        domain: "math".to_owned(),
        text: match number % 2 {
            0 => PromptText::Text(format!("ask {number}")),
            _ => PromptText::MessagesJson(r#"{"messages":[{"role":"user","content":"x"}]}"#.to_owned()),
        },
        response_format: Some(json!({"type": "json_object"})),
        schema: None,
        reference: Some(json!("right")),
        judge: Some(json!(["exact"])),
    }
}

fn tier(name: &str) -> RunTier {
    RunTier {
        name: name.to_owned(),
        class: 3,
        model: name.to_owned(),
        base_url: "http://127.0.0.1:1/".to_owned(),
        parameters: "{}".to_owned(),
        parameters_hash: "h1".to_owned(),
        input_usd_per_mtok: 1.0,
        output_usd_per_mtok: 2.0,
        cached_input_usd_per_mtok: 0.5,
        context_window: Some(9),
    }
}

fn prompts(n: usize) -> Vec<Prompt> {
    (0..n).map(prompt).collect()
}

fn begun(folder: &Path, n: usize) -> Ledger {
    let mut ledger = Ledger::open_or_create(folder).unwrap();
    ledger.begin(&prompts(n), &[tier("a"), tier("b")]).unwrap();
    ledger
}

fn key(number: usize, tier: &str, sample: u32) -> CallKey {
    CallKey {
        prompt_id: format!("p{number:04}"),
        tier: tier.to_owned(),
        sample,
        parameters_hash: "h1".to_owned(),
    }
}

fn answer(key: CallKey, text: &str) -> Call {
    Call {
        text: Some(text.to_owned()),
        input_tokens: Some(100),
        cached_input_tokens: Some(40),
        output_tokens: Some(10),
        cost_usd: Some(1e-4),
        attempts: 2,
        ..Call::new(key, Status::Answered)
    }
}

fn failure(key: CallKey, kind: &str) -> Call {
    Call {
        error_kind: Some(kind.to_owned()),
        error_message: Some("in words".to_owned()),
        attempts: 3,
        ..Call::new(key, Status::Failed)
    }
}

async fn store(ledger: &Ledger, calls: Vec<Call>) {
    let writer = ledger.writer().unwrap();
    for call in calls {
        writer.store(Entry::Open(call.key.clone())).await.unwrap();
        let attempt = FailedAttempt {
            kind: "server".to_owned(),
            http_status: Some(500),
            after_s: 0.1,
        };
        writer.store(Entry::Close(Box::new(call), vec![attempt])).await.unwrap();
    }
    writer.finish();
}

fn answers(ledger: &Ledger) -> Vec<Answer> {
    let mut answers = Vec::new();
    let taken = ledger.for_each_answer::<CollectError>(9, |answer| {
        answers.push(answer);
        Ok(())
    });
    taken.unwrap();
    answers
}

#[tokio::test]
async fn what_has_a_result_is_not_asked_again_and_what_failed_is() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = begun(folder.path(), 5);
    let too_long = Call::new(key(3, "a", 0), Status::Unanswerable);
    let calls = vec![
        answer(key(1, "a", 0), "yes"),
        failure(key(2, "a", 0), "timeout"),
        too_long,
    ];
    store(&ledger, calls).await;
    let pending = |after, limit| ledger.pending(&tier("a"), 2, after, limit).unwrap();
    let all: Vec<(String, u32)> = pending(None, 99)
        .into_iter()
        .map(|p| (p.prompt.prompt_id, p.sample))
        .collect();
    let first = ["p0000", "p0002", "p0004"].map(|id| (id.to_owned(), 0)).to_vec();
    let second = (0..5).map(|n| (format!("p{n:04}"), 1)).collect();
    assert_eq!(all, [first, second].concat());
    // Page by page the same.
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = pending(after, 2);
        let Some(last) = page.last() else { break };
        after = Some(last.at);
        paged.extend(page.into_iter().map(|p| (p.prompt.prompt_id, p.sample)));
    }
    assert_eq!(paged, all);
    assert_eq!(pending(None, 1)[0].prompt, prompt(0));
}

#[tokio::test]
async fn the_first_result_counts_and_attempts_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = begun(folder.path(), 2);
    let calls = vec![
        failure(key(0, "a", 0), "timeout"),
        answer(key(0, "a", 0), "first"),
        answer(key(0, "a", 0), "second"),
    ];
    store(&ledger, calls).await;
    let answers = answers(&ledger);
    assert_eq!((answers.len(), answers[0].call.text.as_deref()), (1, Some("first")));
    assert_eq!((answers[0].call.attempts, &answers[0].call.error_kind), (5, &None));
    let totals = ledger.totals(&tier("a"), 1).unwrap();
    assert_eq!(
        (totals.n_answered, totals.n_requests, totals.n_extra_requests()),
        (1, 5, 4)
    );
    assert_eq!(ledger.request_errors("a").unwrap()[0].count, 3);
}

#[tokio::test]
async fn calls_under_way_at_a_kill_are_counted_and_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = begun(folder.path(), 2);
    let writer = ledger.writer().unwrap();
    writer.store(Entry::Open(key(0, "a", 0))).await.unwrap();
    writer.finish();
    drop(ledger);
    let mut ledger = Ledger::open_or_create(folder.path()).unwrap();
    let notes = ledger.begin(&prompts(2), &[tier("a"), tier("b")]).unwrap();
    assert!(notes[0].contains("1 calls were under way"), "{notes:?}");
    let totals = ledger.totals(&tier("a"), 1).unwrap();
    assert_eq!((totals.n_lost, totals.n_failed, totals.n_open), (1, 1, 0));
    assert_eq!(ledger.pending(&tier("a"), 1, None, 9).unwrap().len(), 2);
}

#[tokio::test]
async fn answers_come_in_the_order_of_outcome_files() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = begun(folder.path(), 6);
    let calls = (0..6)
        .rev()
        .flat_map(|n| [("b", 0), ("a", 1), ("a", 0)].map(|(tier, sample)| key(n, tier, sample)));
    store(&ledger, calls.map(|key| answer(key, "x")).collect()).await;
    let answers = answers(&ledger);
    let order = |answer: &Answer| {
        let (prompt, call) = (&answer.prompt, &answer.call.key);
        (
            prompt.subset.clone(),
            prompt.prompt_id.clone(),
            call.tier.clone(),
            call.sample,
        )
    };
    assert_eq!(answers.len(), 18);
    assert!(answers.is_sorted_by_key(order));
    assert_eq!(answers.iter().map(order).collect::<BTreeSet<_>>().len(), 18);
    let fourth = answers
        .iter()
        .find(|answer| answer.prompt.prompt_id == "p0003")
        .unwrap();
    assert_eq!((&fourth.prompt, fourth.class), (&prompt(3), 3));
}

#[tokio::test]
async fn another_run_is_refused_with_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = begun(folder.path(), 3);
    store(&ledger, vec![answer(key(0, "a", 0), "yes")]).await;
    drop(ledger);
    let check = |prompts: &[Prompt], tiers: &[RunTier], parts: &[&str]| {
        let mut ledger = Ledger::open_or_create(folder.path()).unwrap();
        let error = ledger.begin(prompts, tiers).unwrap_err().to_string();
        for part in [parts, &["new --out", "concurrency"]].concat() {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    };
    let with = |change: fn(&mut RunTier)| {
        let mut tier = tier("a");
        change(&mut tier);
        [tier]
    };
    let others: Vec<Prompt> = prompts(7).split_off(3);
    check(
        &others,
        &[tier("a")],
        &["the ledger has 3, the file has 4, 0 are the same"],
    );
    let mut other = prompts(3);
    other[0].text = PromptText::Text("ask another".to_owned());
    other[2].response_format = None;
    check(
        &other,
        &[tier("a")],
        &["prompts `p0000`, `p0002` have another text", "another prompt_id"],
    );
    check(
        &prompts(3),
        &with(|tier| tier.model = "big".to_owned()),
        &["model `a`", "`big`"],
    );
    let parameters = with(|tier| tier.parameters = r#"{"seed":1}"#.to_owned());
    check(
        &prompts(3),
        &parameters,
        &["parameters of tier `a` were {}", r#"{"seed":1}"#],
    );
    check(&prompts(3), &with(|tier| tier.class = 1), &["class 3", "of 1"]);
}

#[tokio::test]
async fn what_may_change_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = begun(folder.path(), 3);
    store(&ledger, vec![answer(key(0, "a", 0), "x")]).await;
    drop(ledger);
    let changed = RunTier {
        base_url: "http://127.0.0.1:2/".to_owned(),
        output_usd_per_mtok: 10.0,
        context_window: None,
        ..tier("a")
    };
    let mut turned = prompts(3);
    turned.reverse();
    let mut ledger = Ledger::open_or_create(folder.path()).unwrap();
    let notes = ledger.begin(&turned, &[changed.clone(), tier("c")]).unwrap();
    let notes = notes.join("\n");
    for part in [
        "`b` is no longer asked",
        "now at http://127.0.0.1:2/",
        "prices of tier `a`",
    ] {
        assert!(notes.contains(part), "{notes}");
    }
    // 60 full, 40 cached, 10 out.
    let cost = ledger.totals(&changed, 1).unwrap().cost_usd;
    assert!((cost - (60.0 + 40.0 * 0.5 + 100.0) / 1e6).abs() < 1e-12, "{cost}");
    let names: Vec<String> = ledger.tiers().unwrap().into_iter().map(|tier| tier.name).collect();
    assert_eq!(names, ["a", "c"]);
}

#[test]
fn one_collect_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = begun(folder.path(), 1);
    let second = Ledger::open_or_create(folder.path()).unwrap_err().to_string();
    assert!(second.contains("another `tiercast collect`"), "{second}");
    // Looking is always possible.
    Ledger::open(folder.path()).unwrap();
    drop(first);
    Ledger::open_or_create(folder.path()).unwrap();
}

#[test]
fn what_is_no_ledger_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let message = |folder: &Path| Ledger::open(folder).unwrap_err().to_string();
    assert!(message(folder.path()).contains("no ledger.sqlite"));
    fs::write(
        folder.path().join(FILE_NAME),
        "this is no database, however long it may be",
    )
    .unwrap();
    assert!(
        message(folder.path()).contains("no SQLite file"),
        "{}",
        message(folder.path())
    );
    let other = tempfile::tempdir().unwrap();
    begun(other.path(), 1).set_meta("format_version", "99").unwrap();
    assert!(message(other.path()).contains("format 99"), "{}", message(other.path()));
}

#[test]
fn looking_ahead_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let ledger = Ledger::preview(&path, &prompts(3), &[tier("a")]).unwrap();
    assert_eq!(ledger.pending(&tier("a"), 1, None, 9).unwrap().len(), 3);
    assert!(!path.exists());
    drop(begun(&path, 3));
    let others = prompts(5).split_off(3);
    let error = Ledger::preview(&path, &others, &[tier("a")]).unwrap_err();
    assert!(matches!(error, CollectError::OtherRun { .. }), "{error}");
    // Prompts that come and go are looked ahead to, and the ledger stays as it is.
    let ledger = Ledger::preview(&path, &prompts(5)[1..], &[tier("a")]).unwrap();
    assert_eq!(ledger.pending(&tier("a"), 1, None, 9).unwrap().len(), 4);
    drop(ledger);
    assert_eq!(Ledger::open(&path).unwrap().n_prompts().unwrap(), 3);
}

#[tokio::test]
async fn verdicts_that_could_not_be_read_give_way() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = begun(folder.path(), 1);
    let verdict = |score: Option<f64>, hash: &str| Verdict {
        key: key(0, "a", 0),
        judge: "exact".to_owned(),
        judge_hash: hash.to_owned(),
        repeat: 0,
        order: 0,
        score,
        raw_score: score,
        reasons: None,
        parsed: score.is_some(),
        cost_usd: Some(1.0),
        error_kind: None,
        error_message: None,
        attempts: 1,
    };
    let writer = ledger.writer().unwrap();
    for verdict in [
        verdict(None, "h"),
        verdict(Some(1.0), "h"),
        verdict(Some(0.0), "h"),
        verdict(Some(0.0), "i"),
    ] {
        writer.store(Entry::Verdict(Box::new(verdict))).await.unwrap();
    }
    writer.finish();
    let verdicts = ledger.verdicts("h").unwrap();
    assert_eq!(
        (verdicts.len(), verdicts[0].score, verdicts[0].attempts),
        (1, Some(1.0), 2)
    );
    assert_eq!(verdicts[0].cost_usd, Some(2.0));
}

/// Begins again with these prompts; the notes as one text.
fn again(folder: &Path, prompts: &[Prompt]) -> (Ledger, String) {
    let mut ledger = Ledger::open_or_create(folder).unwrap();
    let notes = ledger.begin(prompts, &[tier("a"), tier("b")]).unwrap();
    (ledger, notes.join("\n"))
}

fn n_pending(ledger: &Ledger) -> usize {
    ledger.pending(&tier("a"), 1, None, 99).unwrap().len()
}

#[tokio::test]
async fn prompts_come_and_go_and_keep_their_replies() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = begun(folder.path(), 3);
    store(&ledger, (0..3).map(|number| answer(key(number, "a", 0), "x")).collect()).await;
    drop(ledger);
    let (ledger, notes) = again(folder.path(), &prompts(5)[1..]);
    assert!(
        notes.contains("2 prompts are new") && notes.contains("1 prompts are no longer in the file"),
        "{notes}"
    );
    assert_eq!((ledger.n_prompts().unwrap(), n_pending(&ledger)), (4, 2));
    assert_eq!(ledger.totals(&tier("a"), 1).unwrap().n_answered, 2);
    assert_eq!(answers(&ledger).len(), 2);
    drop(ledger);
    // Not under the name of one that was left out, if it sends something else.
    let mut other = prompts(5);
    other[0].text = PromptText::Text("ask another".to_owned());
    let error = Ledger::open_or_create(folder.path())
        .unwrap()
        .begin(&other, &[tier("a")]);
    assert!(error.unwrap_err().to_string().contains("`p0000`"));
    let (ledger, _) = again(folder.path(), &prompts(5));
    assert_eq!(
        (ledger.n_prompts().unwrap(), n_pending(&ledger), answers(&ledger).len()),
        (5, 2, 3)
    );
}

#[tokio::test]
async fn what_is_not_sent_may_be_mended_and_verdicts_rest_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = begun(folder.path(), 2);
    store(&ledger, (0..2).map(|number| answer(key(number, "a", 0), "x")).collect()).await;
    let writer = ledger.writer().unwrap();
    let verdict = |number: usize, score: f64| Verdict {
        key: key(number, "a", 0),
        judge: "exact".to_owned(),
        judge_hash: "j1".to_owned(),
        repeat: 0,
        order: 0,
        score: Some(score),
        raw_score: Some(score),
        reasons: None,
        parsed: true,
        cost_usd: None,
        error_kind: None,
        error_message: None,
        attempts: 1,
    };
    for number in 0..2 {
        writer
            .store(Entry::Verdict(Box::new(verdict(number, 1.0))))
            .await
            .unwrap();
    }
    writer.finish();
    drop(ledger);
    let mut mended = prompts(2);
    mended[0].reference = Some(json!("another"));
    for prompt in &mut mended {
        prompt.judge = Some(json!({"kind": "regex", "pattern": "x"}));
        prompt.dataset = "renamed".to_owned();
    }
    let (ledger, notes) = again(folder.path(), &mended);
    assert!(
        notes.contains("2 prompts have changed") && notes.contains("judge of 2") && notes.contains("reference of 1"),
        "{notes}"
    );
    assert_eq!(n_pending(&ledger), 0, "nothing is asked again");
    assert!(answers(&ledger).iter().all(|answer| answer.prompt.dataset == "renamed"));
    let judged = |ledger: &Ledger| -> Vec<(String, Option<f64>)> {
        let verdicts = ledger.verdicts("j1").unwrap().into_iter();
        verdicts.map(|verdict| (verdict.key.prompt_id, verdict.score)).collect()
    };
    assert_eq!(judged(&ledger), [("p0001".to_owned(), Some(1.0))]);
    assert_eq!(ledger.n_other_verdicts("exact", &["j1"]).unwrap(), 1);
    let writer = ledger.writer().unwrap();
    writer.store(Entry::Verdict(Box::new(verdict(0, 0.0)))).await.unwrap();
    writer.finish();
    drop(ledger);
    // Back to what the first verdict rests on: it is there, and the other one is not lost.
    let (ledger, _) = again(folder.path(), &prompts(2));
    assert_eq!(
        judged(&ledger),
        [("p0000".to_owned(), Some(1.0)), ("p0001".to_owned(), Some(1.0))]
    );
    drop(ledger);
    let (ledger, _) = again(folder.path(), &mended);
    assert_eq!(
        judged(&ledger),
        [("p0000".to_owned(), Some(0.0)), ("p0001".to_owned(), Some(1.0))]
    );
}

#[tokio::test]
async fn a_reader_that_takes_its_time_does_not_hold_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = begun(folder.path(), 2);
    store(&ledger, (0..2).map(|number| answer(key(number, "a", 0), "x")).collect()).await;
    let other = ledger.again().unwrap();
    let taken = ledger.for_each_answer::<CollectError>(1, |_| {
        other.set_meta("meanwhile", "written")?;
        other.tidy()
    });
    taken.unwrap();
    let log = fs::metadata(folder.path().join("ledger.sqlite-wal")).unwrap();
    assert_eq!(log.len(), 0, "the log could not be folded into the file");
}
