//! The router without a socket. The forecaster is ours: three tiers of quality .9/.8/.6, and an
//! ask of `panic` or `wait` does what it says.

use std::sync::mpsc::{Receiver, Sender, channel};

use axum::http::request::Builder;
use tiercast_observation::drift::{self, Monitor};
use tiercast_predictor::checkpoint::ServiceLevels;
use tiercast_records::features::Features;
use tiercast_routing::catalog::{Capabilities, Catalog, Tier};
use tiercast_routing::decide::Forecast;
use tiercast_routing::distribution::QualityDistribution;
use tiercast_routing::evidence::{Assessment, Evidence};
use tower::ServiceExt;

use super::*;

mod upstreams;
use tiercast_upstream::client::Client;

use crate::observer::Watch;
use crate::serving::Checkpoint;
use crate::settings::Settings;
use crate::state::Parts;
use crate::worker::{Forecasted, Forecaster};

fn catalog() -> Catalog {
    let tier = |name: &str, class, price, seconds| Tier {
        name: name.to_owned(),
        class,
        input_usd_per_mtok: price,
        output_usd_per_mtok: price,
        cached_input_usd_per_mtok: None,
        context_window: Some(100_000),
        capabilities: Capabilities::default(),
        latency_p95_s: seconds,
    };
    let tiers = [
        ("large", 1, 30.0, Some(3.0)),
        ("mid", 2, 20.0, Some(1.0)),
        ("small", 3, 10.0, None),
    ];
    Catalog::new(
        tiers
            .map(|(name, class, price, seconds)| tier(name, class, price, seconds))
            .to_vec(),
    )
    .unwrap()
}

fn assessment(sufficient: bool) -> Assessment {
    let evidence = Evidence {
        similarity: 0.8,
        spread: 0.01,
        doubt: 0.4,
        sufficient,
    };
    Assessment {
        forecasts: forecasts(),
        evidence,
        enough: None,
        task: None,
    }
}

fn forecasts() -> Vec<Forecast> {
    let qualities = [0.9, 0.8, 0.6];
    let forecast = |(tier, quality): (&Tier, f64)| Forecast {
        quality: QualityDistribution::two_point(quality),
        input_tokens: 100.0,
        ask_input_tokens: 100.0,
        output_tokens: 100.0,
        cost_usd: tier.cost_usd(100.0, 100.0),
        ask_cost_usd: tier.cost_usd(100.0, 100.0),
        latency_p95_s: tier.latency_p95_s,
    };
    catalog().tiers().iter().zip(qualities).map(forecast).collect()
}

/// Tells when a `wait` has begun, and lets it go on.
struct Gate {
    begun: Receiver<()>,
    go_on: Sender<()>,
}

fn forecaster() -> (Forecaster, Gate) {
    let ((say_begun, begun), (go_on, wait)) = (channel(), channel());
    let forecaster = move |request: &Ask| {
        match request.ask.as_str() {
            "panic" => panic!("asked to"),
            "wait" => {
                say_begun.send(()).unwrap();
                wait.recv().unwrap();
            }
            _ => {}
        }
        Forecasted {
            assessment: assessment(!request.ask.trim().is_empty()),
            features: Features::default(),
        }
    };
    (Box::new(forecaster), Gate { begun, go_on })
}

fn state_of(settings: &str) -> (Arc<State>, Gate) {
    let (forecaster, gate) = forecaster();
    (State::new(parts(settings, forecaster)).unwrap(), gate)
}

pub(super) fn parts(settings: &str, forecaster: Forecaster) -> Parts {
    Parts {
        checkpoint: Checkpoint {
            id: "test".to_owned(),
            catalog: catalog(),
            service_levels: ServiceLevels { auto: 0.75, cheap: 0.5 },
            certificate: None,
            cascade: None,
            tasks: Vec::new(),
            feature_version: 1,
        },
        settings: Settings::parse(settings).unwrap(),
        forecasters: vec![forecaster],
        client: Client::new().unwrap(),
        budgets: None,
        answers: None,
        env: Box::new(|_| None),
        source: None,
        watch: Watch::without_journal(Monitor::new(None, drift::Settings::default()).unwrap()).unwrap(),
    }
}

