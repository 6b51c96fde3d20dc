use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int32Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Field;
use parquet::arrow::ArrowWriter;
use serde_json::json;

use super::*;
use crate::RecordsError;
use crate::split::{prompt_id, split_key};

fn written(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn read_text(text: &str) -> Prompts {
    let (_folder, path) = written("mine.jsonl", text);
    read(&path, false).unwrap()
}

/// The problems of lines, as a user sees them.
fn check(text: &str, expected: &[&str]) {
    let (_folder, path) = written("mine.jsonl", text);
    let report = validate_checked(&path, |_| Ok(())).unwrap();
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), expected.len(), "{text}: {problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(
            problem.contains(expected),
            "{text}\n  gave: {problem}\n  not:  {expected}"
        );
    }
}

#[test]
fn what_is_left_out_has_a_default() {
    let prompts = read_text("{\"prompt\": \"What is 2 + 2?\"}\n\n").prompts;
    let prompt = &prompts[0];
    assert_eq!(prompt.prompt_id, prompt_id("What is 2 + 2?"));
    assert_eq!(prompt.split_key, split_key("what is 2 2"));
    let origin = (prompt.dataset.as_str(), prompt.subset.as_str(), prompt.domain.as_str());
    assert_eq!(origin, ("mine", "mine", "general"));
    assert_eq!(
        (&prompt.reference, &prompt.judge, &prompt.schema),
        (&None, &None, &None)
    );
    assert_eq!(
        prompt.messages(),
        [json!({"role": "user", "content": "What is 2 + 2?"})]
    );
    assert!(prompt.tools().is_empty());
}

#[test]
fn what_is_given_is_kept() {
    let line = json!({
        "prompt_id": "p1", "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
        "tools": [{"type": "function"}], "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
        "reference": 42, "question": "the bare one", "split": "test", "dataset": "d", "subset": "s", "domain": "x",
        "judge": [{"kind": "regex", "pattern": "^42$"}, "exact"],
    });
    let prompts = read_text(&format!("\u{feff}{line}\r\n")).prompts;
    let prompt = &prompts[0];
    assert_eq!((prompt.prompt_id.as_str(), prompt.split), ("p1", Split::Test));
    assert_eq!(prompt.split_key, split_key("the bare one"));
    assert_eq!((prompt.messages().len(), prompt.tools().len()), (2, 1));
    assert_eq!(prompt.reference_text().as_deref(), Some("42"));
    assert_eq!(prompt.schema, Some(json!({"type": "object"})));
    let body = r#"{"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}],"tools":[{"type":"function"}]}"#;
    assert_eq!(prompt.text.as_str(), body);
}

