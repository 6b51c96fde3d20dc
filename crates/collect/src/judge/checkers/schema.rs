//! Replies that have to be JSON of a schema, and may be compared with a reference.

use jsonschema::Validator;
use serde_json::Value;

use super::json;
use crate::judge::case::{Case, Verdict, text_of};

/// Compiles a schema; references to other documents are refused, so nothing is fetched.
pub fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::options().build(schema).map_err(|error| error.to_string())
}

/// Checks the JSON of `reply` against the judge's schema, else the prompt's; with
/// `compares_reference` it also has to equal the reference.
pub fn check(reply: &str, case: &Case<'_>, own: Option<&Validator>, compares_reference: bool) -> Verdict {
    let of_prompt = match (own, case.schema) {
        (None, Some(schema)) => match compile(schema) {
            Ok(validator) => Some(validator),
            Err(error) => return Verdict::Failed(format!("the prompt's schema is none: {error}")),
        },
        _ => None,
    };
    let Some(validator) = own.or(of_prompt.as_ref()) else {
        return Verdict::Failed("neither the judge nor the prompt has a schema".to_owned());
    };
    let Some(value) = json::find(reply) else {
        return Verdict::NotParsed("no JSON was found".to_owned());
    };
    if let Some(error) = validator.iter_errors(&value).next() {
        return Verdict::of(
            false,
            format!("at `{}`: violates `{}`", error.instance_path(), error.schema_path()),
        );
    }
    if compares_reference {
        compared(&value, case)
    } else {
        Verdict::of(true, "satisfies the schema")
    }
}

fn compared(value: &Value, case: &Case<'_>) -> Verdict {
    let Some(reference) = case.reference else {
        return Verdict::Failed("the prompt has no reference to compare with".to_owned());
    };
    // References in Parquet are text: read what is JSON inside.
    let parsed = reference.as_str().and_then(|text| serde_json::from_str(text).ok());
    let is_same = is_same(value, parsed.as_ref().unwrap_or(reference));
    Verdict::of(
        is_same,
        if is_same {
            "equals the reference"
        } else {
            "differs from the reference"
        },
    )
}

/// Equal values: 1 is 1.0, and white space around text does not count. The order of keys does not either.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_same(a, b)))
        }
        (Value::String(_), Value::String(_)) => text_of(a).trim() == text_of(b).trim(),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}})
    }

    #[test]
    fn judging() {
        let reference = json!({"n": 3, "who": "me"});
        let check = |reply: &str, compares: bool, expected: f64| {
            let case = Case {
                prompt: "",
                reference: Some(&reference),
                schema: None,
            };
            let own = compile(&schema()).unwrap();
            assert_eq!(
                super::check(reply, &case, Some(&own), compares).value(),
                Some(expected),
                "{reply}"
            );
        };
        check("{\"n\": 3}", false, 1.0);
        check("```json\n{\"n\": 3}\n```", false, 1.0);
        check("{\"n\": \"3\"}", false, 0.0);
        check("{}", false, 0.0);
        check("{\"n\": 3}", true, 0.0);
        check("{\"who\": \" me\", \"n\": 3.0}", true, 1.0);
        check("prose", false, 0.0);
    }

    #[test]
    fn whose_schema() {
        let (schema, text) = (schema(), json!("{\"n\": 1}"));
        let of_prompt = Case {
            prompt: "",
            reference: Some(&text),
            schema: Some(&schema),
        };
        assert_eq!(check("{\"n\": 1}", &of_prompt, None, true).value(), Some(1.0));
        let nobody = Case {
            prompt: "",
            reference: None,
            schema: None,
        };
        assert!(matches!(check("{}", &nobody, None, false), Verdict::Failed(_)));
        assert!(matches!(
            check(
                "{\"n\": 1}",
                &Case {
                    reference: None,
                    ..of_prompt
                },
                None,
                true
            ),
            Verdict::Failed(_)
        ));
    }

    #[test]
    fn broken_schemas_are_refused() {
        assert!(compile(&json!({"type": "no such type"})).is_err());
        assert!(compile(&json!({"$ref": "https://example.invalid/schema.json"})).is_err());
    }
}
