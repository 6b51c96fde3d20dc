use super::*;
use crate::catalog::{Capabilities, Tier};
use crate::request::{Context, Needs};

/// The wish of a settings file: its rules.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct File {
    rules: Vec<Rule>,
}

/// The baseline as it stands in `tiercast.toml`.
const BASELINE: &str = r#"
[[rules]]
name = "long or many tool calls"
when = { any = [ { signal = "input_tokens", above = 8000 }, { signal = "n_tool_calls", above = 3 } ] }
class = 1

[[rules]]
name = "classification and slot filling"
when = { signal = "task", is = ["classification", "slot_filling"] }
class = 3

[[rules]]
name = "everything else"
class = 2
"#;

/// `large` of class 1, `mid` of 2 and `small` of 3.
fn catalog() -> Catalog {
    let tier = |(name, class): (&str, u8)| Tier {
        name: name.to_owned(),
        class,
        input_usd_per_mtok: 1.0,
        output_usd_per_mtok: 1.0,
        cached_input_usd_per_mtok: None,
        context_window: None,
        capabilities: Capabilities::default(),
        latency_p95_s: None,
    };
    Catalog::new([("large", 1), ("mid", 2), ("small", 3)].map(tier).to_vec()).unwrap()
}

fn rules(text: &str) -> Vec<Rule> {
    toml::from_str::<File>(text).unwrap().rules
}

/// Rules with these conditions (none where empty), named a, b, c, to class 1.
fn with_conditions(conditions: &[&str]) -> Vec<Rule> {
    let table = |(when, name): (&&str, char)| {
        let when = if when.is_empty() {
            String::new()
        } else {
            format!("when = {when}\n")
        };
        format!("[[rules]]\nname = \"{name}\"\n{when}class = 1\n")
    };
    rules(&conditions.iter().zip('a'..).map(table).collect::<String>())
}

#[test]
fn the_baseline_is_what_is_written() {
    assert_eq!(RuleList::check(&rules(BASELINE), &catalog()), Ok(RuleList::baseline()));
}

#[test]
fn rules_survive_being_written() {
    let text = r#"
        [[rules]]
        name = "a"
        when = { all = [{ not = { signal = "n_tools", at_least = 2, at_most = 5.5 } }, { signal = "asks_for", is = ["code"] }] }
        tier = "mid"
        [[rules]]
        name = "b"
        when = { signal = "ask_tokens", above = 1, below = 9 }
        class = 3
    "#;
    let file: File = toml::from_str(text).unwrap();
    assert_eq!(toml::from_str::<File>(&toml::to_string(&file).unwrap()).unwrap(), file);
}

fn request(ask: &str) -> Request {
    Request::of_text(ask)
}

fn check_baseline(request: &Request, told: Told<'_>, rule_idx: usize) {
    let list = RuleList::baseline();
    let fired = list.fire(request, told);
    assert_eq!(fired.rule_idx, rule_idx, "{request:?} {told:?}");
    assert_eq!(fired.target, Preferred::Class([1, 3, 2][rule_idx]));
}

#[test]
fn the_baseline_fires() {
    let untold = Told::default();
    check_baseline(&request("What is the capital of Peru?"), untold, 2);
    check_baseline(&request(&"word ".repeat(6400)), untold, 2);
    check_baseline(&request(&"word ".repeat(6401)), untold, 0);
    check_baseline(
        &request("short"),
        Told {
            input_tokens: Some(8001),
            ..untold
        },
        0,
    );
    check_baseline(
        &request(&"word ".repeat(9000)),
        Told {
            input_tokens: Some(8000),
            ..untold
        },
        2,
    );
    check_baseline(&request("Classify this review: I loved it."), untold, 1);
    check_baseline(
        &request("What is it?"),
        Told {
            task: Some("slot_filling"),
            ..untold
        },
        1,
    );
    check_baseline(
        &request("Classify this review"),
        Told {
            task: Some("essay"),
            ..untold
        },
        2,
    );
    let after = |n_tool_results| Request {
        context: Context {
            n_tool_results,
            ..Context::default()
        },
        ..request("Classify this")
    };
    check_baseline(&after(3), untold, 1);
    check_baseline(&after(4), untold, 0);
}

