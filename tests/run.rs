//! Runs the program as a shell would.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The checkout.
pub(crate) fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// How a run ended and what it said.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Run {
    /// Asserts that it went well.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// Asserts that it was refused with `code`, with all `parts` in what it said, and no panic.
    pub(crate) fn refused(&self, case: &str, code: i32, parts: &[&str]) {
        let said = format!("{}{}", self.stdout, self.stderr);
        assert_eq!(self.code, Some(code), "{case}: {said}");
        assert!(!said.contains("panicked"), "{case}: {said}");
        for part in parts {
            assert!(said.contains(part), "{case}: `{part}` is not in: {said}");
        }
    }
}

/// `tiercast ARGUMENTS`, in the checkout, to its end.
pub(crate) fn tiercast(arguments: &[&str]) -> Run {
    command(arguments).output().unwrap().into()
}

/// The same, not yet started.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .current_dir(checkout())
        .env_remove("TIERCAST_LOG")
        .stdin(Stdio::null());
    command
}

/// Sends `signal`, such as `TERM`, to a process.
pub(crate) fn send(signal: &str, pid: u32) {
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{signal} {pid}")])
        .status();
    assert!(sent.unwrap().success());
}

/// The program, as built beside this test.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tiercast"))
}
