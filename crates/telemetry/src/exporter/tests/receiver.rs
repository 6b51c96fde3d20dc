//! A collector for a test: an HTTP server of a few lines that keeps what came and answers as it is told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver as Channel, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};
use prost::Message;

/// What comes of a request.
pub(super) enum Answer {
    /// A status with more header lines, and a body.
    Status(u16, &'static str, Vec<u8>),
    /// Nothing, ever.
    Silence,
    /// The connection is closed.
    HangUp,
}

/// A request that came.
pub(super) struct Posted {
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

pub(super) struct Receiver {
    pub(super) url: String,
    posted: Channel<Posted>,
}

impl Receiver {
    /// `answer` gives that to the n-th request, counted from zero.
    pub(super) fn start(answer: impl FnMut(usize) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, posted) = channel();
        let answer = Arc::new(Mutex::new((0, answer)));
        // Each ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, sender) = (Arc::clone(&answer), sender.clone());
                thread::spawn(move || {
                    let mut stream = BufReader::new(stream.unwrap());
                    while let Some(posted) = read(&mut stream) {
                        let mut answer = answer.lock().unwrap();
                        let n = answer.0;
                        answer.0 += 1;
                        let answer = (answer.1)(n);
                        // The test may have seen enough.
                        let _ = sender.send(posted);
                        match answer {
                            Answer::Status(status, headers, body) => write(stream.get_mut(), status, headers, &body),
                            Answer::Silence => thread::sleep(Duration::from_secs(3_600)),
                            Answer::HangUp => return,
                        }
                    }
                });
            }
        });
        Self { url, posted }
    }

    /// Takes everything.
    pub(super) fn ready() -> Self {
        Self::start(|_| taken())
    }

    /// The next request.
    pub(super) fn next(&self) -> Posted {
        self.posted.recv_timeout(super::LONG).expect("a request comes")
    }

    /// Whether a request came that was not looked at.
    pub(super) fn has_more(&self) -> bool {
        self.posted.try_recv().is_ok()
    }
}

/// What a collector answers that took all.
pub(super) fn taken() -> Answer {
    Answer::Status(200, "Content-Type: application/x-protobuf\r\n", Vec::new())
}

impl Posted {
    /// Decoded with the messages that OpenTelemetry's crate generates, which have the same form as a request.
    fn data(&self) -> TracesData {
        TracesData::decode(&*self.body).unwrap()
    }

    pub(super) fn resource(&self) -> Resource {
        self.data().resource_spans.remove(0).resource.unwrap()
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        let mut resources = self.data().resource_spans;
        assert_eq!(resources.len(), 1);
        let mut scopes = resources.remove(0).scope_spans;
        assert_eq!(scopes.len(), 1);
        assert_eq!(scopes[0].schema_url, crate::names::SCHEMA_URL);
        scopes.remove(0).spans
    }
}

/// An attribute that is text.
pub(super) fn text(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key} is {other:?}"),
    }
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Posted> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|n_bytes| *n_bytes > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    stream.read_exact(&mut body).ok()?;
    Some(Posted { path, headers, body })
}

fn write(stream: &mut TcpStream, status: u16, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    // The exporter may have given up.
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
}
