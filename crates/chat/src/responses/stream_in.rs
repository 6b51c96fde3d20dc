//! Responses events into pieces of a reply.

use crate::error::ChatError;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::responses::reply;
use crate::sse::SseEvent;
use crate::stream::{Delta, ReadStream, malformed, object};

#[derive(Default)]
pub(crate) struct Reader {
    /// The call that is being told: its place in the output, and whether arguments came.
    call: Option<(u64, bool)>,
}

impl ReadStream for Reader {
    fn read(&mut self, event: &SseEvent) -> Result<Vec<Delta>, Failure> {
        if ["", "[DONE]"].contains(&event.data.trim()) {
            return Ok(Vec::new());
        }
        let body = object(event)?;
        if let Some(failure) = Failure::read(&body) {
            return Err(failure);
        }
        let failed = body
            .get("response")
            .and_then(|response| response.as_object())
            .and_then(Failure::read);
        if let Some(failure) = failed {
            return Err(failure);
        }
        let body = Fields::new(&body);
        let kind = match body.text("type").map_err(|error| malformed(&error))? {
            Some(kind) => kind,
            None => event.event.as_deref().unwrap_or_default(),
        };
        if kind == "response.failed" || kind == "response.cancelled" {
            return Err(Failure::bad_gateway(
                "the upstream's response failed and gave no reason",
            ));
        }
        self.event(kind, &body).map_err(|error| malformed(&error))
    }
}

impl Reader {
    fn event(&mut self, kind: &str, body: &Fields<'_>) -> Result<Vec<Delta>, ChatError> {
        Ok(match kind {
            "response.created" => {
                let id = body.need_object("response")?.text("id")?.map(str::to_owned);
                vec![Delta::Start { id }]
            }
            "response.output_text.delta" => vec![Delta::Text(body.need_text("delta")?.to_owned())],
            "response.refusal.delta" => vec![Delta::Refusal(body.need_text("delta")?.to_owned())],
            "response.output_item.added" => self.item(body)?,
            "response.function_call_arguments.delta" => self.arguments(body, "delta")?,
            "response.function_call_arguments.done" => match self.call {
                // A server that tells the arguments all at once.
                Some((_, false)) => self.arguments(body, "arguments")?,
                _ => Vec::new(),
            },
            "response.completed" | "response.incomplete" => {
                let response = body.need_object("response")?;
                let mut deltas = vec![Delta::Finish(reply::finish(&response)?)];
                deltas.extend(reply::usage(&response).map(Delta::Usage));
                deltas.push(Delta::Done);
                deltas
            }
            // Progress, ends of parts that were told in full, thoughts.
            _ => Vec::new(),
        })
    }

    fn item(&mut self, body: &Fields<'_>) -> Result<Vec<Delta>, ChatError> {
        let item = body.need_object("item")?;
        self.call = None;
        if item.need_text("type")? != "function_call" {
            return Ok(Vec::new());
        }
        let arguments = item.text("arguments")?.filter(|text| !text.is_empty());
        self.call = Some((body.whole("output_index")?.unwrap_or(0), arguments.is_some()));
        let mut deltas = vec![Delta::Call {
            id: item.need_text("call_id")?.to_owned(),
            name: item.need_text("name")?.to_owned(),
        }];
        deltas.extend(arguments.map(|text| Delta::Arguments(text.to_owned())));
        Ok(deltas)
    }

    fn arguments(&mut self, body: &Fields<'_>, key: &str) -> Result<Vec<Delta>, ChatError> {
        let text = body.need_text(key)?;
        match &mut self.call {
            Some((index, has_arguments)) if body.whole("output_index")?.is_none_or(|told| told == *index) => {
                *has_arguments = true;
                Ok(vec![Delta::Arguments(text.to_owned())])
            }
            _ => Err(body.wrong("output_index", "that of the call that began last")),
        }
    }
}
