//! Judging by a command: the reply on standard input, a score on standard output.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::case::{Case, Verdict};
use super::settings::CommandInput;

/// Longest text handed over in the environment; systems refuse more than 128 KiB in one variable.
const MAX_VARIABLE: usize = 96 << 10;

/// Bytes of output that are read; the rest is thrown away.
const MAX_OUTPUT: u64 = 64 << 10;

/// Characters of standard error that a message repeats.
const MAX_SAID: usize = 200;

/// A command that judges.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandJudge {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Its whole process group is killed after this.
    pub timeout: Duration,
    /// What it reads.
    pub input: CommandInput,
}

impl CommandJudge {
    /// Runs it on one reply. The last number of its output, from 0 to 1, is the score; anything
    /// else is a failure of the judge and not of the reply.
    pub async fn check(&self, reply: &str, case: &Case<'_>) -> Verdict {
        let child = match self.spawn(case) {
            Ok(child) => child,
            Err(message) => return Verdict::Failed(message),
        };
        let mut group = Group(child);
        let input = self.input_of(reply, case);
        match tokio::time::timeout(self.timeout, talk(&mut group.0, input.as_bytes())).await {
            Ok(verdict) => verdict,
            // `group` is dropped here, and with it all its processes.
            Err(_) => Verdict::Failed(format!(
                "`{}` took longer than {} s and was killed with all it had started",
                self.name(),
                self.timeout.as_secs_f64()
            )),
        }
    }

    fn name(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }

    fn spawn(&self, case: &Case<'_>) -> Result<Child, String> {
        let (program, arguments) = self.command.split_first().ok_or("the command is empty")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if self.input == CommandInput::Reply {
            let reference = case.reference_text().unwrap_or_default();
            for (name, value) in [("TIERCAST_PROMPT", case.prompt), ("TIERCAST_REFERENCE", &reference)] {
                if value.len() > MAX_VARIABLE || value.contains('\0') {
                    return Err(format!(
                        "{name} is too long for the environment; set `input = \"json\"` for this judge"
                    ));
                }
                command.env(name, value);
            }
        }
        #[cfg(unix)]
        command.process_group(0);
        command
            .spawn()
            .map_err(|error| format!("`{program}` could not be started: {error}"))
    }

    fn input_of(&self, reply: &str, case: &Case<'_>) -> String {
        match self.input {
            CommandInput::Reply => reply.to_owned(),
            CommandInput::Json => {
                json!({"reply": reply, "prompt": case.prompt, "reference": case.reference, "schema": case.schema})
                    .to_string()
            }
        }
    }
}

/// A process and all that it starts, killed together when dropped.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(id) = self
            .0
            .id()
            .and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?))
        {
            // Gone already, most often.
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
}

/// Writes, reads and waits at the same time, so that no pipe fills up and blocks the other.
async fn talk(child: &mut Child, input: &[u8]) -> Verdict {
    let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(pipe) = stdin.as_mut() {
            // A command may answer without reading to the end.
            let _ = pipe.write_all(input).await;
        }
        drop(stdin.take());
    };
    let ((), out, said) = tokio::join!(write, output(stdout), output(stderr));
    match child.wait().await {
        Ok(status) if status.success() => score(&out),
        Ok(status) => Verdict::Failed(format!("the command ended with {status}: {}", first_line(&said))),
        Err(error) => Verdict::Failed(format!("the command could not be waited for: {error}")),
    }
}

async fn output(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What cannot be read is missing from the output, and the score with it.
        let _ = (&mut pipe).take(MAX_OUTPUT).read_to_end(&mut bytes).await;
        let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn score(out: &str) -> Verdict {
    let last = out.split_whitespace().next_back();
    match last.and_then(|word| word.parse::<f64>().ok()) {
        Some(score) if (0.0..=1.0).contains(&score) => Verdict::scored(score, first_line(out)),
        Some(score) => Verdict::Failed(format!("the command printed {score}; a score is 0 to 1")),
        None => Verdict::Failed("the command printed no score as its last word".to_owned()),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(MAX_SAID).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;

    async fn judged(script: &str, input: CommandInput) -> Verdict {
        let judge = CommandJudge {
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            timeout: Duration::from_millis(if script.contains("sleep") { 300 } else { 20_000 }),
            input,
        };
        let reference = json!("four");
        let case = Case {
            prompt: "2+2?",
            reference: Some(&reference),
            schema: None,
        };
        judge.check("the reply", &case).await
    }

    #[tokio::test]
    async fn scores_and_failures() {
        let check = async |script: &str, expected: Option<f64>, part: &str| {
            let verdict = judged(script, CommandInput::Reply).await;
            assert_eq!(verdict.value(), expected, "{script}: {verdict:?}");
            assert!(verdict.detail().contains(part), "{script}: {verdict:?}");
        };
        check("grep -q 'the reply' && echo good 0.5", Some(0.5), "good").await;
        check("test \"$TIERCAST_REFERENCE\" = four && echo 1", Some(1.0), "").await;
        check("echo 7", None, "a score is 0 to 1").await;
        check("echo nothing", None, "no score").await;
        check("echo broken >&2; exit 3", None, "broken").await;
        check("true", None, "no score").await;
        let json = judged("grep -q '\"reply\":\"the reply\"' && echo 1", CommandInput::Json).await;
        assert_eq!(json.value(), Some(1.0));
    }

    #[tokio::test]
    async fn a_hanging_command_is_killed_with_its_children() {
        let start = Instant::now();
        let verdict = judged("sleep 60 & sleep 60; wait", CommandInput::Reply).await;
        assert!(verdict.detail().contains("was killed"), "{verdict:?}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[tokio::test]
    async fn a_command_that_is_not_there() {
        let judge = CommandJudge {
            command: vec!["no-such-judge".to_owned()],
            timeout: Duration::from_secs(1),
            input: CommandInput::Reply,
        };
        let case = Case {
            prompt: "",
            reference: None,
            schema: None,
        };
        assert!(judge.check("", &case).await.detail().contains("could not be started"));
    }
}
