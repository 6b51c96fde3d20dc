//! The judges that prompts bring along or are given, made before anything is spent on their replies.

use std::path::Path;

use serde_json::Value;
use tiercast_records::prompts::{Objection, Prompt};

use super::checkers::schema;
use super::judges::Judges;
use super::settings::JudgeSettings;
use crate::error::CollectError;

/// Looks at prompts as `judge` will.
#[derive(Debug, Default)]
pub struct PromptJudges {
    judges: Judges,
    /// Without a table `[judge]` names mean nothing yet.
    is_configured: bool,
}

impl PromptJudges {
    /// Of the table `[judge]` in the text of a `tiercast.toml`, where it has one; rubrics are read from `folder`.
    pub fn read(text: &str, folder: &Path) -> Result<Self, CollectError> {
        match JudgeSettings::find(text)? {
            None => Ok(Self::default()),
            Some(settings) => Ok(Self {
                judges: Judges::new(&settings, folder)?,
                is_configured: true,
            }),
        }
    }

    /// What keeps a prompt's replies from being judged, found without any reply.
    pub fn check(&mut self, prompt: &Prompt) -> Result<(), Objection> {
        if let Some(schema) = &prompt.schema {
            schema::compile(schema).map_err(|error| objection("schema", &error, "Write a JSON schema"))?;
        }
        let judged = match &prompt.judge {
            Some(own) => self.check_own(own),
            None if self.is_configured => self.judges.of_prompt(prompt).map(|_| ()),
            None => Ok(()),
        };
        let mend = "Mend it in the file or in [judge] of the configuration; without a judge of its own a prompt gets the \
                    configuration's";
        judged.map_err(|error| objection("judge", &error.to_string(), mend))
    }

    fn check_own(&mut self, own: &Value) -> Result<(), CollectError> {
        match own {
            Value::String(_) if !self.is_configured => Ok(()),
            Value::Array(list) => list.iter().try_for_each(|one| self.check_own(one)),
            own => self.judges.of_value(own).map(|_| ()),
        }
    }
}

/// Regular expressions tell their faults on several lines.
fn objection(field: &'static str, error: &str, mend: &str) -> Objection {
    let words: Vec<&str> = error.split_whitespace().collect();
    Objection {
        field,
        what: words.join(" "),
        mend: mend.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tiercast_records::outcomes::{PromptText, Split};

    use super::*;

    const CONFIG: &str =
        "[judge]\ndefault = \"letter\"\n[judge.judges.letter]\nkind = \"exact_match\"\nextract = \"choice\"\n";

    fn prompt(judge: Value, schema: Option<Value>) -> Prompt {
        Prompt {
            prompt_id: "p".to_owned(),
            split_key: "k".to_owned(),
            split: Split::Train,
            dataset: "d".to_owned(),
            subset: "s".to_owned(),
            domain: "math".to_owned(),
            text: PromptText::Text("2 + 2?".to_owned()),
            response_format: None,
            schema,
            reference: None,
            judge: Some(judge).filter(|judge| !judge.is_null()),
        }
    }

    /// What is said of a prompt with this judge under `config`; empty where nothing is.
    fn said(config: &str, judge: Value) -> String {
        let mut judges = PromptJudges::read(config, Path::new("")).unwrap();
        let found = judges.check(&prompt(judge, None));
        found.map_or_else(
            |objection| format!("{}: {}", objection.field, objection.what),
            |()| String::new(),
        )
    }

    #[test]
    fn what_no_judge_can_be_made_of_is_said_before_any_reply() {
        let wrong = [
            (json!({"kind": "regex", "pattern": "(unclosed"}), "unclosed group"),
            (
                json!([{"kind": "numeric"}, {"kind": "regex", "pattern": "["}]),
                "pattern",
            ),
            (
                json!({"kind": "command", "command": []}),
                "describe it in [judge.judges.NAME]",
            ),
            (json!({"kind": "json_schema", "schema": {"type": "strnig"}}), "`schema`"),
            (json!({"kind": "guess"}), "guess"),
        ];
        for config in ["", CONFIG] {
            for (judge, part) in &wrong {
                let said = said(config, judge.clone());
                assert!(
                    said.starts_with("judge: ") && said.contains(part) && !said.contains('\n'),
                    "{judge}: {said}"
                );
            }
            assert_eq!(said(config, json!({"kind": "regex", "pattern": "^4$"})), "");
        }
    }

    #[test]
    fn names_are_known_where_there_is_a_table() {
        assert_eq!(said("", json!("exact")), "");
        assert_eq!(said(CONFIG, json!("letter")), "");
        assert!(said(CONFIG, json!("exact")).contains("no judge `exact`"));
        // And whoever has none gets the default, if there is one.
        assert_eq!(said(CONFIG, Value::Null), "");
        assert_eq!(said("", Value::Null), "");
        assert!(said("[judge]\n", Value::Null).contains("judge.default"));
    }

    #[test]
    fn a_prompts_schema_is_one() {
        let mut judges = PromptJudges::default();
        let objection = judges
            .check(&prompt(Value::Null, Some(json!({"type": 3}))))
            .unwrap_err();
        assert_eq!(objection.field, "schema");
        judges
            .check(&prompt(Value::Null, Some(json!({"type": "object"}))))
            .unwrap();
    }
}
