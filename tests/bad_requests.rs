//! Requests that are wrong: OpenAI's error shape, the right status, and the server goes on.

use serde_json::json;

use crate::fixture::Fixture;
use crate::http::{Server, ask};

/// A word that no log may hold.
const SECRET: &str = "xylophonist";

#[test]
fn bad_requests_are_refused_and_the_server_goes_on() {
    let data = Fixture::trained();
    let mut server = Server::start(&data.at("checkpoint"));
    let before = server.route(&ask(SECRET)).json()["tiers"].clone();
    let check = |case: &str, body: &[u8], status: u16, parts: &[&str]| {
        server.post("/v1/route", body).refused(case, status, parts);
        assert_eq!(server.route(&ask(SECRET)).json()["tiers"], before, "after {case}");
    };
    let secret = format!("{{\"messages\": [{{\"role\": \"user\", \"content\": \"{SECRET}");
    check("no JSON", b"What is 17 x 23?", 400, &["not valid JSON", "line 1"]);
    check("empty", b"", 400, &["not valid JSON"]);
    check(
        "cut short",
        secret.as_bytes(),
        400,
        &["not valid JSON", "line 1 column"],
    );
    check("a list", b"[]", 400, &["the body", "messages"]);
    check("no messages", b"{}", 400, &["`messages` must be"]);
    check("empty messages", br#"{"messages": []}"#, 400, &["`messages` must be"]);
    check(
        "no user",
        br#"{"messages": [{"role": "system", "content": "x"}]}"#,
        400,
        &["no message of the user"],
    );
    check(
        "a role",
        br#"{"messages": [{"role": "king", "content": "x"}]}"#,
        400,
        &["messages[0].role", "one of"],
    );
    check(
        "content",
        br#"{"messages": [{"role": "user", "content": 3}]}"#,
        400,
        &["messages[0].content"],
    );
    check(
        "UTF-8",
        &[secret.as_bytes(), &[0xff]].concat(),
        400,
        &["not UTF-8", "byte"],
    );
    check(
        "10 MB",
        ask(&SECRET.repeat(950_000)).to_string().as_bytes(),
        413,
        &["larger than", "body_limit_bytes"],
    );
    check("deep", "[".repeat(100_000).as_bytes(), 400, &["not valid JSON"]);
    let model = json!({ "model": "huge", "messages": [{ "role": "user", "content": SECRET }] });
    check(
        "a model",
        model.to_string().as_bytes(),
        404,
        &["`huge`", "auto", "large, medium, small"],
    );

    server.get("/v1/route").refused("GET", 405, &["/v1/route", "GET"]);
    server.post("/health", b"{}").refused("POST", 405, &["/health", "POST"]);
    server
        .get("/v2/route")
        .refused("path", 404, &["/v2/route", "/v1/route"]);

    let ended = server.end("TERM");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stderr.is_empty(), "every log line was asked for");
    assert!(
        !ended.stderr.contains(SECRET),
        "the log holds a prompt: {}",
        ended.stderr
    );
}

/// An image is not read, only counted: tiers that see none are out, and a text is as before.
#[test]
fn an_image_part_is_answered() {
    let data = Fixture::trained();
    let server = Server::start(&data.at("checkpoint"));
    let body = json!({ "messages": [{ "role": "user", "content": [
        { "type": "text", "text": "What is on this picture?" },
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgo=" } },
    ] }] });
    let reply = server.post("/v1/route", body.to_string().as_bytes());
    assert!([200, 422].contains(&reply.status), "{reply:?}");
    let broken = json!({ "messages": [{ "role": "user", "content": [{ "image_url": "x" }] }] });
    let reply = server.post("/v1/route", broken.to_string().as_bytes());
    reply.refused("no type", 400, &["messages[0].content[0].type"]);
    server.route(&ask("Prove it."));
}
