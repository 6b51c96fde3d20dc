//! What the server knows of itself: finished requests and feedback, folded to figures as they come and handed
//! on to the journal and to a collector of traces. On a thread of its own: a request never waits for it.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::http::HeaderMap;
use serde_json::{Value, json};
use tiercast_journal::{Journal, JournalError, Key};
use tiercast_observation::drift::Monitor;
use tiercast_observation::page::FindingView;
use tiercast_observation::summary::figures::Figures;
use tiercast_observation::summary::{Heard, Resolution, Summary, Trace};
use tiercast_records::journal::{self, About, Entry, Feedback, Label, Served};
use tiercast_telemetry::exporter::Exporter;
use tiercast_telemetry::targets::Targets;

use crate::metrics::Metrics;
use crate::record::Finished;
use crate::settings::journal::Keep;

/// Finished requests that may wait; more are dropped and counted.
const QUEUE: usize = 8192;

/// How long spans may take to be sent when the server stops.
const TRACES_WITHIN: Duration = Duration::from_secs(2);

/// How often the journal is looked at for verdicts of `tiercast judge --journal`.
const LISTEN_EVERY: Duration = Duration::from_secs(1);

/// Decisions that can be looked at.
const RECENT: usize = 200;

/// Requests that feedback can still find without the journal.
const KNOWN: usize = 50_000;

/// Words that may wait for their request.
const EARLY: usize = 256;

/// What a server is observed by.
pub struct Watch {
    /// Where rows are kept, if anywhere.
    pub journal: Option<Journal>,
    /// Hashes asks and signs decisions' names.
    pub key: Key,
    /// What is kept of the asks.
    pub keep: Keep,
    /// Tells when the router has become wrong.
    pub monitor: Monitor,
    /// Where traces go, if anywhere.
    pub traces: Option<Arc<Exporter>>,
    /// What traces say of the tiers' endpoints.
    pub targets: Targets,
}

impl Watch {
    /// Keeps nothing: what is observed ends with the process.
    pub fn without_journal(monitor: Monitor) -> Result<Self, JournalError> {
        Ok(Self {
            journal: None,
            key: Key::ephemeral()?,
            keep: Keep::Hash,
            monitor,
            traces: None,
            targets: Targets::new(),
        })
    }

    /// Keeps what a journal keeps.
    #[must_use]
    pub fn with_journal(mut self, journal: Journal, keep: Keep) -> Self {
        self.key = journal.key().clone();
        self.journal = Some(journal);
        self.keep = keep;
        self
    }

