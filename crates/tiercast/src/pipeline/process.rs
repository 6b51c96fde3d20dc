//! A step as a process of its own: what one step leaves behind, such as handlers of signals, is never
//! another's, and each ends as it does when it is run alone.

use std::process::{ExitStatus, Stdio};

use anyhow::Context;
use tokio::process::{Child, Command};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What a shell adds to the number of a signal that ended a process.
const BY_SIGNAL: u8 = 128;

/// Runs steps, and hands them the words to stop.
pub(super) struct Processes {
    runtime: Runtime,
    words: UnboundedReceiver<Word>,
    stopped: Option<Word>,
}

/// A word to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    #[cfg(unix)]
    Terminate,
}

impl Word {
    /// As a shell has it of a process that such a signal ended.
    pub(super) fn exit_code(self) -> u8 {
        BY_SIGNAL
            + match self {
                Self::Interrupt => 2,
                #[cfg(unix)]
                Self::Terminate => 15,
            }
    }
}

impl Processes {
    /// From now on words to stop are for the step that runs.
    pub(super) fn new() -> anyhow::Result<Self> {
        // A worker of its own: it hears what comes while this thread reads files.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("starting the runtime")?;
        let (sender, words) = unbounded_channel();
        runtime.block_on(async { listen(&sender) })?;
        Ok(Self {
            runtime,
            words,
            stopped: None,
        })
    }

    /// The first word to stop, once one has come.
    pub(super) fn stopped(&mut self) -> Option<Word> {
        if self.stopped.is_none() {
            self.stopped = self.words.try_recv().ok();
        }
        self.stopped
    }

    /// Runs `tiercast ARGUMENTS` to its end.
    pub(super) fn run(&mut self, arguments: &[String]) -> anyhow::Result<ExitStatus> {
        let (words, stopped) = (&mut self.words, &mut self.stopped);
        self.runtime.block_on(async {
            let mut child = start(arguments)?;
            // Open as long as this process lives: see `--killed-with-stdin`.
            let _stdin = child.stdin.take();
            loop {
                tokio::select! {
                    status = child.wait() => return status.context("waiting for it"),
                    Some(word) = words.recv() => {
                        stopped.get_or_insert(word);
                        pass_on(&child, word);
                    }
                }
            }
        })
    }
}

fn start(arguments: &[String]) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("this program's own path")?;
    let mut command = Command::new(program);
    command.args(arguments).arg("--killed-with-stdin").stdin(Stdio::piped());
    // A group of its own: Ctrl-C at the terminal reaches it once, by way of this process. A second one says more.
    #[cfg(unix)]
    command.process_group(0);
    command.spawn().context("cannot start it")
}

#[cfg(unix)]
fn pass_on(child: &Child, word: Word) {
    use rustix::process::{Pid, Signal, kill_process};

    let signal = match word {
        Word::Interrupt => Signal::INT,
        Word::Terminate => Signal::TERM,
    };
    let pid = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended just now.
        let _ = kill_process(pid, signal);
    }
}

#[cfg(unix)]
fn listen(words: &UnboundedSender<Word>) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    for (kind, word) in [
        (SignalKind::interrupt(), Word::Interrupt),
        (SignalKind::terminate(), Word::Terminate),
    ] {
        let (mut signals, words) = (signal(kind).context("listening for signals")?, words.clone());
        tokio::spawn(async move { while signals.recv().await.is_some() && words.send(word).is_ok() {} });
    }
    Ok(())
}

/// The console tells every process on it.
#[cfg(not(unix))]
fn pass_on(_: &Child, _: Word) {}

#[cfg(not(unix))]
fn listen(words: &UnboundedSender<Word>) -> anyhow::Result<()> {
    let words = words.clone();
    tokio::spawn(async move { while tokio::signal::ctrl_c().await.is_ok() && words.send(Word::Interrupt).is_ok() {} });
    Ok(())
}

/// The exit code to end with after a step that failed, and what is said of it.
pub(super) fn failure(status: ExitStatus) -> (u8, String) {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        let code = u8::try_from(signal).unwrap_or_default().saturating_add(BY_SIGNAL);
        return (code, format!("was ended by signal {signal}"));
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    (code, format!("ended with exit code {code}"))
}
