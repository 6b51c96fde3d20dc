//! Requests and replies from one dialect into another.
//!
//! # What is lost on purpose
//! Some of a request is dropped because the reply would be the same; the tables in
//! each dialect's `known` module list these fields one by one. In short:
//!
//! | from | dropped | why |
//! | --- | --- | --- |
//! | all | marks for caches (`cache_control`, `prompt_cache_breakpoint`) | price alone |
//! | all | thoughts of earlier turns, summaries of thoughts, `include` but for probabilities | only their provider can read them |
//! | all | fields that hold the default (`n: 1`, `truncation: "disabled"`, ...) and null | say nothing |
//! | Chat | `stream_options`, `prediction` | shape of our stream; speed |
//! | OpenAI, to Messages | `store`, `metadata`, `prompt_cache_*`, `service_tier` auto or default | the provider's books |
//! | OpenAI, to Messages | `detail` of images, name and strictness of a schema | no counterpart, always held to |
//! | Messages | `is_error` of a result, `context_management`, `diagnostics`, `input_examples`, `thinking` disabled | the result says so itself; hints |
//!
//! System prompts amid a conversation go to its head in Messages; `user` is `metadata.user_id` there.
//! Thoughts in replies are dropped. All else that the other dialect cannot say is [`Untranslatable`].

use serde_json::{Map, Value};
use tiercast_routing::request::Request;

use crate::dialect::{Dialect, set_model};
use crate::error::{ChatError, Unreadable, Untranslatable};
use crate::fields::Reading;
use crate::neutral::{Asked, Output, Turn};
use crate::reply::{BadReply, Reply, ReplyOptions};
use crate::stream::StreamSummary;
use crate::{chat, messages, parse, responses};

type Object = Map<String, Value>;

/// A request of one dialect in another. In the same dialect it stays as it is. The model stays in any
/// case; see [`set_model`].
pub fn translate_request(body: &Object, from: Dialect, to: Dialect) -> Result<Object, Untranslatable> {
    if from == to {
        return Ok(body.clone());
    }
    let asked = read(body, from, Reading::Whole)?;
    match to {
        Dialect::Chat => chat::write::write(asked, Reading::Whole),
        Dialect::Responses => responses::write::write(asked, from),
        Dialect::Messages => messages::write::write(asked, from),
    }
}

fn read(body: &Object, from: Dialect, reading: Reading) -> Result<Asked, Unreadable> {
    match from {
        Dialect::Chat => chat::read::read(body, reading),
        Dialect::Responses => responses::read::read(body, reading),
        Dialect::Messages => messages::read::read(body, reading),
    }
}

/// A reply of an upstream's dialect in a client's, under the name of the model that the options say.
pub fn translate_response(
    body: &Object,
    from: Dialect,
    to: Dialect,
    options: &ReplyOptions,
) -> Result<Object, BadReply> {
    if from == to {
        let mut body = body.clone();
        set_model(&mut body, &options.model);
        return Ok(body);
    }
    let reply = read_reply(body, from)?;
    match to {
        Dialect::Chat => Ok(chat::reply::write(reply, options)),
        Dialect::Responses => Ok(responses::reply::write(reply, options)),
        Dialect::Messages => messages::reply::write(reply, options),
    }
}

/// What a whole reply of a dialect tells for the accounts; an error in the place of a reply is one here.
pub fn summarise(body: &Object, dialect: Dialect) -> Result<StreamSummary, BadReply> {
    let reply = read_reply(body, dialect)?;
    let n_bytes = |output: &Output| match output {
        Output::Text(text) | Output::Refusal(text) => text.len(),
        Output::Call { arguments, .. } => arguments.len(),
    };
    Ok(StreamSummary {
        usage: reply.usage,
        finish: Some(reply.finish()),
        failure: None,
        is_complete: true,
        is_begun: true,
        n_bytes: reply.outputs.iter().map(n_bytes).sum(),
    })
}

pub(crate) fn read_reply(body: &Object, dialect: Dialect) -> Result<Reply, BadReply> {
    match dialect {
        Dialect::Chat => chat::reply::read(body),
        Dialect::Responses => responses::reply::read(body),
        Dialect::Messages => messages::reply::read(body),
    }
}

/// What routing reads of a body of any dialect. Fields that cannot be translated do not matter here.
pub fn routing_request(body: &Object, dialect: Dialect) -> Result<Request, ChatError> {
    if dialect == Dialect::Chat {
        return parse::body(body.clone().into()).map(|body| body.request());
    }
    let asked = read(body, dialect, Reading::Gist)?;
    if !asked.turns.iter().any(|turn| matches!(turn, Turn::User(_))) {
        let place = if dialect == Dialect::Responses {
            "input"
        } else {
            "messages"
        };
        return Err(parse::wrong(
            place,
            "a list with a message of the user",
            body.get(place),
        ));
    }
    let chat = chat::write::write(asked, Reading::Gist).map_err(Unreadable::from)?;
    parse::body(chat.into()).map(|body| body.request())
}

#[cfg(test)]
mod tests;
