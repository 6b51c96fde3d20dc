//! Traces of what was served, to a collector of the test's own and to one that is not there.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::gateway::{Gateway, tier};
use crate::http::Server;
use crate::replay::{Recording, text};

const DEADLINE: Duration = Duration::from_secs(30);
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE_ID: [u8; 16] = [
    0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c,
];

/// Takes every export; the bodies, with the path each was sent to.
fn collector() -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, bodies) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            loop {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if reader.read_until(b'\n', &mut head).unwrap() == 0 {
                        break;
                    }
                }
                let head = String::from_utf8(head).unwrap().to_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let Some(length) = length else { break };
                let mut body = vec![0; length.trim().parse().unwrap()];
                reader.read_exact(&mut body).unwrap();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                if reader.get_mut().write_all(answer).is_err() || sender.send((path, body)).is_err() {
                    break;
                }
            }
        }
    });
    (url, bodies)
}

/// A gateway and what answers behind it.
fn gateway(traces: &str) -> (Gateway, Server) {
    let replay = Recording::small().replay(&["--instant"]);
    let gateway = Gateway::start(&format!("{traces}\n{}", tier("small", replay.url(), "")));
    (gateway, replay)
}

#[test]
fn a_collector_gets_the_decision_and_the_call_under_the_clients_trace() {
    let (url, bodies) = collector();
    let (gateway, _replay) = gateway(&format!("[traces]\nendpoint = \"{url}\""));
    let reply = gateway.chat_with("auto", &text(0), &json!({}), &[("traceparent", PARENT)]);
    assert_eq!(reply.status, 200, "{reply:?}");
    let (path, body) = bodies.recv_timeout(DEADLINE).unwrap();
    assert_eq!(path, "/v1/traces");
    let holds = |part: &[u8]| body.windows(part.len()).any(|window| window == part);
    assert!(holds(&TRACE_ID), "the trace that the client named");
    for name in [
        "router.tier",
        "router.reason",
        "gen_ai.request.model",
        "gen_ai.usage.output_tokens",
        "tiercast",
    ] {
        assert!(holds(name.as_bytes()), "{name}: {}", String::from_utf8_lossy(&body));
    }
    assert!(!holds(text(0).as_bytes()), "no word of a prompt leaves");
}

#[test]
fn a_collector_that_is_down_costs_spans_and_nothing_else() {
    // Nobody listens there.
    let (gateway, _replay) = gateway("[traces]\nendpoint = \"http://127.0.0.1:1\"\nqueue = 1\ntimeout_ms = 200");
    let lost = || {
        let metrics = gateway.server.get("/metrics").text;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("tiercast_spans_dropped_total "));
        line.map_or(0.0, |count| count.parse::<f64>().unwrap())
    };
    let start = Instant::now();
    while lost() == 0.0 {
        for number in 0..10 {
            assert_eq!(gateway.chat("small", &text(number)).status, 200);
        }
        assert!(start.elapsed() < DEADLINE, "no lost span is counted");
        sleep(Duration::from_millis(50));
    }
    assert_eq!(gateway.server.get("/ready").status, 200);
}