#[test]
fn problems_name_line_and_field() {
    check("{\"prompt\": \"a\"}\n{\"prompt\": \n", &["line 2: it is not JSON"]);
    check("[1]\n{\"prompt\": \"a\"}\n", &["line 1: it is no object"]);
    check("{}", &["line 1: field `prompt`: it is missing or empty"]);
    check(r#"{"prompt": ""}"#, &["field `prompt`: it is missing or empty"]);
    check(r#"{"prompt": 3}"#, &["field `prompt`: it holds a number"]);
    check(
        r#"{"prompt": "a", "messages": [{"role": "user", "content": "b"}]}"#,
        &["field `messages`: it stands beside `prompt`"],
    );
    check(
        r#"{"messages": [{"role": "bot", "content": "a"}]}"#,
        &["messages[0].role"],
    );
    check(r#"{"messages": "a"}"#, &["field `messages`: it holds text"]);
    check(
        r#"{"prompt": "{", "prompt_format": "messages_json"}"#,
        &["field `messages`"],
    );
    check(
        r#"{"prompt": "a", "prompt_format": "markdown"}"#,
        &["field `prompt_format`"],
    );
    check(
        r#"{"prompt": "a", "split": "exam"}"#,
        &["field `split`: `exam` is no split"],
    );
    check(
        r#"{"prompt": "a", "split_key": "mine"}"#,
        &["field `split_key`: `mine` gives no split"],
    );
    check(r#"{"prompt": "a", "judge": {}}"#, &["field `judge`"]);
    check(r#"{"prompt": "a", "judge": []}"#, &["field `judge`"]);
    check(r#"{"prompt": "a", "schema": 3}"#, &["field `schema`"]);
    check(
        r#"{"prompt": "a", "response_format": "json"}"#,
        &["field `response_format`"],
    );
    check(
        r#"{"prompt": 3, "judge": 3, "domain": 3}"#,
        &["`prompt`", "`judge`", "`domain`"],
    );
    check("", &["no prompts"]);
    check(
        "{\"prompt_id\": \"a\", \"prompt\": \"x\"}\n{\"prompt_id\": \"a\", \"prompt\": \"y\"}\n",
        &["line 2: field `prompt`: prompt `a` has another `prompt` at line 1"],
    );
    check(
        "{\"prompt\": \"x\", \"reference\": 1}\n{\"prompt\": \"x\", \"reference\": 2}\n",
        &["line 2: field `reference`"],
    );
    check(
        "{\"prompt\": \"x\", \"split\": \"train\"}\n{\"prompt\": \"X!\", \"split\": \"test\"}\n",
        &["line 2: field `split`: key"],
    );
}

#[test]
fn bytes_that_are_not_text_are_named_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    std::fs::write(&path, b"{\"prompt\": \"a\"}\n{\"prompt\": \"\xff\"}\n").unwrap();
    let report = validate_checked(&path, |_| Ok(())).unwrap();
    assert_eq!((report.n_prompts, report.problems[0].line), (1, Some(2)));
}

#[test]
fn a_broken_line_among_thousands_is_named_and_can_be_skipped() {
    let mut lines: Vec<String> = (1..=8000)
        .map(|n| format!("{{\"prompt\": \"ask number {n}\"}}"))
        .collect();
    lines[7311] = "{\"prompt\": \"cut".to_owned();
    let (_folder, path) = written("a.jsonl", &lines.join("\n"));
    let error = read(&path, false).unwrap_err().to_string();
    assert!(
        error.contains("line 7312") && error.contains("--skip-invalid"),
        "{error}"
    );
    let prompts = read(&path, true).unwrap();
    assert_eq!((prompts.prompts.len(), prompts.report.n_invalid), (7999, 1));
}

#[test]
fn problems_are_counted_beyond_those_listed() {
    let (_folder, path) = written("a.jsonl", &"{}\n".repeat(100));
    let report = validate_checked(&path, |_| Ok(())).unwrap();
    assert_eq!(
        (report.n_problems, report.problems.len(), report.n_invalid),
        (100, 20, 100)
    );
    let error = read(&path, true).unwrap_err();
    assert!(
        matches!(error, RecordsError::InvalidPrompts { n_prompts: 0, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("and 95 more"), "{error}");
}

#[test]
fn what_says_the_same_again_is_merged() {
    let prompts = read_text("{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n{\"prompt\": \"a\", \"subset\": \"0\"}\n");
    assert_eq!((prompts.prompts.len(), prompts.report.n_merged), (2, 1));
    assert_eq!(prompts.prompts[0].subset, "0");
}

#[test]
fn near_duplicates_share_the_split_of_the_smallest_key() {
    let base = "a farmer has twelve sheep and nine goats and sells four of each at the market on a rainy tuesday in spring how many animals are left on the farm when he comes home in the evening and has fed all of them";
    let texts: Vec<String> = (0..6)
        .map(|n| base.replace("tuesday", &format!("tuesday {n}")))
        .collect();
    let lines: String = texts
        .iter()
        .map(|text| format!("{{\"prompt\": \"{text}\"}}\n"))
        .collect();
    let read = read_text(&lines);
    let smallest = read.prompts.iter().map(|prompt| &prompt.split_key).min().unwrap();
    let expected = crate::split::split_of_key(smallest).unwrap();
    assert!(
        read.prompts.iter().all(|prompt| prompt.split == expected),
        "{:?}",
        read.prompts
    );
    assert_eq!(read.report.n_near_duplicates, 6);
}

#[test]
fn given_splits_are_kept_and_a_crossing_is_told() {
    let base = "a farmer has twelve sheep and nine goats and sells four of each at the market on a rainy day in spring how many animals are left on the farm when he comes home in the evening and has fed all of them";
    let line = |text: &str, split: &str| format!("{{\"prompt\": \"{text}\", \"split\": {split}}}\n");
    let (one, two) = (base.replace("rainy", "sunny"), base.replace("rainy", "windy"));
    let read = read_text(&(line(base, "\"train\"") + &line(&one, "\"test\"") + &line(&two, "null")));
    let splits: Vec<Split> = read.prompts.iter().map(|prompt| prompt.split).collect();
    assert_eq!(splits[..2], [Split::Train, Split::Test]);
    assert!([Split::Train, Split::Test].contains(&splits[2]), "it joins one of them");
    assert!(
        read.report.warnings[0].contains("1 groups of near-duplicate questions cross"),
        "{:?}",
        read.report
    );
}

#[test]
fn unknown_fields_are_told() {
    let report = read_text("{\"prompt\": \"a\", \"refrence\": 1}\n").report;
    assert_eq!(report.warnings, ["field `refrence`, in 1 lines, is not read"]);
}

#[test]
fn parquet_columns_are_the_same_fields() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.parquet");
    let text = |cells: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(cells)) };
    let messages = r#"[{"role": "user", "content": "hi"}]"#;
    let columns = [
        ("prompt", text(vec![Some("a"), None, Some("b")])),
        ("messages", text(vec![None, Some(messages), Some("[")])),
        ("judge", text(vec![Some("exact"), Some(r#"{"kind": "numeric"}"#), None])),
        (
            "reference",
            Arc::new(Float64Array::from(vec![42.0, 0.5, 1.0])) as ArrayRef,
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    assert!(is_prompts_file(&path).unwrap());
    let read = read(&path, true).unwrap();
    assert_eq!(read.prompts[0].reference, Some(json!(42)));
    assert_eq!(read.prompts[1].reference, Some(json!(0.5)));
    assert_eq!(read.prompts[1].judge, Some(json!({"kind": "numeric"})));
    assert_eq!(read.prompts[1].text.format(), "messages_json");
    let problem = read.report.problems[0].to_string();
    assert!(
        problem.contains("data row 2") && problem.contains("column `messages`"),
        "{problem}"
    );
}

/// As pandas, polars and pyarrow write lists of objects: structs have the fields of all rows.
#[test]
fn parquet_columns_may_be_lists_and_structs() {
    let texts = |cells: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(cells)) };
    let strukt = |fields: Vec<(&str, ArrayRef)>| -> ArrayRef { Arc::new(StructArray::try_from(fields).unwrap()) };
    let lists = |lengths: [usize; 2], items: ArrayRef| -> ArrayRef {
        let item = Arc::new(Field::new_list_field(items.data_type().clone(), true));
        Arc::new(ListArray::new(item, OffsetBuffer::from_lengths(lengths), items, None))
    };
    let messages = strukt(vec![
        ("role", texts(vec![Some("system"), Some("user"), Some("user")])),
        ("content", texts(vec![Some("be brief"), Some("hi"), Some("ho")])),
        ("name", texts(vec![None, Some("Ann"), None])),
    ]);
    let functions = strukt(vec![("name", texts(vec![Some("add")]))]);
    let tools = strukt(vec![("type", texts(vec![Some("function")])), ("function", functions)]);
    let judge = texts(vec![Some("exact"), Some("number"), Some("exact")]);
    let length = strukt(vec![
        ("type", texts(vec![Some("integer"), Some("number")])),
        ("minimum", Arc::new(Int32Array::from(vec![Some(3), None])) as ArrayRef),
        (
            "maximum",
            Arc::new(Float64Array::from(vec![None, Some(2.5)])) as ArrayRef,
        ),
    ]);
    let schema = strukt(vec![
        ("type", texts(vec![Some("object"), Some("object")])),
        ("properties", strukt(vec![("length", length)])),
        (
            "additionalProperties",
            Arc::new(BooleanArray::from(vec![Some(false), None])) as ArrayRef,
        ),
    ]);
    let columns = [
        ("messages", lists([2, 1], messages)),
        ("tools", lists([1, 0], tools)),
        ("judge", lists([2, 1], judge)),
        ("schema", schema),
        (
            "response_format",
            strukt(vec![("type", texts(vec![Some("json_object"), Some("text")]))]),
        ),
        (
            "reference",
            lists([1, 1], Arc::new(Int32Array::from(vec![7, 8])) as ArrayRef),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.parquet");
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    assert!(is_prompts_file(&path).unwrap());
    let prompts = read(&path, false).unwrap().prompts;
    // The same as lines of JSON say it.
    let lines = [
        json!({
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi", "name": "Ann"}],
            "tools": [{"type": "function", "function": {"name": "add"}}], "judge": ["exact", "number"],
            "schema": {"type": "object", "properties": {"length": {"type": "integer", "minimum": 3}}, "additionalProperties": false},
            "response_format": {"type": "json_object"}, "reference": [7], "dataset": "p",
        }),
        json!({
            "messages": [{"role": "user", "content": "ho"}], "tools": [], "judge": ["exact"],
            "schema": {"type": "object", "properties": {"length": {"type": "number", "maximum": 2.5}}},
            "response_format": {"type": "text"}, "reference": [8], "dataset": "p",
        }),
    ];
    assert_eq!(prompts, read_text(&format!("{}\n{}\n", lines[0], lines[1])).prompts);
}

#[test]
fn a_parquet_column_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.parquet");
    let messages = vec![("role", Arc::new(StringArray::from(vec!["user"])) as ArrayRef)];
    let columns = [
        ("prompt", Arc::new(StringArray::from(vec!["a"])) as ArrayRef),
        ("judge", Arc::new(StructArray::try_from(messages).unwrap()) as ArrayRef),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let error = read(&path, false).unwrap_err().to_string();
    assert!(
        error.contains("column `judge`") && error.contains("an object with `kind`"),
        "{error}"
    );
}

#[test]
fn files_are_told_apart_by_content() {
    let check = |text: &str, expected: bool| {
        let (_folder, path) = written("a.bin", text);
        assert_eq!(is_prompts_file(&path).unwrap(), expected, "{text}");
    };
    check("{\"prompt\": \"a\"}", true);
    check("\u{feff}\n {", true);
    check("prompt,model\n", false);
    check("", false);
    assert!(is_prompts_file(std::path::Path::new("/nowhere")).is_err());
}

#[test]
fn what_somebody_else_objects_to_is_a_problem_with_its_place() {
    let (_folder, path) = written(
        "p.jsonl",
        "{\"prompt\": \"good\", \"judge\": \"a\"}\n{\"prompt\": \"bad\", \"judge\": \"b\"}\n",
    );
    let check = |prompt: &Prompt| match prompt.judge == Some("a".into()) {
        true => Ok(()),
        false => Err(Objection {
            field: "judge",
            what: "there is no such judge".to_owned(),
            mend: "Name another".to_owned(),
        }),
    };
    let error = read_checked(&path, false, check).unwrap_err().to_string();
    assert!(
        error.contains("line 2: field `judge`: there is no such judge. Name another"),
        "{error}"
    );
    let skipped = read_checked(&path, true, check).unwrap();
    assert_eq!((skipped.prompts.len(), skipped.report.n_invalid), (1, 1));
}
