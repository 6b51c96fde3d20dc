//! A real collector, rotel: it reads what we send as everybody's collector would.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::*;

struct Rotel {
    process: Child,
    url: String,
}

impl Rotel {
    /// The program named by `TIERCAST_ROTEL`, or `rotel-agent`; nothing, with a message, where it is not there; a
    /// failure where `TIERCAST_REQUIRE` names `otlp`. The PyPI package `rotel` holds it: `rotel/rotel-agent`.
    #[expect(clippy::disallowed_methods, reason = "a test asks the environment what it must find")]
    fn start() -> Option<Self> {
        let program = std::env::var("TIERCAST_ROTEL").unwrap_or_else(|_| "rotel-agent".to_owned());
        if Command::new(&program)
            .arg("version")
            .stdout(Stdio::null())
            .status()
            .is_err()
        {
            let is_required =
                std::env::var("TIERCAST_REQUIRE").is_ok_and(|list| list.split(',').any(|part| part == "otlp"));
            assert!(
                !is_required,
                "`{program}` is not there, and TIERCAST_REQUIRE names otlp"
            );
            eprintln!("skipped: `{program}` is not there; TIERCAST_ROTEL names the collector rotel");
            return None;
        }
        // Another process may take a port before the collector does: then others.
        let started = (0..10).find_map(|_| spawn(&program));
        Some(started.expect("two of twenty ports are free"))
    }

    /// What it says of the spans that come, until the last word is said.
    fn output_to(&mut self, last: &'static str) -> String {
        let lines = BufReader::new(self.process.stdout.take().unwrap()).lines();
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut said = String::new();
            for line in lines.map_while(Result::ok) {
                said += &line;
                said.push('\n');
                if line.contains(last) {
                    break;
                }
            }
            sender.send(said)
        });
        output.recv_timeout(LONG).expect("it says what came")
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}

fn free() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Nothing where it ends before it listens.
fn spawn(program: &str) -> Option<Rotel> {
    let (grpc, http) = (free(), free());
    let mut command = Command::new(program);
    command.args(["start", "--otlp-grpc-endpoint", &grpc, "--otlp-http-endpoint", &http]);
    command.args([
        "--exporter",
        "blackhole",
        "--debug-log",
        "traces",
        "--debug-log-verbosity",
        "detailed",
    ]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let url = format!("http://{http}");
    while process.try_wait().unwrap().is_none() {
        if TcpStream::connect(&http).is_ok() {
            return Some(Rotel { process, url });
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

#[test]
fn a_real_collector_reads_the_spans() {
    let Some(mut rotel) = Rotel::start() else {
        return;
    };
    let exporter = exporter(QUICK, &rotel.url, "service_name = 'router-7'\ntimeout_ms = 30000");
    record(&exporter, 1);
    assert_eq!(exporter.close(LONG), healthy(N_SPANS));
    let output = rotel.output_to("chat large-2026");
    println!("{output}");
    for expected in [
        "router-7",
        "POST chat",
        "router.decide",
        "chat large-2026",
        "gen_ai.usage.input_tokens",
    ] {
        assert!(output.contains(expected), "{expected} is not in {output}");
    }
}
