//! What a journal costs and keeps. Three JSON lines: rows per second and bytes per row before and after rotation;
//! time that a request spends in `record`; rows lost over 20 `kill -9` under load, against the promise.
//!
//! `load FOLDER [ROWS]`. Rows have four tiers with their distributions and one call; their texts and features
//! are left out, as by default.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement prints and stops at what is wrong"
)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tiercast_journal::{Journal, Range, Reader, Settings};
use tiercast_records::journal::{Call, Entry, Expected, Parts, Role, Served};

const N_KILLS: usize = 20;

/// Requests per second of the process that is killed.
const RATE: u64 = 1000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(&arguments[0]);
    match arguments.get(1).map(String::as_str) {
        Some("child") => write_until_killed(folder, arguments[2].parse().unwrap()),
        n_rows => {
            fs::create_dir_all(folder).unwrap();
            throughput(
                &folder.join("throughput"),
                n_rows.map_or(50_000, |n| n.parse().unwrap()),
            );
            kills(&folder.join("kills"));
        }
    }
}

fn throughput(folder: &Path, n_rows: usize) {
    let settings = Settings {
        rotate_rows: 10_000_000,
        ..Settings::new(folder)
    };
    let journal = Journal::open(&settings).unwrap();
    let began = Instant::now();
    let mut record_us: Vec<f64> = Vec::with_capacity(n_rows);
    for i in 0..n_rows {
        while journal.health().waiting > settings.queue / 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let entry = Entry::Served(Box::new(row(i)));
        let before = Instant::now();
        journal.record(entry);
        record_us.push(before.elapsed().as_secs_f64() * 1e6);
    }
    journal.flush().unwrap();
    let write_s = began.elapsed().as_secs_f64();
    let open_bytes = journal.health().bytes_on_disk;
    let began = Instant::now();
    journal.rotate().unwrap();
    let rotate_s = began.elapsed().as_secs_f64();
    let segments = Reader::open(folder).unwrap().manifest().unwrap().segments;
    let closed_bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    record_us.sort_by(f64::total_cmp);
    let began = Instant::now();
    assert_eq!(read(folder).len(), n_rows);
    println!(
        "{{\"rows\": {n_rows}, \"rows_per_s\": {:.0}, \"rotate_s\": {rotate_s:.2}, \"open_bytes_per_row\": {:.0}, \
         \"closed_bytes_per_row\": {:.0}, \"dropped\": {}, \"read_s\": {:.2}}}",
        n_rows as f64 / write_s,
        open_bytes as f64 / n_rows as f64,
        closed_bytes as f64 / n_rows as f64,
        journal.health().dropped,
        began.elapsed().as_secs_f64(),
    );
    let quantile = |share: f64| record_us[((n_rows - 1) as f64 * share) as usize];
    println!(
        "{{\"record_us\": {{\"p50\": {:.2}, \"p99\": {:.2}, \"max\": {:.0}}}}}",
        quantile(0.5),
        quantile(0.99),
        quantile(1.0)
    );
}

/// Kills a writer 20 times and counts what is not there: all of it, and what was older than the promise.
fn kills(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let flush_ms = child_settings(folder).flush_ms;
    let (mut n_recorded, mut n_lost, mut n_broken, mut oldest_lost_ms) = (0_usize, 0, 0, 0);
    for kill in 0..N_KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(folder)
            .args(["child", &kill.to_string()])
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(1500 + 83 * kill as u64));
        child.kill().unwrap();
        let killed_ms = now_ms();
        child.wait().unwrap();
        let found = read(&folder.join("journal"));
        assert!(found.values().all(|n| *n == 1), "a row is there twice");
        for line in fs::read_to_string(notes(folder, kill)).unwrap().lines() {
            // The last line may be cut.
            let Some((id, Ok(at_ms))) = line
                .split_once(' ')
                .map(|(id, ms)| (id, ms.trim_end_matches(';').parse()))
            else {
                continue;
            };
            if !line.ends_with(';') {
                continue;
            }
            let at_ms: u64 = at_ms;
            n_recorded += 1;
            if !found.contains_key(id) {
                n_lost += 1;
                let age_ms = killed_ms.saturating_sub(at_ms);
                oldest_lost_ms = oldest_lost_ms.max(age_ms);
                n_broken += usize::from(age_ms > flush_ms);
            }
        }
    }
    println!(
        "{{\"kills\": {N_KILLS}, \"rows_per_s\": {RATE}, \"recorded\": {n_recorded}, \"lost\": {n_lost}, \
         \"flush_ms\": {flush_ms}, \"oldest_lost_ms\": {oldest_lost_ms}, \"older_than_promised\": {n_broken}}}"
    );
}