fn state() -> Arc<State> {
    state_of("cohorts = [\"gold\"]").0
}

fn post_route(headers: &[(&str, &str)]) -> Builder {
    headers
        .iter()
        .fold(Request::post("/v1/route"), |builder, (name, value)| {
            builder.header(*name, *value)
        })
}

fn chat(model: Option<&str>, ask: &str) -> Body {
    let mut body = json!({ "messages": [{ "role": "user", "content": ask }] });
    if let Some(model) = model {
        body["model"] = json!(model);
    }
    Body::from(body.to_string())
}

async fn send(state: &Arc<State>, request: Request) -> Response {
    app(Arc::clone(state)).oneshot(request).await.unwrap()
}

async fn text_of(response: Response) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn json_of(response: Response) -> Value {
    serde_json::from_str(&text_of(response).await).unwrap()
}

async fn get_path(state: &Arc<State>, path: &str) -> Response {
    send(state, Request::get(path).body(Body::empty()).unwrap()).await
}

/// Sends a plain ask and compares tier and reason.
async fn decides(model: Option<&str>, headers: &[(&str, &str)], tier: &str, reason: &str) -> Value {
    let response = send(&state(), post_route(headers).body(chat(model, "hello")).unwrap()).await;
    let (status, head) = (response.status(), response.headers().clone());
    let answer = json_of(response).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(
        (&answer["decision"]["tier"], &answer["decision"]["reason"]),
        (&json!(tier), &json!(reason)),
        "{headers:?}"
    );
    assert_eq!(head["x-tiercast-tier"], tier);
    answer
}