    /// Sends traces to a collector.
    #[must_use]
    pub fn with_traces(mut self, traces: Exporter, targets: Targets) -> Self {
        self.traces = Some(Arc::new(traces));
        self.targets = targets;
        self
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

/// The thread and what it knows.
pub(crate) struct Observer {
    sender: SyncSender<Message>,
    live: Arc<Mutex<Live>>,
    dropped: AtomicU64,
    journal: Option<Journal>,
    traces: Option<Arc<Exporter>>,
    key: Key,
    keep: Keep,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Ends the thread that listens, once it is dropped.
    listening: Mutex<Option<SyncSender<()>>>,
}

enum Message {
    Finished(Box<Finished>),
    Said(Feedback),
    /// Said by a judge, who wrote it into the journal.
    Judged(Feedback),
    /// Everything before it is done with.
    Stop,
}

/// Figures since the start.
struct Live {
    summary: Summary,
    monitor: Monitor,
    recent: VecDeque<Arc<Served>>,
    known: Known,
    /// What was said of requests that are not over yet, as far as is known here.
    early: VecDeque<Feedback>,
}

/// Requests that may still be spoken of, the latest [`KNOWN`].
#[derive(Default)]
struct Known {
    traces: HashMap<String, Spoken>,
    order: VecDeque<String>,
}

/// A request, and who has spoken of it.
struct Spoken {
    of: Trace,
    by: Vec<Label>,
}

impl Observer {
    pub(crate) fn start(watch: Watch, metrics: Arc<Metrics>) -> std::io::Result<Arc<Self>> {
        let (sender, receiver) = sync_channel(QUEUE);
        let live = Arc::new(Mutex::new(Live {
            summary: Summary::new(&[Resolution::HOUR, Resolution::TWO_DAYS]),
            monitor: watch.monitor,
            recent: VecDeque::with_capacity(RECENT),
            known: Known::default(),
            early: VecDeque::new(),
        }));
        let work = Work {
            live: Arc::clone(&live),
            journal: watch.journal.clone(),
            traces: watch.traces.clone(),
            targets: Arc::new(watch.targets),
            key: watch.key.clone(),
            keep: watch.keep,
            metrics,
        };
        let thread = std::thread::Builder::new().name("observer".to_owned());
        let thread = thread.spawn(move || work.run(&receiver))?;
        let listening = watch.journal.as_ref().map(|journal| listen(journal, sender.clone()));
        Ok(Arc::new(Self {
            sender,
            live,
            dropped: AtomicU64::new(0),
            journal: watch.journal,
            traces: watch.traces,
            key: watch.key,
            keep: watch.keep,
            thread: Mutex::new(Some(thread)),
            listening: Mutex::new(listening.transpose()?),
        }))
    }

    /// Whether asks and replies are kept in words.
    pub(crate) fn keeps_text(&self) -> bool {
        self.journal.is_some() && self.keep == Keep::Text
    }

    /// A name for a decision that this server, and no other, can tell for its own.
    pub(crate) fn sign(&self, body: &str) -> String {
        format!("dec_{body}{}", self.key.tag(body))
    }

    /// Whether a decision's name was given by this server or by another on the same journal.
    pub(crate) fn is_ours(&self, id: &str) -> bool {
        self.key.is_ours(id)
    }

    /// Whether feedback outlives the process.
    pub(crate) fn has_journal(&self) -> bool {
        self.journal.is_some()
    }

    /// The client's trace, or one that begins here; none where nobody collects them.
    pub(crate) fn trace(&self, headers: &HeaderMap) -> Option<journal::Trace> {
        let traces = self.traces.as_ref()?;
        let told = headers.get("traceparent").and_then(|value| value.to_str().ok());
        let mut count = 0_u64;
        let fresh = || {
            count += 1;
            RandomState::new().hash_one(count)
        };
        Some(traces.trace(told, fresh))
    }

    /// A request is over.
    pub(crate) fn finished(&self, row: Finished) {
        self.send(Message::Finished(Box::new(row)));
    }

    /// Somebody said something of an answer; false where it could not be taken, so that they can say it again.
    pub(crate) fn said(&self, mut feedback: Feedback) -> bool {
        if self.keep != Keep::Text {
            feedback.comment = None;
        }
        self.send(Message::Said(feedback))
    }

    fn send(&self, message: Message) -> bool {
        match self.sender.try_send(message) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }

    /// The figures since the start.
    pub(crate) fn figures(&self) -> Figures {
        self.lock().summary.figures()
    }

    /// What has drifted, worst first.
    pub(crate) fn findings(&self) -> Vec<FindingView> {
        self.lock().monitor.findings().iter().map(FindingView::from).collect()
    }

    /// The latest decisions, newest first.
    pub(crate) fn recent(&self, limit: usize) -> Vec<Arc<Served>> {
        self.lock().recent.iter().rev().take(limit).cloned().collect()
    }

    /// One of the latest decisions.
    pub(crate) fn decision(&self, id: &str) -> Option<Arc<Served>> {
        self.lock().recent.iter().rev().find(|row| row.id == id).cloned()
    }

    /// How the journal is; null without one.
    pub(crate) fn journal(&self) -> Value {
        let Some(journal) = &self.journal else {
            return Value::Null;
        };
        let health = journal.health();
        json!({
            "written": health.written,
            "dropped": health.dropped + self.dropped(),
            "waiting": health.waiting,
            "failing": health.failing.map(|failing| failing.what),
            "bytes_on_disk": health.bytes_on_disk,
            "n_segments": health.n_segments,
        })
    }

    /// Why rows are not being kept, where they are not.
    pub(crate) fn failing(&self) -> Option<String> {
        self.journal.as_ref()?.health().failing.map(|failing| failing.what)
    }

    /// Brings the metrics that are read, not counted, up to date.
    pub(crate) fn measure(&self, metrics: &Metrics) {
        let (figures, findings) = (self.figures(), self.findings());
        metrics.figures(&figures);
        metrics.drift(&findings);
        metrics.observer_dropped(self.dropped());
        if let Some(journal) = &self.journal {
            metrics.journal(&journal.health());
        }
        if let Some(traces) = &self.traces {
            metrics.traces(&traces.health());
        }
    }

    fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until all that was said is on disk.
    pub(crate) fn stop(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        drop(self.listening.lock().unwrap_or_else(PoisonError::into_inner).take());
        // Blocks only while the queue is full, which the thread empties.
        if self.sender.send(Message::Stop).is_ok() {
            // A panic there has been told of already.
            drop(thread.join());
        }
        if let Some(journal) = &self.journal
            && let Err(error) = journal.close()
        {
            tracing::error!(%error, "the journal could not be closed");
        }
        if let Some(traces) = &self.traces {
            traces.close(TRACES_WITHIN);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins to hand on what judges write into the journal, until what it returns is dropped.
fn listen(journal: &Journal, sender: SyncSender<Message>) -> std::io::Result<SyncSender<()>> {
    let (listening, stopped) = sync_channel(0);
    let mut listener = journal.listener().map_err(std::io::Error::other)?;
    let thread = std::thread::Builder::new().name("listener".to_owned());
    thread.spawn(move || {
        while matches!(stopped.recv_timeout(LISTEN_EVERY), Err(RecvTimeoutError::Timeout)) {
            match listener.heard() {
                // Waits where the observer is behind: nobody waits for this thread.
                Ok(heard) => {
                    let mut heard = heard.into_iter().map(Message::Judged);
                    if heard.any(|message| sender.send(message).is_err()) {
                        return;
                    }
                }
                Err(error) => tracing::debug!(%error, "the journal could not be listened to; it is tried again"),
            }
        }
    })?;
    Ok(listening)
}

/// What the thread works with.
struct Work {
    live: Arc<Mutex<Live>>,
    journal: Option<Journal>,
    traces: Option<Arc<Exporter>>,
    targets: Arc<Targets>,
    key: Key,
    keep: Keep,
    metrics: Arc<Metrics>,
}

impl Work {
    fn run(&self, receiver: &Receiver<Message>) {
        while let Ok(message) = receiver.recv() {
            match message {
                Message::Finished(row) => self.finished(*row),
                Message::Said(feedback) => self.said(feedback),
                Message::Judged(feedback) => self.judged(&feedback),
                Message::Stop => return,
            }
        }
    }

    fn finished(&self, mut row: Finished) {
        let reply = row.answer();
        let Finished { mut served, ask, .. } = row;
        served.prompt_hash = self.key.prompt_hash(&ask);
        self.metrics.served(&served);
        if let Some(traces) = &self.traces {
            traces.record(&served, &self.targets);
        }
        let entry = Entry::Served(Box::new(served));
        let early = self.lock().take(&entry);
        early.iter().for_each(|feedback| self.hear(feedback));
        if let (Some(journal), Entry::Served(mut served)) = (&self.journal, entry) {
            if self.keep < Keep::Features {
                served.features = None;
            }
            if self.keep == Keep::Text {
                (served.prompt, served.reply) = (Some(ask), reply);
            }
            journal.record(Entry::Served(served));
        }
    }

    fn said(&self, feedback: Feedback) {
        self.metrics.feedback(&feedback);
        self.hear(&feedback);
        if let Some(journal) = &self.journal {
            journal.record(Entry::Feedback(feedback));
        }
    }

    /// It is in the journal already, and of a request that is over: who does not find it here comes from before the start.
    fn judged(&self, feedback: &Feedback) {
        self.metrics.feedback(feedback);
        if self.lock().knows(feedback) {
            self.hear(feedback);
        }
    }

    fn hear(&self, feedback: &Feedback) {
        let observed = self.lock().hear(feedback);
        if let Some((tier, quality)) = observed {
            self.metrics.observed(&tier, quality);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// Takes a request, and returns what was said of it before.
    fn take(&mut self, entry: &Entry) -> Vec<Feedback> {
        self.monitor.take(entry);
        let Entry::Served(row) = entry else { return Vec::new() };
        self.summary.serve(row);
        self.known.add(&row.id, Trace::of(row));
        let mut shown = Served::clone(row);
        shown.features = None;
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(Arc::new(shown));
        let is_of_it = |feedback: &Feedback| matches!(&feedback.about, About::Decision(id) if *id == row.id);
        let (of_it, others): (Vec<Feedback>, Vec<Feedback>) = self.early.drain(..).partition(is_of_it);
        self.early = others.into();
        of_it
    }

    fn knows(&self, feedback: &Feedback) -> bool {
        matches!(&feedback.about, About::Decision(id) if self.known.traces.contains_key(id))
    }

    /// The tier that was spoken of, and how good it was found; nothing where that is not known here, or the same
    /// one has spoken of it before (the journal keeps the last word, these figures the first).
    fn hear(&mut self, feedback: &Feedback) -> Option<(Label, f64)> {
        let About::Decision(id) = &feedback.about else {
            return None;
        };
        if !self.knows(feedback) {
            // A client may be quicker than the end of its own request.
            if self.early.len() == EARLY {
                self.early.pop_front();
            }
            self.early.push_back(feedback.clone());
            return None;
        }
        let of = self.known.speak(id, &feedback.source)?.clone();
        self.monitor.take(&Entry::Feedback(feedback.clone()));
        if let Some(verdict) = feedback.verdict {
            self.summary.hear(&of, verdict);
        }
        let heard = Heard::of(std::iter::once(feedback))?;
        self.summary.observe(&of, heard);
        Some((of.tier?, heard.quality))
    }
}

impl Known {
    fn add(&mut self, id: &str, of: Trace) {
        if self.order.len() == KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.traces.remove(&oldest);
        }
        self.order.push_back(id.to_owned());
        self.traces.insert(id.to_owned(), Spoken { of, by: Vec::new() });
    }

    fn speak(&mut self, id: &str, by: &Label) -> Option<&Trace> {
        let spoken = self.traces.get_mut(id)?;
        if spoken.by.contains(by) {
            return None;
        }
        spoken.by.push(Arc::clone(by));
        Some(&spoken.of)
    }
}
