//! Whether OpenAI would hold a reply to a schema. Anthropic always does; OpenAI does only if asked to be
//! strict, and refuses to be with a schema that leaves fields open.

use serde_json::Value;

/// Every object closed, and all its properties required. References and unions are looked through.
pub(crate) fn is_closed(schema: &Value) -> bool {
    match schema {
        Value::Array(schemas) => schemas.iter().all(is_closed),
        Value::Object(object) => {
            let is_object =
                object.get("type").is_some_and(|kind| kind == "object") || object.contains_key("properties");
            (!is_object || is_closed_object(schema)) && object.values().all(is_closed)
        }
        _ => true,
    }
}

fn is_closed_object(schema: &Value) -> bool {
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    let mut names = schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(serde_json::Map::keys);
    schema["additionalProperties"] == false && names.all(|name| required.iter().any(|wanted| wanted == name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::is_closed;

    #[test]
    fn closed_means_that_every_object_is() {
        let inner = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
        let open = json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false});
        assert!(is_closed(&inner));
        assert!(is_closed(&json!({"type": "array", "items": inner})));
        assert!(!is_closed(&open));
        assert!(!is_closed(&json!({"type": "array", "items": open})));
        assert!(!is_closed(&json!({"type": "object", "properties": {}})));
    }
}
