//! Upstreams that keep to nothing: garbage, half a reply, no usage, no end.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// What the upstream does after its head.
#[derive(Clone, Copy)]
enum Then {
    Close,
    /// Sends the body again and again.
    Repeat,
    /// Says nothing more.
    Hang,
}

/// An endpoint that answers every request with these bytes. Gives its base URL.
async fn upstream(content_type: &str, body: &'static str, then: Then) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: {content_type}\r\n\r\n");
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = head.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                match then {
                    Then::Close => {}
                    Then::Hang => std::future::pending().await,
                    Then::Repeat => {
                        while stream.write_all(body.as_bytes()).await.is_ok() {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                }
            });
        }
    });
    url
}

const STREAM: &str = "text/event-stream";
const CHUNK: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"four\"},\"finish_reason\":null}]}\n\n";
const WHOLE: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"four\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

/// Status, error code and text of a request to that upstream, and the account of its tier.
async fn asked(content_type: &str, body: &'static str, then: Then, is_streamed: bool) -> (u16, String, Value) {
    let url = upstream(content_type, body, then).await;
    let settings = format!(
        "deadline_ms = 1500\nidle_timeout_ms = 400\n[tiers.small]\n[tiers.small.endpoint]\nbase_url = \"{url}\"\ntimeout_s = 0.4"
    );
    let (state, _gate) = state_of(&settings);
    let body = json!({ "model": "auto", "stream": is_streamed, "messages": [{ "role": "user", "content": "hello" }] });
    let request = Request::post("/v1/chat/completions")
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = send(&state, request).await;
    let status = response.status().as_u16();
    let text = text_of(response).await;
    let account = json_of(get_path(&state, "/v1/stats").await).await["accounts"]["small"].clone();
    (status, text, account)
}

#[tokio::test]
async fn what_never_begins_is_an_error_that_says_what_came() {
    for (content_type, body, then, is_streamed, status, code) in [
        (
            STREAM,
            "}{ garbage without end ",
            Then::Close,
            true,
            502,
            "empty_choices",
        ),
        (STREAM, "data: {\"half\n\n", Then::Close, true, 502, "server"),
        (STREAM, ": ping\n\n", Then::Repeat, true, 504, "timeout"),
        (STREAM, "", Then::Hang, true, 504, "timeout"),
        (STREAM, CHUNK, Then::Close, false, 502, "not_json"),
        (
            "application/json",
            "{\"choices\": [{\"mess",
            Then::Close,
            false,
            502,
            "cut_json",
        ),
        (
            "application/json",
            "{\"choices\": []}",
            Then::Close,
            false,
            502,
            "malformed",
        ),
        ("application/json", "[1]", Then::Close, false, 502, "not_json"),
        ("text/html", "<html>", Then::Close, true, 502, "html"),
        ("application/json", "", Then::Hang, false, 504, "timeout"),
    ] {
        let (got, text, account) = asked(content_type, body, then, is_streamed).await;
        let error: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((got, &error["error"]["code"]), (status, &json!(code)), "{body}: {text}");
        assert_eq!(account["calls"], json!({"failed": 1}), "{body}");
        // What had come of a whole reply was read by a model, and so was what nobody waited for; both are owed for.
        assert_eq!(
            account["cost_usd"].as_f64() > Some(0.0),
            body.starts_with(['{', '[']) || code == "timeout",
            "{body}"
        );
    }
}

#[tokio::test]
async fn what_breaks_off_or_never_ends_ends_in_an_error_event() {
    for then in [Then::Close, Then::Repeat, Then::Hang] {
        let (status, text, account) = asked(STREAM, CHUNK, then, true).await;
        assert!(status == 200 && text.starts_with(CHUNK), "{text}");
        let last = text.trim_end().rsplit("\n\n").next().unwrap();
        assert!(last.contains("\"error\"") && last.contains("bad_upstream"), "{last}");
        assert_eq!(
            (&account["calls"], &account["estimated"]),
            (&json!({"failed": 1}), &json!(1))
        );
    }
}

#[tokio::test]
async fn a_reply_without_usage_is_whole_and_estimated() {
    let (status, text, account) = asked(STREAM, WHOLE, Then::Close, true).await;
    assert_eq!((status, text.as_str()), (200, WHOLE));
    assert_eq!(
        (&account["calls"], &account["estimated"]),
        (&json!({"complete": 1}), &json!(1))
    );
    assert_eq!(
        (&account["input_tokens"], &account["output_tokens"]),
        (&json!(100.0), &json!(1.0)),
        "{account}"
    );
}
