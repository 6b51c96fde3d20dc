//! In which dialect a tier is asked, and with which body.

use axum::body::Bytes;
use serde_json::{Map, Value, json};
use tiercast_chat::{Dialect, Untranslatable, set_model, splice, translate_request};
use tiercast_upstream::settings::EndpointSettings;
use tiercast_upstream::upstream::Upstream;

use super::asked::Asked;
use crate::serving::Serving;

/// The request in another dialect, or the field that it cannot say.
type Translation = Result<Map<String, Value>, Untranslatable>;

/// How one tier is asked.
pub(crate) struct Way {
    pub(crate) dialect: Dialect,
    pub(crate) body: Bytes,
}

/// The request in every dialect that some tier speaks and the client does not. Each is made once.
pub(crate) struct Ways {
    translated: Vec<(Dialect, Translation)>,
}

impl Ways {
    /// Translates the request.
    pub(crate) fn of(asked: &Asked, serving: &Serving) -> Self {
        let mut translated: Vec<(Dialect, Translation)> = Vec::new();
        for upstream in serving.upstreams.iter().flatten() {
            let dialects = upstream.settings().dialects();
            if dialects.contains(&asked.dialect) {
                continue;
            }
            for dialect in dialects {
                if translated.iter().all(|(known, _)| known != dialect) {
                    translated.push((*dialect, translate_request(&asked.body, asked.dialect, *dialect)));
                }
            }
        }
        Self { translated }
    }

    /// Why a tier cannot be asked this, if it cannot.
    pub(crate) fn why_not(&self, endpoint: &EndpointSettings, asked: &Asked) -> Option<&Untranslatable> {
        let dialects = endpoint.dialects();
        if dialects.contains(&asked.dialect) {
            return None;
        }
        let mut ways = dialects.iter().filter_map(|dialect| self.translation(*dialect));
        let first = ways.next()?.as_ref().err()?;
        ways.all(Result::is_err).then_some(first)
    }

    /// The body for a tier. The same dialect keeps every byte but for the model's name.
    pub(crate) fn way(&self, tier_idx: usize, asked: &Asked, serving: &Serving) -> Option<Way> {
        let upstream = serving.upstreams[tier_idx].as_ref()?;
        let dialects = upstream.settings().dialects();
        if dialects.contains(&asked.dialect) {
            return Some(Way {
                dialect: asked.dialect,
                body: Bytes::from(same(asked, upstream)),
            });
        }
        let readable = |dialect: &Dialect| Some((*dialect, self.translation(*dialect)?.as_ref().ok()?));
        let (dialect, body) = dialects.iter().find_map(readable)?;
        Some(Way {
            dialect,
            body: Bytes::from(other(body.clone(), dialect, asked, upstream)),
        })
    }

    fn translation(&self, dialect: Dialect) -> Option<&Translation> {
        let mut known = self.translated.iter();
        known.find(|(of, _)| *of == dialect).map(|(_, body)| body)
    }
}

fn same(asked: &Asked, upstream: &Upstream) -> String {
    let mut text = splice(&asked.text, "model", &json!(upstream.model()).to_string());
    if asked.dialect != Dialect::Chat {
        return text;
    }
    for (name, value) in upstream.settings().parameters() {
        if !asked.body.contains_key(name) {
            text = splice(&text, name, &value.to_string());
        }
    }
    if asked.is_streamed() && !asked.wants_usage() {
        let options = asked.body.get("stream_options").and_then(Value::as_object);
        let mut options = options.cloned().unwrap_or_default();
        options.insert("include_usage".to_owned(), Value::Bool(true));
        text = splice(&text, "stream_options", &Value::Object(options).to_string());
    }
    text
}

fn other(mut body: Map<String, Value>, dialect: Dialect, asked: &Asked, upstream: &Upstream) -> String {
    set_model(&mut body, upstream.model());
    if dialect == Dialect::Chat {
        for (name, value) in upstream.settings().parameters() {
            body.entry(name.clone()).or_insert_with(|| value.clone());
        }
        if asked.is_streamed() {
            body.insert("stream_options".to_owned(), json!({ "include_usage": true }));
        }
    }
    Value::Object(body).to_string()
}