fn child_settings(folder: &Path) -> Settings {
    Settings {
        // Rotation now and then, so that kills fall into it too.
        rotate_rows: 700,
        ..Settings::new(&folder.join("journal"))
    }
}

fn notes(folder: &Path, kill: usize) -> std::path::PathBuf {
    folder.join(format!("recorded-{kill}"))
}

/// Records [`RATE`] rows a second and notes each with its time; the system has what was written to a file,
/// whatever becomes of the process.
fn write_until_killed(folder: &Path, kill: usize) {
    let journal = Journal::open(&child_settings(folder)).unwrap();
    let mut notes = File::create(notes(folder, kill)).unwrap();
    let began = Instant::now();
    for i in 0.. {
        let due = Duration::from_micros(i * 1_000_000 / RATE);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        let row = row(kill * 1_000_000 + i as usize);
        let note = format!("{} {};\n", row.id, now_ms());
        journal.record(Entry::Served(Box::new(row)));
        notes.write_all(note.as_bytes()).unwrap();
    }
}

/// How often each id is there; everything must be readable.
fn read(folder: &Path) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for part in Reader::open(folder)
        .unwrap()
        .scan(Range::ALL, Parts::default())
        .unwrap()
    {
        let problems = part.read(&mut |row| {
            *found.entry(row.id).or_default() += 1;
            ControlFlow::Continue(())
        });
        assert_eq!(problems, []);
    }
    found
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

fn row(i: usize) -> Served {
    let part = |at: usize| ((i * 7919 + at * 104_729) % 9973) as f32 / 9973.0;
    let tier = |at: usize| Expected {
        tier: ["small", "medium", "large", "reasoner"][at].into(),
        predicted_as: None,
        quality_mean: part(at),
        quality_pmf: (0..21).map(|point| part(point + 30 * at) / 10.0).collect(),
        cost_usd: f64::from(part(at + 5)) / 100.0,
        input_tokens: (i % 3000) as f32,
        output_tokens: 900.0 * part(at + 6),
        latency_p95_ms: Some(4_000.0 * part(at + 7)),
        acceptable: at > i % 3,
        excluded: None,
    };
    Served {
        id: format!("dec_{i:020x}"),
        time_ms: 1_700_000_000_000 + i as i64 * 40,
        endpoint: "chat".into(),
        session: Some(format!("session-{}", i / 8)),
        cohort: format!("cohort-{}", i % 5).into(),
        task: format!("task-{}", i % 12).into(),
        task_is_told: false,
        policy: "meta".into(),
        reason: "cheapest_acceptable".into(),
        rule: None,
        checkpoint: "reference".into(),
        feature_version: 4,
        target: Some(0.8),
        propensity: 1.0,
        chosen: i % 4,
        tiers: (0..4).map(tier).collect(),
        evidence: true,
        overhead_ms: 1.0 + part(1),
        calls: vec![Call {
            tier: "small".into(),
            role: Role::Chosen,
            outcome: "complete".into(),
            error: None,
            input_tokens: (i % 3000) as f64,
            cached_tokens: 0.0,
            output_tokens: (i % 800) as f64,
            is_estimated: false,
            cost_usd: f64::from(part(8)) / 100.0,
            start_ms: 0.0,
            first_token_ms: Some(400.0 * part(9)),
            total_ms: 4_000.0 * part(10),
            estimate: None,
        }],
        answered_by: Some(0),
        prompt_hash: format!("{:032x}", i / 2),
        features: None,
        prompt: None,
        trace: None,
        reply: None,
    }
}
