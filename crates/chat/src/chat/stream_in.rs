//! Chat chunks into pieces of a reply.

use crate::chat::reply;
use crate::error::ChatError;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::sse::SseEvent;
use crate::stream::{Delta, ReadStream, malformed, object};

/// What ends a stream of chat chunks.
pub(crate) const DONE: &str = "[DONE]";

#[derive(Default)]
pub(crate) struct Reader {
    is_started: bool,
    /// The call that is being told: its index, and its id where it has one.
    call: Option<(u64, String)>,
    n_calls: u64,
}

impl ReadStream for Reader {
    fn read(&mut self, event: &SseEvent) -> Result<Vec<Delta>, Failure> {
        match event.data.trim() {
            "" => return Ok(Vec::new()),
            DONE => return Ok(vec![Delta::Done]),
            _ => {}
        }
        let chunk = object(event)?;
        match Failure::read(&chunk) {
            Some(failure) => Err(failure),
            None => self.chunk(&Fields::new(&chunk)).map_err(|error| malformed(&error)),
        }
    }
}

impl Reader {
    fn chunk(&mut self, chunk: &Fields<'_>) -> Result<Vec<Delta>, ChatError> {
        let mut deltas = Vec::new();
        if !std::mem::replace(&mut self.is_started, true) {
            let id = chunk.text("id")?.filter(|id| !id.is_empty()).map(str::to_owned);
            deltas.push(Delta::Start { id });
        }
        for choice in chunk.objects("choices")? {
            // Only one reply was asked for.
            if choice.whole("index")?.unwrap_or(0) == 0 {
                self.choice(&choice, &mut deltas)?;
            }
        }
        deltas.extend(reply::usage(chunk).map(Delta::Usage));
        Ok(deltas)
    }

    fn choice(&mut self, choice: &Fields<'_>, deltas: &mut Vec<Delta>) -> Result<(), ChatError> {
        if let Some(delta) = choice.object("delta")? {
            let text = |key: &str| Ok::<_, ChatError>(delta.text(key)?.filter(|text| !text.is_empty()));
            deltas.extend(text("content")?.map(|text| Delta::Text(text.to_owned())));
            deltas.extend(text("refusal")?.map(|text| Delta::Refusal(text.to_owned())));
            for call in delta.objects("tool_calls")? {
                self.call(&call, deltas)?;
            }
        }
        let finish = choice.text("finish_reason")?;
        deltas.extend(finish.map(|word| Delta::Finish(reply::finish(word))));
        Ok(())
    }

    /// A call begins with its name. Its index says where more of it belongs; some servers leave that out.
    fn call(&mut self, call: &Fields<'_>, deltas: &mut Vec<Delta>) -> Result<(), ChatError> {
        let function = call.object("function")?;
        let text = |key: &str| function.as_ref().map_or(Ok(None), |function| function.text(key));
        let (name, id) = (text("name")?.filter(|name| !name.is_empty()), call.text("id")?);
        let index = call.whole("index")?;
        let is_same = self.call.as_ref().is_some_and(|(open, open_id)| match index {
            Some(index) => index == *open,
            None => id.is_none_or(|id| id == open_id),
        });
        if !is_same {
            let was_told = index.is_some_and(|index| index < self.n_calls);
            let (Some(name), false) = (name, was_told) else {
                return Err(call.wrong("index", "that of the call that began last"));
            };
            let index = index.unwrap_or(self.n_calls);
            let id = id
                .filter(|id| !id.is_empty())
                .map_or_else(|| format!("call_{index}"), str::to_owned);
            let name = name.to_owned();
            deltas.push(Delta::Call { id: id.clone(), name });
            self.call = Some((index, id));
            self.n_calls = self.n_calls.max(index.saturating_add(1));
        }
        let arguments = text("arguments")?.filter(|text| !text.is_empty());
        deltas.extend(arguments.map(|text| Delta::Arguments(text.to_owned())));
        Ok(())
    }
}
