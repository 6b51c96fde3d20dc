//! What a journal costs and keeps. Three JSON lines: rows per second and bytes per row before and after rotation;
//! time that a request spends in `record`; rows lost over 20 `kill -9` under load, against the promise.
//!
//! `load FOLDER [ROWS [RATE [ROTATE_ROWS]]]`: rows a second of the process that is killed (1000), and its open rows
//! that make a segment (700, so that kills fall into rotations too). Rows have four tiers with their distributions and one call; their texts and features
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

/// Noted in place of the id of a row that the journal did not take.
const DROPPED: &str = "dropped";

/// Between two rows of a process that runs there is no more time than this.
const STANDS_STILL_MS: u64 = 10;

/// What the process does that is killed.
#[derive(Clone, Copy)]
struct Load {
    rows_per_s: u64,
    rotate_rows: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(&arguments[0]);
    match arguments.get(1).map(String::as_str) {
        Some("child") => write_until_killed(folder, arguments[2].parse().unwrap(), load(&arguments[3..])),
        n_rows => {
            fs::create_dir_all(folder).unwrap();
            throughput(
                &folder.join("throughput"),
                n_rows.map_or(50_000, |n| n.parse().unwrap()),
            );
            kills(&folder.join("kills"), load(arguments.get(2..).unwrap_or_default()));
        }
    }
}

fn load(arguments: &[String]) -> Load {
    let number = |at: usize, default| arguments.get(at).map_or(default, |n| n.parse().unwrap());
    Load {
        rows_per_s: number(0, 1000),
        rotate_rows: number(1, 700),
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

/// What 20 kills left.
#[derive(Default)]
struct Left {
    n_dropped: usize,
    n_recorded: usize,
    n_lost: usize,
    /// Lost though older than the promise; and the same by the time in which the process ran.
    n_broken: usize,
    n_broken_running: usize,
    oldest_lost_ms: u64,
    oldest_lost_running_ms: u64,
}

/// Kills a writer 20 times and counts what is not there: all of it, and what was older than the promise.
fn kills(folder: &Path, load: Load) {
    fs::create_dir_all(folder).unwrap();
    let flush_ms = child_settings(folder, load).flush_ms;
    let mut left = Left::default();
    for kill in 0..N_KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(folder)
            .args(["child", &kill.to_string()])
            .args([load.rows_per_s.to_string(), load.rotate_rows.to_string()])
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(1500 + 83 * kill as u64));
        child.kill().unwrap();
        let killed_ms = now_ms();
        child.wait().unwrap();
        let found = read(&folder.join("journal"));
        assert!(found.values().all(|n| *n == 1), "a row is there twice");
        let notes = fs::read_to_string(notes(folder, kill)).unwrap();
        left.add(&notes, killed_ms, &found, flush_ms);
    }
    let Load { rows_per_s, .. } = load;
    let Left {
        n_dropped,
        n_recorded,
        n_lost,
        n_broken,
        n_broken_running,
        oldest_lost_ms,
        oldest_lost_running_ms,
    } = left;
    println!(
        "{{\"kills\": {N_KILLS}, \"rows_per_s\": {rows_per_s}, \"dropped\": {n_dropped}, \"recorded\": {n_recorded}, \
         \"lost\": {n_lost}, \"flush_ms\": {flush_ms}, \"oldest_lost_ms\": {oldest_lost_ms}, \
         \"older_than_promised\": {n_broken}, \"oldest_lost_running_ms\": {oldest_lost_running_ms}, \
         \"older_than_promised_running\": {n_broken_running}}}"
    );
}

impl Left {
    /// From the last row to the first. The process stood still where its rows, which are due every ms, are far apart.
    fn add(&mut self, notes: &str, killed_ms: u64, found: &BTreeMap<String, usize>, flush_ms: u64) {
        let (mut later_ms, mut running_ms) = (killed_ms, 0);
        for (id, at_ms) in notes.lines().rev().filter_map(noted) {
            running_ms += later_ms.saturating_sub(at_ms).min(STANDS_STILL_MS);
            later_ms = at_ms;
            if id == DROPPED {
                self.n_dropped += 1;
                continue;
            }
            self.n_recorded += 1;
            if !found.contains_key(id) {
                let age_ms = killed_ms.saturating_sub(at_ms);
                self.n_lost += 1;
                self.n_broken += usize::from(age_ms > flush_ms);
                self.n_broken_running += usize::from(running_ms > flush_ms);
                self.oldest_lost_ms = self.oldest_lost_ms.max(age_ms);
                self.oldest_lost_running_ms = self.oldest_lost_running_ms.max(running_ms);
            }
        }
    }
}

/// Id and time of a row; the last line may be cut.
fn noted(line: &str) -> Option<(&str, u64)> {
    let (id, at_ms) = line.strip_suffix(';')?.split_once(' ')?;
    Some((id, at_ms.parse().ok()?))
}

fn child_settings(folder: &Path, load: Load) -> Settings {
    Settings {
        rotate_rows: load.rotate_rows,
        ..Settings::new(&folder.join("journal"))
    }
}

fn notes(folder: &Path, kill: usize) -> std::path::PathBuf {
    folder.join(format!("recorded-{kill}"))
}

/// Records rows and notes each with its time; the system has what was written to a file, whatever becomes of the
/// process.
fn write_until_killed(folder: &Path, kill: usize, load: Load) {
    let journal = Journal::open(&child_settings(folder, load)).unwrap();
    let mut notes = File::create(notes(folder, kill)).unwrap();
    let mut n_dropped = 0;
    let began = Instant::now();
    for i in 0.. {
        let due = Duration::from_micros(i * 1_000_000 / load.rows_per_s);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        let row = row(kill * 1_000_000 + i as usize);
        let (id, at_ms) = (row.id.clone(), now_ms());
        journal.record(Entry::Served(Box::new(row)));
        let dropped = journal.health().dropped;
        let id = if dropped > n_dropped { DROPPED } else { &id };
        n_dropped = dropped;
        notes.write_all(format!("{id} {at_ms};\n").as_bytes()).unwrap();
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
