//! A made-up model endpoint whose every answer a test decides, and which can hold answers back.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::spawn;
use std::time::Duration;

use serde_json::{Value, json};

/// Nothing here takes a tenth of it; what takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Status and body for a request.
type Answer = dyn Fn(&Value) -> (u16, String) + Send + Sync;

/// Status and body for a look at the list of models, by the key that came with it.
type Models = dyn Fn(&str) -> (u16, String) + Send + Sync;

/// Listens until the test ends.
pub(crate) struct Endpoint {
    url: String,
    state: Arc<State>,
}

struct State {
    answer: Box<Answer>,
    models: Box<Models>,
    /// Seconds that a 429 asks for.
    retry_after: u32,
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    /// Model and last message of every request, in order.
    asked: Vec<(String, String)>,
    /// Requests that are answered; later ones wait.
    open: usize,
}

impl Endpoint {
    /// Answers every request at once.
    pub(crate) fn start(answer: impl Fn(&Value) -> (u16, String) + Send + Sync + 'static) -> Self {
        let endpoint = Self::holding(0, answer);
        endpoint.open(usize::MAX);
        endpoint
    }

    /// Echoes requests, and lists models as told.
    pub(crate) fn listing(models: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> Self {
        Self::new(usize::MAX, 0, Box::new(echo), Box::new(models))
    }

    /// Answers so many requests and holds the rest until more are let through.
    pub(crate) fn holding(open: usize, answer: impl Fn(&Value) -> (u16, String) + Send + Sync + 'static) -> Self {
        Self::new(open, 0, Box::new(answer), Box::new(|_| (404, "{}".to_owned())))
    }

    /// Answers at once; where that is 429, with a `Retry-After` of so many seconds.
    pub(crate) fn busy_for(retry_after: u32, answer: impl Fn(&Value) -> (u16, String) + Send + Sync + 'static) -> Self {
        let models = Box::new(|_: &str| (404, "{}".to_owned()));
        Self::new(usize::MAX, retry_after, Box::new(answer), models)
    }

    fn new(open: usize, retry_after: u32, answer: Box<Answer>, models: Box<Models>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let state = Arc::new(State {
            answer,
            models,
            retry_after,
            seen: Mutex::new(Seen {
                open,
                ..Seen::default()
            }),
            changed: Condvar::new(),
        });
        let served = Arc::clone(&state);
        spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&served);
                spawn(move || serve(&stream.unwrap(), &state));
            }
        });
        Self { url, state }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Lets so many requests through in all.
    pub(crate) fn open(&self, n: usize) {
        self.state.seen.lock().unwrap().open = n;
        self.state.changed.notify_all();
    }

    /// Model and last message of every request so far, in order.
    pub(crate) fn asked(&self) -> Vec<(String, String)> {
        self.state.seen.lock().unwrap().asked.clone()
    }

    /// Waits until so many requests have come.
    pub(crate) fn wait_for(&self, n: usize) {
        let seen = self.state.seen.lock().unwrap();
        let few = |seen: &mut Seen| seen.asked.len() < n;
        let (seen, waited) = self.state.changed.wait_timeout_while(seen, DEADLINE, few).unwrap();
        assert!(!waited.timed_out(), "only {} requests came", seen.asked.len());
    }
}

/// The reply of a model that says what it was asked, of 10 tokens for 20.
pub(crate) fn echo(body: &Value) -> (u16, String) {
    (200, reply(body, "stop"))
}

/// The same with another reason to end.
pub(crate) fn reply(body: &Value, finish_reason: &str) -> String {
    let said = format!("{} heard: {}", body["model"].as_str().unwrap(), last_message(body));
    json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30},
    })
    .to_string()
}

fn last_message(body: &Value) -> String {
    let messages = body["messages"].as_array().unwrap();
    messages.last().unwrap()["content"].as_str().unwrap().to_owned()
}

/// One connection, request after request. A client that goes away ends it.
fn serve(stream: &TcpStream, state: &State) {
    let mut reader = BufReader::new(stream);
    while let Some(asked) = request(&mut reader) {
        let (status, text) = match &asked.body {
            Some(body) => {
                state.admit(body);
                (state.answer)(body)
            }
            None => (state.models)(&asked.key),
        };
        let head = format!(
            "HTTP/1.1 {status} OK\r\n{}content-type: {}\r\ncontent-length: {}\r\n\r\n",
            match status {
                429 => format!("retry-after: {}\r\n", state.retry_after),
                _ => String::new(),
            },
            if text.starts_with('<') {
                "text/html"
            } else {
                "application/json"
            },
            text.len()
        );
        let mut writer = stream;
        if writer.write_all((head + &text).as_bytes()).is_err() {
            return;
        }
    }
}

impl State {
    /// Counts a request and waits until it is let through.
    fn admit(&self, body: &Value) {
        let mut seen = self.seen.lock().unwrap();
        let model = body["model"].as_str().unwrap().to_owned();
        seen.asked.push((model, last_message(body)));
        let number = seen.asked.len();
        self.changed.notify_all();
        let _seen = self.changed.wait_while(seen, |seen| seen.open < number).unwrap();
    }
}

/// A request, of which one without a body is a look at the list of models.
pub(crate) struct Asked {
    key: String,
    pub(crate) body: Option<Value>,
}

pub(crate) fn request(reader: &mut impl BufRead) -> Option<Asked> {
    let (mut length, mut key) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if let Some((name, value)) = line.split_once(':')
            && ["authorization", "x-api-key"].contains(&name.to_ascii_lowercase().as_str())
        {
            value.trim().clone_into(&mut key);
        }
        let line = line.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = (length > 0).then(|| serde_json::from_slice(&body).unwrap());
    Some(Asked { key, body })
}