/// Sends a request that is refused, and looks for all `parts` in the message.
async fn refused(state: &Arc<State>, request: Request, status: u16, code: &str, parts: &[&str]) -> Value {
    let response = send(state, request).await;
    let got = response.status().as_u16();
    let mut body = json_of(response).await;
    let error = body["error"].take();
    assert_eq!((got, &error["code"]), (status, &json!(code)), "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    error
}

async fn bad_header(name: &str, value: &str, mend: &str) {
    let request = post_route(&[(name, value)]).body(chat(None, "hello")).unwrap();
    let error = refused(&state(), request, 400, "invalid_header", &[name, value, mend]).await;
    assert_eq!(error["param"], name);
}

#[tokio::test]
async fn model_names() {
    decides(None, &[], "mid", "cheapest_acceptable").await;
    decides(Some("auto"), &[], "mid", "cheapest_acceptable").await;
    decides(Some("auto:cheap"), &[], "small", "cheapest_acceptable").await;
    decides(Some("auto:best"), &[], "large", "highest_quality").await;
    decides(Some("auto:fast"), &[], "mid", "fastest_acceptable").await;
    decides(Some("auto:q=0.85"), &[], "large", "cheapest_acceptable").await;
    decides(Some("auto:q=0.95"), &[], "large", "none_acceptable").await;
    let fixed = decides(Some("small"), &[], "small", "named_by_caller").await;
    assert_eq!(fixed["decision"]["policy"], "fixed");
    assert_eq!(
        fixed["decision"]["objective"],
        json!({ "kind": "fixed", "tier": "small" })
    );
}

#[tokio::test]
async fn names_that_are_no_model() {
    let request = |model| post_route(&[]).body(chat(Some(model), "hello")).unwrap();
    let known = ["auto:cheap", "large, mid, small"];
    refused(&state(), request("gpt-9"), 404, "model_not_found", &known).await;
    refused(&state(), request("auto:"), 404, "model_not_found", &known).await;
    for floor in ["auto:q=1.5", "auto:q=", "auto:q=NaN", "auto:q=-0.1"] {
        refused(&state(), request(floor), 400, "invalid_quality", &[floor, "0 to 1"]).await;
    }
}

#[tokio::test]
async fn header_dials() {
    decides(None, &[("x-tiercast-quality", "0.55")], "small", "cheapest_acceptable").await;
    let level = [("x-tiercast-quality", "0.5"), ("x-tiercast-confidence", "0.85")];
    let answer = decides(None, &level, "large", "cheapest_acceptable").await;
    assert_eq!(
        answer["decision"]["objective"],
        json!({ "kind": "cheapest", "target": 0.5, "confidence": 0.85 })
    );
    assert_eq!(answer["tiers"][1]["quality_p_at_least_target"], 0.8);
    decides(
        Some("auto:fast"),
        &[("x-tiercast-quality", "0.85")],
        "large",
        "fastest_acceptable",
    )
    .await;
    let spelled = [("x-tiercast-quality", "0.55")];
    decides(Some("auto:q=0.55"), &spelled, "small", "cheapest_acceptable").await;
    let answer = decides(
        None,
        &[("x-tiercast-exclude", "mid, small")],
        "large",
        "cheapest_acceptable",
    )
    .await;
    assert_eq!(
        answer["decision"]["excluded"][0],
        json!({ "tier": "mid", "why": "by_caller" })
    );
    decides(
        None,
        &[("x-tiercast-max-cost-usd", "0.0025")],
        "small",
        "none_acceptable",
    )
    .await;
    decides(
        Some("auto:best"),
        &[("x-tiercast-latency-ms", "2000")],
        "mid",
        "highest_quality",
    )
    .await;
    let patient = [("x-tiercast-latency-ms", "2000"), ("x-tiercast-mode", "async")];
    decides(Some("auto:best"), &patient, "large", "highest_quality").await;
    decides(None, &[("x-tiercast-policy", "meta")], "mid", "cheapest_acceptable").await;
    for model in [None, Some("small")] {
        decides(
            model,
            &[("x-tiercast-policy", "fixed:small")],
            "small",
            "named_by_caller",
        )
        .await;
    }
    let answer = decides(None, &[("x-tiercast-debug", "1")], "mid", "cheapest_acceptable").await;
    assert_eq!(answer["debug"]["ask_bytes"], 5);
}

#[tokio::test]
async fn headers_that_contradict_the_model_or_one_another_are_refused_by_both_names() {
    for (model, headers, parts) in [
        (
            "small",
            [("x-tiercast-policy", "rules"); 1].as_slice(),
            ["x-tiercast-policy", "`small`"],
        ),
        (
            "small",
            &[("x-tiercast-policy", "fixed:large")],
            ["x-tiercast-policy", "`small`"],
        ),
        (
            "small",
            &[("x-tiercast-quality", "0.9")],
            ["x-tiercast-quality", "`small`"],
        ),
        (
            "auto:best",
            &[("x-tiercast-quality", "0.1")],
            ["x-tiercast-quality", "`auto:best`"],
        ),
        (
            "auto:best",
            &[("x-tiercast-policy", "fixed:small")],
            ["x-tiercast-policy", "`auto:best`"],
        ),
        (
            "auto:cheap",
            &[("x-tiercast-policy", "cascade")],
            ["x-tiercast-policy", "`auto:cheap`"],
        ),
        (
            "auto:q=0.8",
            &[("x-tiercast-quality", "0.7")],
            ["x-tiercast-quality", "`auto:q=0.8`"],
        ),
        (
            "auto",
            &[("x-tiercast-policy", "fixed:small"), ("x-tiercast-quality", "0.9")],
            ["x-tiercast-quality", "`x-tiercast-policy`"],
        ),
    ] {
        let request = post_route(headers).body(chat(Some(model), "hello")).unwrap();
        refused(&state(), request, 400, "invalid_header", &parts).await;
    }
    let digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"; // of "secret"
    let (keyed, _gate) = state_of(&format!("[keys.a]\nsha256 = \"{digest}\""));
    for (key, status) in [("secret", 200), ("hush", 400)] {
        let headers = [("authorization", "Bearer secret"), ("x-api-key", key)];
        let request = post_route(&headers).body(chat(None, "hello")).unwrap();
        let response = send(&keyed, request).await;
        assert_eq!(response.status().as_u16(), status);
        let text = text_of(response).await;
        assert!(
            status == 200 || text.contains("`authorization`") && !text.contains("hush"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn bad_headers_name_header_value_and_mend() {
    for name in ["x-tiercast-quality", "x-tiercast-confidence"] {
        bad_header(name, "high", "a number from 0 to 1").await;
        bad_header(name, "1.01", "a number from 0 to 1").await;
        bad_header(name, "NaN", "a number from 0 to 1").await;
    }
    bad_header("x-tiercast-confidence", "0.9", "send x-tiercast-quality with it").await;
    bad_header("x-tiercast-exclude", "tiny", "large, mid, small").await;
    bad_header("x-tiercast-max-cost-usd", "-1", "US dollars").await;
    bad_header("x-tiercast-max-cost-usd", "inf", "US dollars").await;
    bad_header("x-tiercast-latency-ms", "0", "milliseconds").await;
    bad_header("x-tiercast-mode", "batch", "`sync` or `async`").await;
    bad_header("x-tiercast-policy", "magic", "meta, rules, classifier").await;
    bad_header("x-tiercast-policy", "fixed:tiny", "large, mid, small").await;
    bad_header("x-tiercast-debug", "yes", "`1` or `0`").await;
    let twice = post_route(&[("x-tiercast-quality", "0.1"), ("x-tiercast-quality", "0.9")]);
    let request = twice.body(chat(None, "hello")).unwrap();
    refused(
        &state(),
        request,
        400,
        "invalid_header",
        &["x-tiercast-quality", "more than once"],
    )
    .await;
}

#[tokio::test]
async fn the_answer_has_decision_tiers_and_headers() {
    let response = send(&state(), post_route(&[]).body(chat(None, "hello")).unwrap()).await;
    let head = response.headers().clone();
    let answer = json_of(response).await;
    let decision = &answer["decision"];
    assert_eq!(decision["ranked"], json!(["mid", "large", "small"]));
    assert_eq!(
        (&decision["checkpoint"], &decision["policy"]),
        (&json!("test"), &json!("meta"))
    );
    assert_eq!(
        (&decision["tier_class"], &decision["propensity"]),
        (&json!(2), &json!(1.0))
    );
    assert_eq!(decision["latency_ms"], 1000.0);
    assert_eq!(head["x-tiercast-decision-id"], decision["id"].as_str().unwrap());
    assert_eq!(head["x-tiercast-quality"], "0.8000");
    assert_eq!(head["x-tiercast-cost-usd"], "0.00400000");
    assert_eq!(head["x-tiercast-reason"], "cheapest_acceptable");
    for name in ["x-tiercast-policy", "x-tiercast-overhead-ms", "x-tiercast-checkpoint"] {
        assert!(head.contains_key(name), "{name}");
    }
    let tiers = answer["tiers"].as_array().unwrap();
    assert_eq!(tiers.len(), 3);
    for tier in tiers {
        let list = |key: &str| {
            tier[key]
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_f64().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(list("quality_grid").len(), 21);
        assert!((list("quality_pmf").iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
    assert_eq!(
        (&tiers[2]["acceptable"], &tiers[2]["latency_ms"]),
        (&json!(false), &Value::Null)
    );
    assert!(answer["overhead_ms"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn decision_ids_differ() {
    let state = state();
    assert_ne!(state.next_id(), state.next_id());
    assert_ne!(state.next_id(), self::state().next_id());
}

#[tokio::test]
async fn bodies_that_will_not_do() {
    let state = state();
    let post = |body: Body| post_route(&[]).body(body).unwrap();
    refused(
        &state,
        post(Body::from(vec![0xff, 0xfe, b'{'])),
        400,
        "invalid_body",
        &[],
    )
    .await;
    refused(&state, post(Body::from("hello")), 400, "invalid_body", &[]).await;
    refused(&state, post(Body::empty()), 400, "invalid_body", &[]).await;
    refused(
        &state,
        post(Body::from("{\"messages\": []}")),
        400,
        "invalid_body",
        &["messages"],
    )
    .await;
    let five_mb = chat(None, &"x".repeat(5_000_000));
    refused(
        &state,
        post(five_mb),
        413,
        "body_too_large",
        &["4194304", "body_limit_bytes"],
    )
    .await;
}

#[tokio::test]
async fn a_wrong_content_type_is_tolerated() {
    let request = post_route(&[("content-type", "text/plain")])
        .body(chat(None, "hello"))
        .unwrap();
    assert_eq!(send(&state(), request).await.status(), StatusCode::OK);
}

fn with_image() -> Body {
    let content = json!([
        { "type": "text", "text": "what is this?" },
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } },
    ]);
    Body::from(json!({ "messages": [{ "role": "user", "content": content }] }).to_string())
}

#[tokio::test]
async fn an_image_needs_a_tier_that_reads_images() {
    let parts = [
        "large: reads no images",
        "small: reads no images",
        "declare capabilities in tiercast.toml",
    ];
    let request = post_route(&[]).body(with_image()).unwrap();
    refused(&state(), request, 422, "no_tier_fits", &parts).await;
    let (seeing, _gate) = state_of("[tiers.large.capabilities]\nvision = true");
    let response = send(&seeing, post_route(&[]).body(with_image()).unwrap()).await;
    assert_eq!(json_of(response).await["decision"]["tier"], "large");
}

#[tokio::test]
async fn a_named_tier_that_does_not_fit_is_not_replaced() {
    let request = post_route(&[("x-tiercast-exclude", "small")])
        .body(chat(Some("small"), "hello"))
        .unwrap();
    let parts = ["tier `small`", "x-tiercast-exclude", "exclude fewer tiers"];
    refused(&state(), request, 422, "no_tier_fits", &parts).await;
}

#[tokio::test]
async fn an_ask_without_text_goes_to_the_safe_tier() {
    for (settings, tier) in [("", "large"), ("safe_tier = \"mid\"", "mid")] {
        let (state, _gate) = state_of(settings);
        let response = send(&state, post_route(&[]).body(chat(Some("auto:cheap"), " ")).unwrap()).await;
        let decision = json_of(response).await["decision"].take();
        assert_eq!(
            (&decision["tier"], &decision["reason"]),
            (&json!(tier), &json!("insufficient_evidence"))
        );
    }
}

#[tokio::test]
async fn a_full_queue_is_429_and_health_stays_green() {
    let (state, gate) = state_of("queue_capacity = 1");
    let working = state.worker.submit(Ask::of_text("wait")).unwrap();
    gate.begun.recv().unwrap();
    let waiting = state.worker.submit(Ask::of_text("hello")).unwrap();
    let response = send(&state, post_route(&[]).body(chat(None, "hello")).unwrap()).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    let error = json_of(response).await["error"].take();
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("rate_limit_error"), &json!("overloaded"))
    );
    assert_eq!(get_path(&state, "/health").await.status(), StatusCode::OK);
    assert_eq!(get_path(&state, "/ready").await.status(), StatusCode::OK);
    let metrics = text_of(get_path(&state, "/metrics").await).await;
    assert!(metrics.contains("tiercast_queue_rejections_total 1"), "{metrics}");
    assert!(metrics.contains("tiercast_queue_depth 1"), "{metrics}");
    gate.go_on.send(()).unwrap();
    assert!(working.await.is_ok() && waiting.await.is_ok());
}

#[tokio::test]
async fn too_many_under_way_is_429() {
    let (state, _gate) = state_of("max_concurrency = 1");
    let permit = state.permits.acquire().await.unwrap();
    let request = post_route(&[]).body(chat(None, "hello")).unwrap();
    refused(&state, request, 429, "overloaded", &["max_concurrency"]).await;
    assert_eq!(get_path(&state, "/health").await.status(), StatusCode::OK);
    drop(permit);
    assert_eq!(get_path(&state, "/v1/models").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_503() {
    let (state, gate) = state_of("request_timeout_ms = 1");
    let request = post_route(&[]).body(chat(None, "wait")).unwrap();
    refused(&state, request, 503, "timeout", &["1 ms", "request_timeout_ms"]).await;
    drop(gate);
}

#[tokio::test]
async fn a_panic_fails_one_request() {
    let state = state();
    let request = |ask| post_route(&[]).body(chat(None, ask)).unwrap();
    refused(&state, request("panic"), 500, "prediction_failed", &[]).await;
    assert_eq!(send(&state, request("hello")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn unknown_paths_and_methods() {
    let state = state();
    let request = |method: Method, path: &str| Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    refused(
        &state,
        request(Method::GET, "/v2/route"),
        404,
        "not_found",
        &["/v2/route"],
    )
    .await;
    refused(
        &state,
        request(Method::GET, "/v1/route"),
        405,
        "method_not_allowed",
        &["GET"],
    )
    .await;
    refused(
        &state,
        request(Method::POST, "/health"),
        405,
        "method_not_allowed",
        &["POST"],
    )
    .await;
    assert_eq!(
        send(&state, request(Method::GET, "/v1/route")).await.headers()[header::ALLOW],
        "POST"
    );
    let metrics = text_of(get_path(&state, "/metrics").await).await;
    assert!(
        metrics.contains("tiercast_requests_total{path=\"other\",status=\"404\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn metrics_count_requests_and_decisions() {
    let state = state();
    for cohort in ["gold", "gold", "from anywhere"] {
        let request = post_route(&[("x-tiercast-cohort", cohort)])
            .body(chat(None, "hello"))
            .unwrap();
        assert_eq!(send(&state, request).await.status(), StatusCode::OK);
    }
    let metrics = text_of(get_path(&state, "/metrics").await).await;
    let decisions = |cohort| {
        format!(
            "tiercast_decisions_total{{tier=\"mid\",reason=\"cheapest_acceptable\",policy=\"meta\",cohort=\"{cohort}\"}}"
        )
    };
    for line in [
        "tiercast_requests_total{path=\"/v1/route\",status=\"200\"} 3".to_owned(),
        format!("{} 2", decisions("gold")),
        format!("{} 1", decisions("other")),
        "tiercast_decision_seconds_count 3".to_owned(),
        "tiercast_predicted_quality_bucket{tier=\"mid\",le=\"0.8\"} 3".to_owned(),
        "tiercast_queue_rejections_total 0".to_owned(),
        "tiercast_queue_depth 0".to_owned(),
    ] {
        assert!(metrics.contains(&line), "no `{line}` in\n{metrics}");
    }
}

#[tokio::test]
async fn models_are_tiers_and_virtual_names() {
    let list = json_of(get_path(&state(), "/v1/models").await).await;
    assert_eq!(list["object"], "list");
    let named = |is_virtual: bool| -> Vec<&str> {
        let data = list["data"].as_array().unwrap().iter();
        data.filter(|model| model["virtual"] == is_virtual)
            .map(|model| model["id"].as_str().unwrap())
            .collect()
    };
    assert_eq!(named(true), ["auto", "auto:cheap", "auto:best", "auto:fast"]);
    assert_eq!(named(false), ["large", "mid", "small"]);
}

#[tokio::test]
async fn ready_once_a_forecast_has_come_back() {
    let (go_on, wait) = channel::<()>();
    let slow: Forecaster = Box::new(move |_| {
        wait.recv().unwrap();
        Forecasted {
            assessment: assessment(true),
            features: Features::default(),
        }
    });
    let state = State::new(parts("", slow)).unwrap();
    assert_eq!(
        get_path(&state, "/ready").await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(get_path(&state, "/health").await.status(), StatusCode::OK);
    // One for the warm-up, one for the request behind it.
    go_on.send(()).unwrap();
    go_on.send(()).unwrap();
    let request = post_route(&[]).body(chat(None, "hello")).unwrap();
    assert_eq!(send(&state, request).await.status(), StatusCode::OK);
    assert_eq!(get_path(&state, "/ready").await.status(), StatusCode::OK);
    state.start_draining();
    assert_eq!(
        get_path(&state, "/ready").await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(get_path(&state, "/health").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn draining_answers_what_is_queued() {
    let (state, gate) = state_of("");
    let jobs = ["wait", "hello", "hello"].map(|ask| state.worker.submit(Ask::of_text(ask)).unwrap());
    gate.begun.recv().unwrap();
    gate.go_on.send(()).unwrap();
    let drained = Arc::clone(&state);
    tokio::task::spawn_blocking(move || drained.drain()).await.unwrap();
    for job in jobs {
        assert_eq!(job.await.unwrap().assessment.forecasts.len(), 3);
    }
    let request = post_route(&[]).body(chat(None, "hello")).unwrap();
    refused(&state, request, 503, "shutting_down", &[]).await;
}

#[tokio::test]
async fn a_cohort_gets_its_service_level_where_a_request_says_nothing() {
    let settings = "cohorts = [\"gold\", \"fast\"]\n[service_levels.gold]\nquality = 0.85\n\
                    [service_levels.fast]\nquality = 0.5\nconfidence = 0.7\nlatency_ms = 2000";
    let (state, _gate) = state_of(settings);
    for (model, headers, tier) in [
        (None, &[("x-tiercast-cohort", "gold")][..], "large"),
        (Some("auto:cheap"), &[("x-tiercast-cohort", "gold")], "small"),
        (
            None,
            &[("x-tiercast-cohort", "gold"), ("x-tiercast-quality", "0.5")],
            "small",
        ),
        (None, &[("x-tiercast-cohort", "fast")], "mid"),
        (Some("auto:best"), &[("x-tiercast-cohort", "fast")], "mid"),
        (
            Some("auto:best"),
            &[("x-tiercast-cohort", "fast"), ("x-tiercast-mode", "async")],
            "large",
        ),
        (None, &[("x-tiercast-cohort", "who")], "mid"),
    ] {
        let response = send(&state, post_route(headers).body(chat(model, "hello")).unwrap()).await;
        assert_eq!(response.headers()["x-tiercast-tier"], tier, "{model:?} {headers:?}");
    }
}

#[tokio::test]
async fn live_latency_outranks_what_was_configured() {
    let state = state();
    let within = [("x-tiercast-latency-ms", "2000")];
    let tier = async |state: &Arc<State>, is_streamed: bool| {
        let mut body = json!({ "model": "auto:best", "messages": [{ "role": "user", "content": "hello" }] });
        body["stream"] = json!(is_streamed);
        let request = post_route(&within).body(Body::from(body.to_string())).unwrap();
        let response = send(state, request).await;
        response.headers()["x-tiercast-tier"].to_str().unwrap().to_owned()
    };
    assert_eq!(tier(&state, false).await, "mid", "3 s are configured for large");
    for _ in 0..crate::latency::LEAST_CALLS {
        state.latencies.record("large", Wait::FirstToken, 0.5, Instant::now());
    }
    assert_eq!(tier(&state, true).await, "large", "a stream is judged by its beginning");
    assert_eq!(tier(&state, false).await, "mid", "a whole reply by its end");
}

#[tokio::test]
async fn a_panic_is_one_requests_500() {
    let state = state();
    let request = post_route(&[]).body(chat(None, "panic")).unwrap();
    refused(&state, request, 500, "prediction_failed", &["others are served"]).await;
    decides(None, &[], "mid", "cheapest_acceptable").await;
}

/// Over a real socket: a shutdown waits for the request under way, then the port is closed.
#[tokio::test]
async fn shutdown_waits_for_the_request_under_way() {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    let (state, gate) = state_of("");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(crate::server::run(
        listener,
        state,
        async move { stopped.await.unwrap() },
    ));
    let client = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let body = "{\"messages\":[{\"role\":\"user\",\"content\":\"wait\"}]}";
        write!(
            stream,
            "POST /v1/route HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let go_on = tokio::task::spawn_blocking(move || {
        gate.begun.recv().unwrap();
        gate.go_on
    });
    let go_on = go_on.await.unwrap();
    stop.send(()).unwrap();
    go_on.send(()).unwrap();
    let answer = client.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    serving.await.unwrap();
    assert!(TcpStream::connect(address).is_err());
}
