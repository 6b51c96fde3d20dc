//! What a cascade learns of an answer besides its text: what further samples of it conclude, and how sure
//! the tier says it is. Every one of these calls is held, settled and counted like any other.

use axum::body::to_bytes;
use axum::response::Response;
use futures_util::future::join_all;
use serde_json::Value;
use tiercast_chat::{Said, ask_back, said, said_in_stream, told_probability};

use super::asked::Asked;
use super::ways::Ways;
use super::{Run, Sent, Why};

/// Longest answer that is read; a longer one counts as broken off.
pub(super) const LONGEST_ANSWER: usize = 16 << 20;

impl Run<'_> {
    /// Further samples of a tier's answer, asked for side by side, numbered from `n_attempts` on. One that
    /// fails is left out: it is no evidence.
    pub(super) async fn samples(&self, tier: usize, n: usize, n_attempts: usize) -> Vec<Said> {
        let calls = (0..n).map(|at| Box::pin(self.sample(tier, n_attempts + at)));
        join_all(calls).await.into_iter().flatten().collect()
    }

    async fn sample(&self, tier: usize, n_attempts: usize) -> Option<Said> {
        let Ok(Sent::Begun(response, _)) = self.send(tier, n_attempts, Why::Evidence).await else {
            return None;
        };
        self.read(response).await.filter(|said| said.finish.is_some())
    }

    /// The probability in [0, 1] that a tier gives its own answer; `None` where it gives none.
    pub(super) async fn self_report(&self, tier: usize, answer: &Said, n_attempts: usize) -> Option<f64> {
        if answer.n_calls > 0 {
            return None;
        }
        let body = ask_back(&self.asked.body, self.asked.dialect, &answer.text)?;
        let asked = Asked::read(Value::Object(body).to_string().into_bytes(), self.asked.dialect).ok()?;
        let ways = Ways::of(&asked, self.serving);
        let run = Run {
            asked: &asked,
            ways: &ways,
            ..*self
        };
        let said = run.sample(tier, n_attempts).await?;
        told_probability(&said.text)
    }

    /// What a response says; `None` where it breaks off or is too long to be read.
    async fn read(&self, response: Response) -> Option<Said> {
        let body = to_bytes(response.into_body(), LONGEST_ANSWER).await.ok()?;
        Some(self.said(&body))
    }

    /// What a whole body says, in the client's dialect.
    pub(super) fn said(&self, body: &[u8]) -> Said {
        if self.asked.is_streamed() {
            return said_in_stream(body, self.asked.dialect);
        }
        let body: Option<Value> = serde_json::from_slice(body).ok();
        let body = body.as_ref().and_then(Value::as_object);
        body.and_then(|body| said(body, self.asked.dialect).ok())
            .unwrap_or_default()
    }
}
