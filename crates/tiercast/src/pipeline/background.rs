//! Servers that a recipe needs while its steps run.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::progress::say;

/// Time to read its files and listen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command of this program that serves until it is ended.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Background {
    /// Arguments as after `tiercast`.
    pub(super) run: Vec<String>,
    /// Address that it listens on.
    listen: SocketAddr,
}

/// Ended when dropped, and by its closed standard input when this process is killed.
pub(super) struct Running(Child);

/// What a server does that is to end with the process that started it: the pipe to it closes when that is gone,
/// be it by `kill -9`.
pub(crate) fn end_with_stdin() {
    std::thread::spawn(|| {
        // Whatever is written there means nothing.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        // Servers take it as the word to stop; nothing can be done where even that fails.
        #[cfg(unix)]
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM);
    });
}

/// What a step does: killed as it would be if it were a part of the process that started it.
pub(crate) fn die_with_stdin() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        #[cfg(unix)]
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    });
}

impl Background {
    /// Starts it and waits until it listens, or until `is_stopped` says that there is no more need.
    pub(super) fn start(&self, is_stopped: &mut dyn FnMut() -> bool) -> anyhow::Result<Running> {
        let line = self.run.join(" ");
        if TcpStream::connect_timeout(&self.listen, Duration::from_millis(200)).is_ok() {
            bail!(
                "`{line}` in the background: something listens on {} already; end it or change the recipe",
                self.listen
            );
        }
        say(&format!("in the background: tiercast {line}"));
        let program = std::env::current_exe().context("this program's own path")?;
        let mut command = Command::new(program);
        command.args(&self.run).arg("--until-stdin-closes");
        // A group of its own: Ctrl-C at the terminal is for the step, which ends its calls first.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start `{line}`"))?;
        let mut running = Running(child);
        let started = Instant::now();
        while !is_stopped() && TcpStream::connect_timeout(&self.listen, Duration::from_millis(200)).is_err() {
            if let Some(status) = running.0.try_wait()? {
                bail!("`{line}` in the background ended with {status}; its message is above");
            }
            if started.elapsed() > PATIENCE {
                bail!(
                    "`{line}` in the background does not listen on {} after {} s",
                    self.listen,
                    PATIENCE.as_secs()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to do about that here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
