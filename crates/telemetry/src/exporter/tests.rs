use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;

use super::*;
use crate::otlp;
use crate::sample::{SECRET, served, targets, trace};

mod receiver;
mod rotel;

use receiver::{Answer, Receiver, taken, text};

/// Longer than anything takes, also on a machine that is busy.
const LONG: Duration = Duration::from_secs(60);

/// Nobody waits for long in a test.
const QUICK: Pace = Pace {
    gather: Duration::from_millis(1),
    first_pause: Duration::from_millis(1),
    longest_pause: Duration::from_millis(10),
    n_attempts: 3,
};

/// Spans of one sample row.
const N_SPANS: u64 = 4;

fn exporter(pace: Pace, url: &str, more: &str) -> Exporter {
    let settings: Settings = toml::from_str(&format!("endpoint = '{url}'\n{more}")).unwrap();
    Exporter::start_at(pace, &settings, |name| Some(format!("{name} {SECRET}"))).unwrap()
}

fn record(exporter: &Exporter, n_rows: usize) {
    let (row, targets) = (served(), targets());
    for _ in 0..n_rows {
        exporter.record(&row, &targets);
    }
}

/// Waits for what will be so.
fn until(exporter: &Exporter, is_so: impl Fn(&Health) -> bool) -> Health {
    let start = Instant::now();
    loop {
        let health = exporter.health();
        if is_so(&health) {
            return health;
        }
        assert!(start.elapsed() < LONG, "{health:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn healthy(exported: u64) -> Health {
    Health {
        exported,
        ..Health::default()
    }
}

#[test]
fn spans_reach_a_collector() {
    let receiver = Receiver::ready();
    let exporter = exporter(
        QUICK,
        &receiver.url,
        "service_name = 'router-7'\nheaders_env = { authorization = 'KEY' }",
    );
    record(&exporter, 1);
    let posted = receiver.next();
    assert_eq!(posted.path, "/v1/traces");
    assert_eq!(posted.headers["content-type"], "application/x-protobuf");
    assert_eq!(posted.headers["authorization"], format!("KEY {SECRET}"));
    let resource = posted.resource().attributes;
    assert_eq!(resource[0].key, "service.name");
    assert_eq!(
        resource[0].value.clone().unwrap().value,
        Some(Value::StringValue("router-7".to_owned()))
    );
    let spans = posted.spans();
    let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["POST chat", "router.decide", "chat small", "chat large-2026"]);
    assert!(spans.iter().all(|span| span.trace_id == trace().trace_id));
    assert_eq!(spans[0].span_id, trace().span);
    assert_eq!(spans[3].span_id, trace().of_call(1));
    assert_eq!(spans[3].parent_span_id, trace().span);
    assert_eq!(spans[3].flags, 0x101);
    assert_eq!(
        [spans[3].start_time_unix_nano, spans[3].end_time_unix_nano],
        [1_700_000_000_510_000_000, 1_700_000_001_510_000_000]
    );
    assert_eq!(text(&spans[1], "router.policy"), "cascade");
    assert_eq!(text(&spans[3], "gen_ai.request.model"), "large-2026");
    assert_eq!(exporter.close(LONG), healthy(N_SPANS));
}

#[test]
fn all_types_of_values_are_read_as_they_were_meant() {
    let receiver = Receiver::ready();
    let exporter = exporter(QUICK, &receiver.url, "");
    let mut row = served();
    row.calls[0].error = Some("timeout".into());
    exporter.record(&row, &targets());
    let call = receiver.next().spans().remove(2);
    let value = |key: &str| {
        let found = call.attributes.iter().find(|attribute| attribute.key == key);
        found.unwrap().value.clone().unwrap().value.unwrap()
    };
    assert_eq!(value("gen_ai.usage.input_tokens"), Value::IntValue(120));
    assert_eq!(value("router.call.cost_usd"), Value::DoubleValue(0.25));
    assert_eq!(value("router.call.usage_is_estimated"), Value::BoolValue(false));
    assert_eq!(value("error.type"), Value::StringValue("timeout".to_owned()));
    assert_eq!(call.status.as_ref().unwrap().code, 2);
    assert_eq!(call.kind, 3);
}

#[test]
fn no_text_leaves_this_program() {
    let receiver = Receiver::ready();
    let exporter = exporter(QUICK, &receiver.url, "");
    record(&exporter, 1);
    let body = receiver.next().body;
    assert!(!body.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
}

#[test]
fn only_rows_whose_trace_is_kept_are_sent() {
    let receiver = Receiver::ready();
    let exporter = exporter(QUICK, &receiver.url, "sample_ratio = 0");
    let of = |trace| Served { trace, ..served() };
    let begun = exporter.trace(None, || 1);
    let client = exporter.trace(Some(&trace().header_for_call(0)), || 1);
    assert_eq!((begun.sampled, client.sampled), (false, true));
    for trace in [None, Some(begun), Some(client)] {
        exporter.record(&of(trace), &targets());
    }
    assert_eq!(exporter.close(LONG), healthy(N_SPANS));
    assert_eq!(receiver.next().spans()[0].trace_id, trace().trace_id);
    assert!(!receiver.has_more());
}

#[test]
fn rows_go_in_batches_and_closing_sends_the_rest() {
    let receiver = Receiver::ready();
    let patient = Pace { gather: LONG, ..QUICK };
    let exporter = exporter(patient, &receiver.url, "");
    record(&exporter, BATCH + 3);
    assert_eq!(receiver.next().spans().len(), BATCH * 4);
    assert_eq!(exporter.close(LONG), healthy((BATCH as u64 + 3) * N_SPANS));
    assert_eq!(receiver.next().spans().len(), 3 * 4);
    // What comes too late is counted, and nothing else happens.
    record(&exporter, 1);
    assert_eq!(exporter.health().dropped, N_SPANS);
}

#[test]
fn a_collector_that_is_down_costs_spans_alone() {
    // Nobody listens there; a port that was free a moment ago may be another test's.
    let url = "http://127.0.0.1:1";
    let exporter = exporter(QUICK, url, "queue = 10");
    record(&exporter, 1);
    let health = until(&exporter, |health| health.dropped == N_SPANS);
    let said = health.failing.unwrap();
    assert!(said.contains(url) && said.contains("is the collector up"), "{said}");
    record(&exporter, 1_000);
    let health = exporter.close(LONG);
    assert_eq!(
        (health.exported, health.dropped, health.waiting),
        (0, 1_001 * N_SPANS, 0)
    );
}

#[test]
fn a_batch_waits_for_a_collector_that_comes_back() {
    let receiver = Receiver::start(|n| match n {
        0 => Answer::Status(503, "", Vec::new()),
        1 => Answer::HangUp,
        _ => taken(),
    });
    let exporter = exporter(QUICK, &receiver.url, "");
    record(&exporter, 1);
    until(&exporter, |health| *health == healthy(N_SPANS));
    let bodies = [receiver.next().body, receiver.next().body, receiver.next().body];
    assert!(bodies[0] == bodies[1] && bodies[1] == bodies[2]);
}

#[test]
fn a_collector_that_asks_to_wait_is_asked_again_but_not_for_ever() {
    let receiver = Receiver::start(|_| Answer::Status(429, "Retry-After: 3600\r\n", Vec::new()));
    // The pause that it asks for is cut to the longest.
    let exporter = exporter(QUICK, &receiver.url, "");
    record(&exporter, 1);
    let health = until(&exporter, |health| health.dropped == N_SPANS);
    assert!(health.failing.unwrap().contains("answered 429"));
    for _ in 0..QUICK.n_attempts {
        receiver.next();
    }
    assert!(!receiver.has_more());
}

#[test]
fn a_pause_ends_when_the_exporter_closes() {
    let receiver = Receiver::start(|_| Answer::Status(429, "", Vec::new()));
    let patient = Pace {
        first_pause: LONG,
        longest_pause: LONG,
        ..QUICK
    };
    let exporter = exporter(patient, &receiver.url, "");
    record(&exporter, 1);
    receiver.next();
    let start = Instant::now();
    assert_eq!(exporter.close(LONG).dropped, N_SPANS);
    assert!(start.elapsed() < LONG);
    receiver.next();
    assert!(!receiver.has_more());
}

#[test]
fn a_request_that_is_refused_is_not_sent_again() {
    for (status, mend) in [
        (500, "answered 500"),
        (400, "answered 400"),
        (401, "`headers_env`"),
        (404, "`endpoint`"),
    ] {
        let receiver = Receiver::start(move |n| match n {
            0 => Answer::Status(status, "", b"no".to_vec()),
            _ => taken(),
        });
        let exporter = exporter(QUICK, &receiver.url, "");
        record(&exporter, 1);
        let health = until(&exporter, |health| health.dropped == N_SPANS);
        let said = health.failing.unwrap();
        assert!(said.contains(mend), "{said}");
        // The next batch has its own luck.
        record(&exporter, 1);
        let health = until(&exporter, |health| health.exported == N_SPANS);
        assert_eq!((health.dropped, health.failing), (N_SPANS, None));
        receiver.next();
        receiver.next();
        assert!(!receiver.has_more());
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::ready();
    let location = format!("Location: {}/v1/traces\r\n", elsewhere.url).leak();
    for status in [302, 307] {
        let location: &'static str = location;
        let receiver = Receiver::start(move |_| Answer::Status(status, location, Vec::new()));
        let exporter = exporter(QUICK, &receiver.url, "headers_env = { authorization = 'KEY' }");
        record(&exporter, 1);
        let said = until(&exporter, |health| health.dropped == N_SPANS).failing.unwrap();
        assert!(said.contains(&format!("answered {status}")), "{said}");
    }
    assert!(!elsewhere.has_more());
}

#[test]
fn a_collector_that_never_answers_is_given_up() {
    let receiver = Receiver::start(|_| Answer::Silence);
    let exporter = exporter(QUICK, &receiver.url, "timeout_ms = 50\nqueue = 2");
    record(&exporter, 1);
    until(&exporter, |health| health.waiting == 0);
    // Two wait, whatever else comes is too much.
    record(&exporter, 10);
    let health = until(&exporter, |health| health.failing.is_some());
    assert!(health.waiting <= 2);
    assert!(health.failing.unwrap().contains("timeout"));
    let health = exporter.close(LONG);
    assert_eq!((health.exported, health.dropped, health.waiting), (0, 11 * N_SPANS, 0));
}

#[test]
fn closing_waits_no_longer_than_it_may() {
    let receiver = Receiver::start(|_| Answer::Silence);
    let exporter = exporter(QUICK, &receiver.url, "timeout_ms = 60000");
    record(&exporter, 1);
    receiver.next();
    record(&exporter, 5);
    let start = Instant::now();
    let health = exporter.close(Duration::from_millis(20));
    assert!(start.elapsed() < LONG);
    // The one that is under way is nobody's yet.
    assert_eq!((health.dropped, health.waiting), (5 * N_SPANS, 0));
}

#[test]
fn spans_that_a_collector_rejects_are_counted() {
    let partial = |rejected_spans, error_message: &str| {
        let partial_success = Some(otlp::PartialSuccess {
            rejected_spans,
            error_message: error_message.to_owned(),
        });
        otlp::Response { partial_success }.encode_to_vec()
    };
    let rejecting = partial(3, "too\nold");
    let warning = partial(0, "nearly full");
    let receiver = Receiver::start(move |n| match n {
        0 => Answer::Status(200, "", rejecting.clone()),
        1 => Answer::Status(200, "", warning.clone()),
        // Some collectors answer with JSON whatever they were sent.
        _ => Answer::Status(200, "", b"{\"partialSuccess\":{}}".to_vec()),
    });
    let exporter = exporter(QUICK, &receiver.url, "");
    let after_one_more = |n_over| {
        record(&exporter, 1);
        until(&exporter, |health| health.exported + health.dropped == n_over)
    };
    let health = after_one_more(4);
    assert_eq!((health.exported, health.dropped), (1, 3));
    assert_eq!(
        health.failing.as_deref(),
        Some("the collector rejected 3 spans: tooold")
    );
    assert_eq!(after_one_more(8).dropped, 3);
    assert_eq!(after_one_more(12).dropped, 3);
    assert_eq!(exporter.close(LONG).failing, None);
}

#[test]
fn tls_is_set_up_and_told_of_where_it_fails() {
    let receiver = Receiver::ready();
    let url = receiver.url.replace("http://", "https://");
    let exporter = exporter(QUICK, &url, "timeout_ms = 1000");
    record(&exporter, 1);
    let said = until(&exporter, |health| health.dropped == N_SPANS).failing.unwrap();
    assert!(said.contains(&url), "{said}");
}

#[test]
fn settings_that_name_no_variable_start_nothing() {
    let settings: Settings = toml::from_str("endpoint = 'http://host'\nheaders_env = { key = 'NAME' }").unwrap();
    let said = Exporter::start(&settings, |_| None).unwrap_err().to_string();
    assert!(said.contains("NAME"), "{said}");
}