#[test]
fn without_a_last_word_it_is_class_2() {
    let list = RuleList::check(&with_conditions(&[r#"{ signal = "n_tools", above = 3 }"#]), &catalog()).unwrap();
    let fired = list.fire(&request("hello"), Told::default());
    assert_eq!(
        fired,
        Fired {
            rule_idx: 1,
            name: "no rule fired",
            target: Preferred::Class(2)
        }
    );
}

#[test]
fn a_rule_may_name_a_tier() {
    let list = RuleList::check(&rules("[[rules]]\nname = \"all\"\ntier = \"small\""), &catalog()).unwrap();
    let fired = list.fire(&request("hello"), Told::default());
    assert_eq!(
        fired,
        Fired {
            rule_idx: 0,
            name: "all",
            target: Preferred::Tier(2)
        }
    );
}

/// A request whose every count is another.
fn telling() -> Request {
    Request {
        ask: "Write it in Python, please.".to_owned(),
        context: Context {
            n_messages: 11,
            n_earlier_asks: 3,
            n_assistant: 1,
            n_tool_results: 4,
            n_tools: 6,
            n_images: 2,
            system_bytes: 1000,
            history_bytes: 200,
            tools_bytes: 30,
            tool_result_bytes: 4,
            agent_loop: true,
        },
        needs: Needs {
            tools: true,
            json_schema: false,
            vision: true,
        },
        max_output_tokens: Some(77),
    }
}

fn check_holds(when: &str, request: &Request, expected: bool) {
    let list = RuleList::check(&with_conditions(&[when]), &catalog()).unwrap();
    assert_eq!(list.fire(request, Told::default()).rule_idx == 0, expected, "{when}");
}

#[test]
fn signals() {
    for (signal, value) in [
        // 27 bytes of the ask and 1234 around it.
        ("input_tokens", 316),
        ("ask_tokens", 7),
        ("n_messages", 11),
        ("n_earlier_asks", 3),
        ("n_tools", 6),
        ("n_tool_calls", 4),
        ("n_images", 2),
        ("agent_loop", 1),
        ("needs_tools", 1),
        ("needs_json_schema", 0),
        ("needs_vision", 1),
        ("max_output_tokens", 77),
    ] {
        let is_value = format!("{{ signal = \"{signal}\", at_least = {value}, at_most = {value} }}");
        check_holds(&is_value, &telling(), true);
        check_holds(&format!("{{ not = {is_value} }}"), &telling(), false);
    }
    check_holds(r#"{ signal = "asks_for", is = ["json", "code"] }"#, &telling(), true);
    check_holds(r#"{ signal = "asks_for", is = ["text"] }"#, &telling(), false);
    assert_eq!(Signal::NAMES.len(), 14);
}

#[test]
fn comparisons() {
    for (comparison, expected) in [
        ("above = 6", false),
        ("above = 5.5", true),
        ("at_least = 6", true),
        ("at_least = 6.5", false),
        ("below = 6", false),
        ("below = 6.5", true),
        ("at_most = 6", true),
        ("at_most = 5", false),
        ("above = 5, below = 7", true),
        ("above = 6, below = 9", false),
    ] {
        check_holds(
            &format!("{{ signal = \"n_tools\", {comparison} }}"),
            &telling(),
            expected,
        );
    }
}

#[test]
fn what_is_absent_is_neither_large_nor_small() {
    let unlimited = request("hello");
    check_holds(r#"{ signal = "max_output_tokens", above = 10 }"#, &unlimited, false);
    check_holds(r#"{ signal = "max_output_tokens", at_most = 10 }"#, &unlimited, false);
    check_holds(
        r#"{ not = { signal = "max_output_tokens", at_most = 10 } }"#,
        &unlimited,
        true,
    );
    check_holds(r#"{ signal = "task", is = ["classification"] }"#, &unlimited, false);
}

#[test]
fn joined_conditions() {
    let (yes, no) = (
        r#"{ signal = "n_tools", above = 5 }"#,
        r#"{ signal = "n_images", above = 5 }"#,
    );
    for (when, expected) in [
        (format!("{{ any = [{no}, {yes}] }}"), true),
        (format!("{{ any = [{no}] }}"), false),
        (format!("{{ all = [{no}, {yes}] }}"), false),
        (format!("{{ all = [{yes}, {yes}] }}"), true),
        (format!("{{ not = {no} }}"), true),
        (format!("{{ all = [{yes}, {{ not = {{ any = [{no}] }} }}] }}"), true),
    ] {
        check_holds(&when, &telling(), expected);
    }
}

#[test]
fn inferred_tasks() {
    let long = "lorem ipsum ".repeat(100);
    for (ask, expected) in [
        (
            "Classify the following ticket: my card was declined",
            Some("classification"),
        ),
        ("Which category does this belong to?", Some("classification")),
        ("Please  LABEL\nthe sentences below", Some("classification")),
        ("Extract the following fields: name, date, total", Some("slot_filling")),
        (
            "Fill in the slots of this booking and classify it",
            Some("slot_filling"),
        ),
        (&format!("{long} Which class is it?"), Some("classification")),
        // In the midst of the material, not an instruction.
        (&format!("{long} which class is it? {long}"), None),
        ("What are declassified papers?", None),
        ("Write a program that can classify images", None),
        ("Explain how to classify galaxies", None),
        ("Prove that 2 is prime", None),
        ("", None),
    ] {
        assert_eq!(task::infer(ask), expected, "{ask}");
    }
}

#[test]
fn what_is_asked_for() {
    for (ask, expected) in [
        ("Reply as JSON.", "json"),
        ("Who is Jason?", "text"),
        ("Sort this list in Rust", "code"),
        ("Trust me", "text"),
        ("What does this do?\n```\nx = 1\n```", "code"),
        ("Straße, naïve, 日本語: write on", "text"),
    ] {
        assert_eq!(task::asked_for(&request(ask)), expected, "{ask}");
    }
    let needs = Needs {
        json_schema: true,
        ..Needs::default()
    };
    assert_eq!(
        task::asked_for(&Request {
            needs,
            ..request("hello")
        }),
        "json"
    );
    // Neither end cuts a character in two.
    assert_eq!(task::asked_for(&request(&"é".repeat(1000))), "text");
    assert_eq!(task::asked_for(&request(&format!("{} json", "é".repeat(500)))), "json");
}

fn check_error(rules: &[Rule], expected: &str) {
    assert_eq!(RuleList::check(rules, &catalog()).unwrap_err().to_string(), expected);
}

#[test]
fn refusals_name_the_rule() {
    check_error(&[], "there is no rule; write one [[rules]] table at least");
    check_error(
        &rules("[[rules]]\nname = \" \"\nclass = 1"),
        "rule 1 (` `) has no name; give it one, the decision shows it",
    );
    check_error(
        &rules(&format!("{BASELINE}\n[[rules]]\nname = \"everything else\"\nclass = 1")),
        "rule 4 (`everything else`) has the name of an earlier rule; give it one of its own",
    );
    check_error(
        &rules("[[rules]]\nname = \"a\"\nclass = 4"),
        "rule 1 (`a`): no tier has class 4; the tiers' classes are 1, 2, 3",
    );
    check_error(
        &rules("[[rules]]\nname = \"a\"\ntier = \"huge\""),
        "rule 1 (`a`): there is no tier `huge`; the tiers are large, mid, small",
    );
}

#[test]
fn refusals_of_comparisons() {
    for (when, expected) in [
        (
            "{ any = [] }",
            "a list (any, all or is) has nothing in it; fill it or take it out",
        ),
        (
            "{ not = { all = [] } }",
            "a list (any, all or is) has nothing in it; fill it or take it out",
        ),
        (
            r#"{ signal = "task", is = [] }"#,
            "a list (any, all or is) has nothing in it; fill it or take it out",
        ),
        (
            r#"{ signal = "n_tools", above = -1 }"#,
            "n_tools is compared with -1; give a number of at least 0",
        ),
        (
            r#"{ signal = "n_tools", below = nan }"#,
            "n_tools is compared with NaN; give a number of at least 0",
        ),
        (
            r#"{ signal = "n_tools", at_most = inf }"#,
            "n_tools is compared with inf; give a number of at least 0",
        ),
        (
            r#"{ signal = "n_tools", is = ["many"] }"#,
            "n_tools is a number and has no labels; compare it by above, at_least, below or at_most",
        ),
        (
            r#"{ signal = "task", above = 1 }"#,
            r#"task is a label; compare it by is = ["LABEL"]"#,
        ),
        (
            r#"{ signal = "agent_loop", above = 1 }"#,
            "no request meets the condition on agent_loop, which is 0 or 1; change it or take it out",
        ),
        (
            r#"{ any = [{ signal = "n_tools", above = 1 }, { signal = "n_images", below = 0 }] }"#,
            "no request meets the condition on n_images, which is a whole number of at least 0; change it or take it out",
        ),
        (
            r#"{ signal = "ask_tokens", above = 10, below = 11 }"#,
            "no request meets the condition on ask_tokens, which is a whole number of at least 0; change it or take it \
             out",
        ),
        (
            r#"{ signal = "asks_for", is = ["poem"] }"#,
            "no request meets the condition on asks_for, which is one of json, code, text; change it or take it out",
        ),
    ] {
        check_error(&with_conditions(&[when]), &format!("rule 1 (`a`): {expected}"));
    }
}

const CONTRADICTION: &str =
    "can never fire: the parts of its condition contradict one another; change them or take it out";

#[test]
fn contradictions() {
    for when in [
        r#"{ all = [{ signal = "n_tools", above = 10 }, { signal = "n_tools", below = 5 }] }"#,
        r#"{ all = [{ signal = "n_tools", above = 10 }, { not = { signal = "n_tools", above = 4 } }] }"#,
        r#"{ all = [{ signal = "task", is = ["a", "b"] }, { signal = "task", is = ["c"] }] }"#,
        r#"{ not = { any = [{ signal = "n_tools", above = 0 }, { signal = "n_tools", at_most = 0 }] } }"#,
        r#"{ not = { signal = "asks_for", is = ["text", "code", "json"] } }"#,
    ] {
        check_error(&with_conditions(&[when]), &format!("rule 1 (`a`) {CONTRADICTION}"));
    }
}

fn check_shadowed(conditions: &[&str], by: &str) {
    let name = ('a'..).nth(conditions.len() - 1).unwrap();
    check_error(
        &with_conditions(conditions),
        &format!(
            "rule {} (`{name}`) can never fire: every request that it is for goes to {by}; move it up or take it out",
            conditions.len()
        ),
    );
}

#[test]
fn rules_that_are_left_nothing() {
    let any_tools = r#"{ signal = "n_tools", above = 0 }"#;
    check_shadowed(&["", any_tools], "rule 1 (`a`)");
    check_shadowed(&["", ""], "rule 1 (`a`)");
    check_shadowed(&[any_tools, r#"{ signal = "n_tools", above = 5 }"#], "rule 1 (`a`)");
    check_shadowed(&[any_tools, r#"{ signal = "n_tools", at_least = 1 }"#], "rule 1 (`a`)");
    check_shadowed(
        &[
            any_tools,
            r#"{ all = [{ signal = "n_images", above = 2 }, { signal = "n_tools", above = 5 }] }"#,
        ],
        "rule 1 (`a`)",
    );
    check_shadowed(
        &[
            r#"{ signal = "n_tools", above = 5 }"#,
            r#"{ signal = "n_tools", below = 10 }"#,
            "",
        ],
        "the rules before it together",
    );
    check_shadowed(
        &[
            r#"{ signal = "task", is = ["x", "y"] }"#,
            r#"{ signal = "task", is = ["y"] }"#,
        ],
        "rule 1 (`a`)",
    );
}

#[test]
fn rules_that_are_left_something() {
    for conditions in [
        [
            r#"{ signal = "n_tools", above = 5 }"#,
            r#"{ signal = "n_tools", above = 4 }"#,
            "",
        ],
        // Requests without a limit are left for the last.
        [
            r#"{ signal = "max_output_tokens", above = 5 }"#,
            r#"{ signal = "max_output_tokens", at_most = 5 }"#,
            "",
        ],
        [
            r#"{ signal = "task", is = ["x"] }"#,
            r#"{ signal = "task", is = ["x", "y"] }"#,
            "",
        ],
    ] {
        assert!(
            RuleList::check(&with_conditions(&conditions), &catalog()).is_ok(),
            "{conditions:?}"
        );
    }
}

#[test]
fn many_rules_are_checked_in_bounded_time() {
    let names = Signal::NAMES.map(|(_, name)| name);
    let rule = |idx: usize| {
        let part = |offset: usize| {
            format!(
                "{{ signal = \"{}\", above = {} }}",
                names[(idx + offset) % 7],
                2 + idx / 7
            )
        };
        let parts: Vec<String> = (0..4).map(part).collect();
        format!("{{ all = [{}] }}", parts.join(", "))
    };
    let conditions: Vec<String> = (0..26).rev().map(rule).collect();
    let conditions: Vec<&str> = conditions.iter().map(String::as_str).collect();
    assert!(RuleList::check(&with_conditions(&conditions), &catalog()).is_ok());
}

fn check_unreadable(text: &str, expected: &str) {
    let message = toml::from_str::<File>(text).unwrap_err().to_string();
    assert!(message.contains(expected) && message.contains("line "), "{message}");
}

#[test]
fn what_cannot_be_read() {
    let rule = |when: &str| format!("[[rules]]\nname = \"a\"\nwhen = {when}\nclass = 1");
    check_unreadable(
        &rule(r#"{ signal = "n_tokens", above = 1 }"#),
        "there is no signal `n_tokens`; the signals are input_tokens, ask_tokens, n_messages",
    );
    check_unreadable(
        &rule(r#"{ signal = "n_tools" }"#),
        "needs above, at_least, below, at_most or is",
    );
    check_unreadable(&rule(r#"{ signal = "n_tools", over = 1 }"#), "unknown field `over`");
    check_unreadable(&rule("{ above = 1 }"), "a condition is one of");
    check_unreadable(
        &rule(r#"{ signal = "n_tools", above = 1, any = [] }"#),
        "a condition is one of",
    );
    check_unreadable(&rule("{}"), "a condition is one of");
    check_unreadable(
        "[[rules]]\nname = \"a\"",
        "rule `a` needs either class = 1 to 4 or tier = \"NAME\"",
    );
    check_unreadable("[[rules]]\nname = \"a\"\nclass = 1\ntier = \"mid\"", "and not both");
}
