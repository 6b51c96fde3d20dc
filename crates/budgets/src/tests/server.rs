//! A real Valkey or Redis server for a test: started on a free port in a folder of its own, and stopped
//! with it.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// Ways to call the server, the first that is there.
const PROGRAMS: [&str; 2] = ["valkey-server", "redis-server"];

pub(super) struct Server {
    process: Child,
    port: u16,
    folder: TempDir,
    program: &'static str,
    arguments: Vec<&'static str>,
}

impl Server {
    /// Nothing, with a message, where no server is installed; a failure where `TIERCAST_REQUIRE` names
    /// `valkey`.
    #[expect(clippy::disallowed_methods, reason = "a test asks the environment what it must find")]
    pub(super) fn start(arguments: &[&'static str]) -> Option<Self> {
        let is_there = |program: &&str| {
            Command::new(program)
                .arg("--version")
                .stdout(Stdio::null())
                .status()
                .is_ok()
        };
        let Some(program) = PROGRAMS.into_iter().find(is_there) else {
            let is_required =
                std::env::var("TIERCAST_REQUIRE").is_ok_and(|list| list.split(',').any(|part| part == "valkey"));
            assert!(
                !is_required,
                "none of {PROGRAMS:?} is installed, and TIERCAST_REQUIRE names valkey"
            );
            eprintln!("skipped: none of {PROGRAMS:?} is installed");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        // Another process may take the port before the server does: then another one.
        let started = (0..10).find_map(|_| {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            Some((port, spawn(program, port, &folder, arguments)?))
        });
        let (port, process) = started.expect("one of ten ports is free");
        Some(Self {
            process,
            port,
            folder,
            program,
            arguments: arguments.to_vec(),
        })
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// At once, as by `kill -9`.
    pub(super) fn stop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }

    /// On the same port, from what the folder holds.
    pub(super) fn restart(&mut self) {
        self.process = spawn(self.program, self.port, &self.folder, &self.arguments).unwrap();
    }

    /// So that it is there and does not answer; `CONT` ends that.
    pub(super) fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Nothing where it ends before it listens.
fn spawn(program: &str, port: u16, folder: &TempDir, arguments: &[&str]) -> Option<Child> {
    let mut command = Command::new(program);
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()])
        .args(arguments);
    command.arg("--dir").arg(folder.path());
    let mut process = command.stdout(Stdio::null()).spawn().unwrap();
    while process.try_wait().unwrap().is_none() {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Some(process);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}
