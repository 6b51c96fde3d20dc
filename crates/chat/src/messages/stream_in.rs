//! Messages events into pieces of a reply.

use serde_json::{Map, Value};

use crate::error::ChatError;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::messages::reply::{self, Told};
use crate::sse::SseEvent;
use crate::stream::{Delta, ReadStream, malformed, object};

#[derive(Default)]
pub(crate) struct Reader {
    told: Told,
    /// The block that is being told, where it is a call: its index, and the arguments that came with its start.
    call: Option<(u64, Option<String>)>,
}

impl ReadStream for Reader {
    fn read(&mut self, event: &SseEvent) -> Result<Vec<Delta>, Failure> {
        if event.data.trim().is_empty() {
            return Ok(Vec::new());
        }
        let body = object(event)?;
        match Failure::read(&body) {
            Some(failure) => Err(failure),
            None => self
                .event(&Fields::new(&body), event)
                .map_err(|error| malformed(&error)),
        }
    }
}

impl Reader {
    fn event(&mut self, body: &Fields<'_>, event: &SseEvent) -> Result<Vec<Delta>, ChatError> {
        let kind = body.text("type")?.or(event.event.as_deref()).unwrap_or_default();
        Ok(match kind {
            "message_start" => {
                let message = body.need_object("message")?;
                let id = message.text("id")?.map(str::to_owned);
                let mut deltas = vec![Delta::Start { id }];
                deltas.extend(self.usage(&message));
                deltas
            }
            "content_block_start" => self.block(body)?,
            "content_block_delta" => self.delta(body)?,
            "content_block_stop" => {
                let whole = self.call.take().and_then(|(_, arguments)| arguments);
                whole.map(Delta::Arguments).into_iter().collect()
            }
            "message_delta" => {
                let finish = reply::finish(&body.need_object("delta")?)?;
                let usage = self.usage(body);
                finish.map(Delta::Finish).into_iter().chain(usage).collect()
            }
            "message_stop" => vec![Delta::Done],
            // Pings, and what is still to be invented.
            _ => Vec::new(),
        })
    }

    fn usage(&mut self, object: &Fields<'_>) -> Option<Delta> {
        self.told.take(&object.counts("usage")?);
        self.told.usage().map(Delta::Usage)
    }

    fn block(&mut self, body: &Fields<'_>) -> Result<Vec<Delta>, ChatError> {
        let block = body.need_object("content_block")?;
        self.call = None;
        match block.need_text("type")? {
            "text" => {
                let text = block.text("text")?.filter(|text| !text.is_empty());
                Ok(text.map(|text| Delta::Text(text.to_owned())).into_iter().collect())
            }
            "tool_use" => {
                let input = block
                    .value("input")
                    .and_then(Value::as_object)
                    .filter(|input| !input.is_empty());
                let arguments = input.map(|input: &Map<String, Value>| Value::from(input.clone()).to_string());
                self.call = Some((body.whole("index")?.unwrap_or(0), arguments));
                Ok(vec![Delta::Call {
                    id: block.need_text("id")?.to_owned(),
                    name: block.need_text("name")?.to_owned(),
                }])
            }
            _ => Ok(Vec::new()),
        }
    }

    fn delta(&mut self, body: &Fields<'_>) -> Result<Vec<Delta>, ChatError> {
        let delta = body.need_object("delta")?;
        match delta.need_text("type")? {
            "text_delta" => Ok(vec![Delta::Text(delta.need_text("text")?.to_owned())]),
            "input_json_delta" => self.arguments(body, &delta),
            // Thoughts, their signatures, citations.
            _ => Ok(Vec::new()),
        }
    }

    fn arguments(&mut self, body: &Fields<'_>, delta: &Fields<'_>) -> Result<Vec<Delta>, ChatError> {
        // Without an open call this is the input of a tool that the provider runs.
        let Some((index, whole)) = &mut self.call else {
            return Ok(Vec::new());
        };
        if body.whole("index")?.is_some_and(|told| told != *index) {
            return Err(body.wrong("index", "that of the block that began last"));
        }
        let text = delta.need_text("partial_json")?;
        if text.is_empty() {
            return Ok(Vec::new());
        }
        *whole = None;
        Ok(vec![Delta::Arguments(text.to_owned())])
    }
}
