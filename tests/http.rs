//! A served checkpoint and a client of it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::{HeaderMap, Response};

use crate::run::{Run, command, send};

/// Nothing here takes a tenth of it; what takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// `tiercast serve` or `replay` on a free port; killed when dropped.
pub(crate) struct Server {
    child: Child,
    url: String,
    agent: Agent,
    lines: Mutex<Receiver<String>>,
    log: Option<JoinHandle<String>>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    /// A header's value; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts a refusal in OpenAI's shape whose message has all `parts`.
    pub(crate) fn refused(&self, case: &str, status: u16, parts: &[&str]) {
        assert_eq!(self.status, status, "{case}: {self:?}");
        let error = &self.json()["error"];
        let message = error["message"].as_str().unwrap();
        for part in parts {
            assert!(message.contains(part), "{case}: `{part}` is not in: {message}");
        }
        assert!(
            error["type"].is_string() && error["code"].is_string(),
            "{case}: {error}"
        );
        assert!(error.as_object().unwrap().contains_key("param"), "{case}: {error}");
    }
}

impl Server {
    /// Serves `checkpoint` with every log line that there is.
    pub(crate) fn start(checkpoint: &str) -> Self {
        Self::run(&["serve", "--checkpoint", checkpoint])
    }

    /// Starts a command that serves.
    pub(crate) fn run(arguments: &[&str]) -> Self {
        Self::run_with(arguments, &[])
    }

    /// The same with variables of the environment.
    pub(crate) fn run_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = command(&[arguments, &["--listen", "127.0.0.1:0"]].concat())
            .env("TIERCAST_LOG", "trace")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let log = spawn(move || {
            let mut bytes = Vec::new();
            stderr.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let mut server = Self {
            child,
            url: String::new(),
            agent: agent(),
            lines: Mutex::new(lines),
            log: Some(log),
        };
        let first = server.lines.lock().unwrap().recv_timeout(DEADLINE);
        server.url = match first {
            Ok(line) => line.strip_prefix("listening on ").unwrap().to_owned(),
            Err(_) => panic!("{:?}", server.end("KILL")),
        };
        server
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        reply(self.agent.get(format!("{}{path}", self.url)).call())
    }

    pub(crate) fn post(&self, path: &str, body: &[u8]) -> Reply {
        reply(self.agent.post(format!("{}{path}", self.url)).send(body))
    }

    pub(crate) fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        let request = self.agent.post(format!("{}{path}", self.url));
        let request = headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value));
        reply(request.send(body.to_string().as_bytes()))
    }

    /// The decision on a body.
    pub(crate) fn route(&self, body: &Value) -> Reply {
        let reply = self.post("/v1/route", body.to_string().as_bytes());
        assert_eq!(reply.status, 200, "{reply:?}");
        reply
    }

    /// Ends it by `signal` and says how.
    pub(crate) fn end(&mut self, signal: &str) -> Run {
        send(signal, self.child.id());
        let stdout = rest(&self.lines.lock().unwrap());
        let code = self.child.wait().unwrap().code();
        let stderr = self.log.take().unwrap().join().unwrap();
        Run { code, stdout, stderr }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already where the test called `end`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a stream as they come, read by a thread so that waiting for one can end.
pub(crate) fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    spawn(move || {
        for line in BufReader::new(stream).lines() {
            if sender.send(line.unwrap()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// What is left until the stream ends, which it must.
pub(crate) fn rest(lines: &Receiver<String>) -> String {
    let mut text = String::new();
    loop {
        match lines.recv_timeout(DEADLINE) {
            Ok(line) => text += &format!("{line}\n"),
            Err(RecvTimeoutError::Disconnected) => return text,
            Err(RecvTimeoutError::Timeout) => panic!("still running after {DEADLINE:?}: {text}"),
        }
    }
}

/// The body of a single message of the user.
pub(crate) fn ask(text: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": text }] })
}

pub(crate) fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(DEADLINE));
    config.build().into()
}

fn reply(response: Result<Response<ureq::Body>, ureq::Error>) -> Reply {
    let mut response = response.unwrap();
    Reply {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.body_mut().read_to_string().unwrap(),
    }
}
