//! The request body: what the call says, what the endpoint's settings say, and what tiercast says.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::call::ChatCall;
use crate::settings::{EndpointSettings, OURS};

/// How a reply is asked for. Endpoints differ in what they know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Delivery {
    /// As events, with usage at the end.
    StreamWithUsage,
    /// As events, for endpoints that refuse `stream_options`.
    Stream,
    /// Whole.
    Plain,
}

#[derive(Debug, Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: &'a [Value],
    #[serde(skip_serializing_if = "<[Value]>::is_empty")]
    tools: &'a [Value],
    #[serde(flatten)]
    parameters: Map<String, Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// Parameters that ask for log probabilities.
const LOGPROBS: [&str; 2] = ["logprobs", "top_logprobs"];

/// Whether the body of `call` speaks of log probabilities.
pub(crate) fn has_logprobs(call: &ChatCall, settings: &EndpointSettings) -> bool {
    let has = |name: &&str| call.parameters.contains_key(*name) || settings.parameters().contains_key(*name);
    LOGPROBS.iter().any(has)
}

/// The bytes to send; without what asks for log probabilities where the endpoint has none.
pub(crate) fn body(
    call: &ChatCall,
    model: &str,
    settings: &EndpointSettings,
    delivery: Delivery,
    with_logprobs: bool,
) -> Bytes {
    let mut parameters = call.parameters.clone();
    parameters.extend(settings.parameters().clone());
    let is_left_out = |name: &str| OURS.contains(&name) || (!with_logprobs && LOGPROBS.contains(&name));
    parameters.retain(|name, _| !is_left_out(name));
    let with_usage = delivery == Delivery::StreamWithUsage;
    let body = Body {
        model,
        messages: &call.messages,
        tools: &call.tools,
        parameters,
        stream: delivery != Delivery::Plain,
        stream_options: with_usage.then_some(StreamOptions { include_usage: true }),
    };
    serde_json::to_vec(&body)
        .expect("JSON values and text keys always serialise")
        .into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_endpoint_outranks_the_call_and_tiercast_both() {
        let settings = "base_url = \"http://h/v1\"\nparameters = { temperature = 0, max_tokens = 8 }";
        let settings: EndpointSettings = toml::from_str(settings).unwrap();
        let call = json!({"temperature": 1, "seed": 7, "model": "other", "stream": true});
        let mut call = ChatCall {
            messages: vec![json!({"role": "user", "content": "hi"})],
            parameters: call.as_object().unwrap().clone(),
            ..ChatCall::default()
        };
        let sent = |call: &ChatCall, delivery| -> Value {
            serde_json::from_slice(&body(call, "m", &settings, delivery, true)).unwrap()
        };
        let mut expected = json!({
            "model": "m", "messages": [{"role": "user", "content": "hi"}],
            "temperature": 0, "max_tokens": 8, "seed": 7,
        });
        assert_eq!(sent(&call, Delivery::Plain), expected);
        expected["stream"] = json!(true);
        assert_eq!(sent(&call, Delivery::Stream), expected);
        call.tools = vec![json!({"type": "function"})];
        expected["tools"] = json!([{"type": "function"}]);
        expected["stream_options"] = json!({"include_usage": true});
        assert_eq!(sent(&call, Delivery::StreamWithUsage), expected);
    }
}
