//! Surface signals: what can be counted in the ask, then what is around it.
//!
//! Each signal is a name and its formula on one line. Signals of the ask read nothing but
//! `request.ask`, so a long system prompt or many tools leave them as they are. All are finite,
//! roughly within 0 to 15, and rounded to 1/1024 so that libraries of mathematics agree on them.

use std::borrow::Cow;
use std::ops::Range;

use tiercast_routing::request::Request;

/// Bytes of the ask that are read: of a longer one the start and the end.
pub const ASK_BYTES: usize = 32 * 1024;
/// Bytes kept of the end; instructions after a long document stand there.
const END_BYTES: usize = 8 * 1024;

/// Number of signals.
const N: usize = ASK.len() + CONTEXT.len();

/// Names of the signals, in the order of [`surface`].
pub const NAMES: [&str; N] = names();

/// Where the signals of what is around the ask stand.
pub const CONTEXT_RANGE: Range<usize> = ASK.len()..N;

/// Whether a signal is of what is around the ask.
pub fn is_context(name: &str) -> bool {
    name.starts_with("context_")
}

/// The signals of a request, one per name in [`NAMES`].
pub fn surface(request: &Request, ask_tokens: u32) -> Vec<f32> {
    let text = cut(&request.ask);
    let ask = Ask::read(&text, ask_tokens);
    let of_ask = ASK.iter().map(|(_, signal)| signal(&ask));
    let of_context = CONTEXT.iter().map(|(_, signal)| signal(request));
    of_ask
        .chain(of_context)
        .map(|value| ((value * 1024.0).round() / 1024.0) as f32)
        .collect()
}

/// The part of an ask that is read: all of it, or the first 24 and the last 8 KiB.
pub fn cut(ask: &str) -> Cow<'_, str> {
    if ask.len() <= ASK_BYTES {
        return Cow::Borrowed(ask);
    }
    let start = ask.floor_char_boundary(ASK_BYTES - END_BYTES);
    let end = ask.ceil_char_boundary(ask.len() - END_BYTES);
    Cow::Owned([&ask[..start], &ask[end..]].join("\n"))
}

type Signal<T> = (&'static str, fn(&T) -> f64);

const ASK: [Signal<Ask>; 46] = [
    // Size and shape.
    ("tokens_log", |ask| log(ask.n_tokens)),
    ("chars_log", |ask| log(ask.chars.n)),
    ("words_log", |ask| log(ask.words.n)),
    ("lines_log", |ask| log(ask.lines.n)),
    ("sentences_log", |ask| log(ask.chars.sentences)),
    ("word_length_mean", |ask| ratio(ask.words.chars, ask.words.n).min(15.0)),
    ("sentence_words_log", |ask| {
        ratio(ask.words.n, ask.chars.sentences).ln_1p()
    }),
    ("longest_line_log", |ask| log(ask.lines.longest)),
    ("unique_words_ratio", |ask| ratio(ask.words.unique, ask.words.n)),
    ("digits_ratio", |ask| ratio(ask.chars.digits, ask.chars.n)),
    ("punctuation_ratio", |ask| ratio(ask.chars.punctuation, ask.chars.n)),
    ("upper_case_ratio", |ask| ratio(ask.chars.upper_case, ask.chars.n)),
    ("non_ascii_ratio", |ask| ratio(ask.chars.non_ascii, ask.chars.n)),
    ("whitespace_ratio", |ask| ratio(ask.chars.whitespace, ask.chars.n)),
    // Mathematics, code, law.
    ("numbers_log", |ask| log(ask.words.numbers)),
    ("units_log", |ask| log(ask.chars.percent + ask.group(Group::Unit))),
    ("math_symbols_log", |ask| log(ask.chars.math_symbols)),
    ("latex_log", |ask| log(ask.chars.latex)),
    ("code_fences_log", |ask| log(ask.lines.code_fences)),
    ("code_symbols_log", |ask| log(ask.chars.code_symbols)),
    ("code_keywords_log", |ask| log(ask.group(Group::CodeKeyword))),
    ("law_log", |ask| log(ask.chars.section_signs + ask.group(Group::Law))),
    ("urls", |ask| flag(ask.words.url)),
    ("quotes_log", |ask| log(ask.chars.quotes)),
    // Questions and their answers.
    ("questions_log", |ask| log(ask.chars.questions)),
    ("options_log", |ask| log(ask.lines.options)),
    ("longest_option_log", |ask| log(ask.lines.longest_option)),
    ("blank", |ask| flag(ask.lines.blank)),
    ("negations_log", |ask| log(ask.group(Group::Negation))),
    ("what", |ask| ask.has(Group::What)),
    ("which", |ask| ask.has(Group::Which)),
    ("how", |ask| ask.has(Group::How)),
    ("why", |ask| ask.has(Group::Why)),
    ("who", |ask| ask.has(Group::Who)),
    ("when", |ask| ask.has(Group::When)),
    // Work that is asked for.
    ("steps_log", |ask| log(ask.group(Group::Step))),
    ("prove", |ask| ask.has(Group::Prove)),
    ("compute", |ask| ask.has(Group::Compute)),
    ("explain", |ask| ask.has(Group::Explain)),
    ("write", |ask| ask.has(Group::Write)),
    ("translate", |ask| ask.has(Group::Translate)),
    ("classify", |ask| {
        flag(ask.words.which_of || ask.group(Group::Classify) > 0)
    }),
    ("wants_json", |ask| ask.has(Group::Json)),
    ("wants_table", |ask| ask.has(Group::Table)),
    ("wants_list", |ask| ask.has(Group::List)),
    ("wants_code", |ask| ask.has(Group::Code)),
];

const CONTEXT: [Signal<Request>; 14] = [
    ("context_tools_log", |request| log(request.context.n_tools)),
    ("context_tools_tokens_log", |request| {
        log_tokens(request.context.tools_bytes)
    }),
    ("context_system_tokens_log", |request| {
        log_tokens(request.context.system_bytes)
    }),
    ("context_history_tokens_log", |request| {
        log_tokens(request.context.history_bytes)
    }),
    ("context_tool_result_tokens_log", |request| {
        log_tokens(request.context.tool_result_bytes)
    }),
    ("context_messages_log", |request| log(request.context.n_messages)),
    ("context_earlier_asks_log", |request| {
        log(request.context.n_earlier_asks)
    }),
    ("context_tool_results_log", |request| {
        log(request.context.n_tool_results)
    }),
    ("context_agent_loop", |request| flag(request.context.agent_loop)),
    ("context_images_log", |request| log(request.context.n_images)),
    ("context_needs_tools", |request| flag(request.needs.tools)),
    ("context_needs_json_schema", |request| flag(request.needs.json_schema)),
    ("context_max_output_set", |request| {
        flag(request.max_output_tokens.is_some())
    }),
    ("context_max_output_log", |request| {
        log(request.max_output_tokens.unwrap_or(0))
    }),
];

const fn names() -> [&'static str; N] {
    let mut names = [""; N];
    let mut idx = 0;
    while idx < N {
        names[idx] = if idx < ASK.len() {
            ASK[idx].0
        } else {
            CONTEXT[idx - ASK.len()].0
        };
        idx += 1;
    }
    names
}

/// All counts of an ask.
struct Ask {
    n_tokens: u32,
    chars: Chars,
    lines: Lines,
    words: Words,
}

impl Ask {
    fn read(text: &str, n_tokens: u32) -> Self {
        let lower = text.to_lowercase();
        Self {
            n_tokens,
            chars: Chars::read(text),
            lines: Lines::read(text),
            words: Words::read(&lower),
        }
    }

    fn group(&self, group: Group) -> u32 {
        self.words.groups[group as usize]
    }

    fn has(&self, group: Group) -> f64 {
        flag(self.group(group) > 0)
    }
}

#[derive(Default)]
struct Chars {
    n: u32,
    digits: u32,
    punctuation: u32,
    upper_case: u32,
    non_ascii: u32,
    whitespace: u32,
    math_symbols: u32,
    latex: u32,
    code_symbols: u32,
    section_signs: u32,
    percent: u32,
    quotes: u32,
    questions: u32,
    sentences: u32,
}

impl Chars {
    fn read(text: &str) -> Self {
        let mut counts = Self::default();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            counts.add(c, chars.peek().copied());
        }
        // A text without a full stop is a sentence too.
        counts.sentences = counts.sentences.max(u32::from(counts.n > counts.whitespace));
        counts
    }

    fn add(&mut self, c: char, next: Option<char>) {
        self.n += 1;
        self.digits += u32::from(c.is_numeric());
        self.punctuation += u32::from(c.is_ascii_punctuation());
        self.upper_case += u32::from(c.is_uppercase());
        self.non_ascii += u32::from(!c.is_ascii());
        self.whitespace += u32::from(c.is_whitespace());
        let before_space = next.is_none_or(char::is_whitespace);
        match c {
            '=' | '+' | '*' | '/' | '^' | '<' | '>' | '√' | '∑' | '∫' | '≤' | '≥' | '≠' | '×' | '÷' | '∞' | 'π'
            | '$' => {
                self.math_symbols += 1;
            }
            '%' => {
                self.math_symbols += 1;
                self.percent += 1;
            }
            '{' | '}' | ';' | '(' | ')' | '[' | ']' => self.code_symbols += 1,
            // `\frac`, `\(` and `\[`.
            '\\' => self.latex += u32::from(next.is_some_and(|next| next.is_ascii_alphabetic() || "([".contains(next))),
            '§' | '¶' => self.section_signs += 1,
            '"' | '“' | '”' | '«' | '»' | '„' => self.quotes += 1,
            '?' => {
                self.questions += 1;
                self.sentences += u32::from(before_space);
            }
            '？' => {
                self.questions += 1;
                self.sentences += 1;
            }
            '.' | '!' => self.sentences += u32::from(before_space),
            '。' | '！' => self.sentences += 1,
            _ => {}
        }
    }
}

#[derive(Default)]
struct Lines {
    n: u32,
    /// Bytes.
    longest: usize,
    options: u32,
    /// Bytes.
    longest_option: usize,
    code_fences: u32,
    /// `___`, to be filled in.
    blank: bool,
}

impl Lines {
    fn read(text: &str) -> Self {
        let mut counts = Self {
            blank: text.contains("___"),
            ..Self::default()
        };
        for line in text.lines() {
            counts.n += 1;
            counts.longest = counts.longest.max(line.len());
            let line = line.trim();
            counts.code_fences += u32::from(line.starts_with("```"));
            if let Some(option) = option(line) {
                counts.options += 1;
                counts.longest_option = counts.longest_option.max(option.len());
            }
        }
        counts
    }
}

/// Text of an answer to choose: of `A. text`, `B) text`, `C: text` or `(D) text`.
pub(crate) fn option(line: &str) -> Option<&str> {
    let (line, closings) = line.strip_prefix('(').map_or((line, ".):"), |inner| (inner, ")"));
    let rest = line
        .strip_prefix(|c| ('A'..='J').contains(&c))?
        .strip_prefix(|c| closings.contains(c))?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim_start())
}

#[derive(Default)]
struct Words {
    n: u32,
    /// Characters within words.
    chars: usize,
    unique: usize,
    numbers: u32,
    url: bool,
    which_of: bool,
    groups: [u32; Group::Code as usize + 1],
}

impl Words {
    /// Words are longest runs of letters and digits.
    fn read(lower: &str) -> Self {
        let mut counts = Self {
            url: lower.contains("://") || lower.contains("www."),
            which_of: lower.contains("which of the"),
            ..Self::default()
        };
        let mut words: Vec<&str> = lower
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        for word in &words {
            counts.n += 1;
            counts.chars += word.chars().count();
            counts.numbers += u32::from(word.starts_with(char::is_numeric));
            if let Some(group) = group(word) {
                counts.groups[group as usize] += 1;
            }
        }
        words.sort_unstable();
        words.dedup();
        counts.unique = words.len();
        counts
    }
}

/// Words that say what kind of work an ask is. A word is in one group.
#[derive(Clone, Copy)]
enum Group {
    Negation,
    What,
    Which,
    How,
    Why,
    Who,
    When,
    Step,
    Prove,
    Compute,
    Explain,
    Write,
    Translate,
    Classify,
    CodeKeyword,
    Law,
    Unit,
    Json,
    Table,
    List,
    /// The last, see [`Words::groups`].
    Code,
}

fn group(word: &str) -> Option<Group> {
    Some(match word {
        "not" | "except" | "least" | "never" | "cannot" | "incorrect" | "false" => Group::Negation,
        "what" => Group::What,
        "which" => Group::Which,
        "how" => Group::How,
        "why" => Group::Why,
        "who" | "whom" | "whose" => Group::Who,
        "when" => Group::When,
        "first" | "second" | "then" | "next" | "finally" | "afterwards" | "step" | "steps" | "also" => Group::Step,
        "prove" | "proof" | "derive" | "show" | "verify" => Group::Prove,
        "calculate" | "compute" | "find" | "solve" | "evaluate" | "determine" | "simplify" => Group::Compute,
        "explain" | "describe" | "discuss" | "compare" | "analyze" | "analyse" => Group::Explain,
        "write" | "implement" | "generate" | "create" | "compose" | "draft" | "design" => Group::Write,
        "translate" | "summarize" | "summarise" | "summary" | "rewrite" | "paraphrase" => Group::Translate,
        "classify" | "extract" | "identify" | "label" | "categorize" | "categorise" => Group::Classify,
        "def" | "function" | "class" | "return" | "import" | "select" | "const" | "void" | "public" => {
            Group::CodeKeyword
        }
        "section" | "article" | "clause" | "statute" | "court" | "plaintiff" | "defendant" => Group::Law,
        "percent" | "km" | "cm" | "mm" | "kg" | "mg" | "ml" | "mol" | "hz" | "meters" | "metres" | "seconds"
        | "minutes" | "hours" | "degrees" | "dollars" => Group::Unit,
        "json" | "yaml" | "xml" => Group::Json,
        "table" | "csv" => Group::Table,
        "list" | "bullet" | "bullets" => Group::List,
        "code" | "python" | "javascript" | "java" | "rust" | "sql" | "script" | "html" | "regex" => Group::Code,
        _ => return None,
    })
}

/// ln(1 + count).
fn log(count: impl TryInto<u32>) -> f64 {
    f64::from(count.try_into().unwrap_or(u32::MAX)).ln_1p()
}

/// Of a size in bytes, at four bytes per token.
fn log_tokens(bytes: u64) -> f64 {
    log(bytes.div_ceil(4))
}

/// 0 where there is nothing.
fn ratio(part: impl TryInto<u32>, whole: u32) -> f64 {
    f64::from(part.try_into().unwrap_or(u32::MAX)) / f64::from(whole.max(1))
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

#[cfg(test)]
mod tests {
    use tiercast_routing::request::{Context, Needs};

    use super::*;

    fn signal(request: &Request, name: &str) -> f32 {
        let idx = NAMES.iter().position(|other| *other == name).expect(name);
        surface(request, 0)[idx]
    }

    fn check(ask: &str, name: &str, expected: f64) {
        let found = f64::from(signal(&Request::of_text(ask), name));
        assert!(
            (found - expected).abs() < 1e-3,
            "{name} of {ask:?}: {found}, expected {expected}"
        );
    }

    #[test]
    fn signals_of_the_ask() {
        let log = f64::ln_1p;
        check("one two\nthree", "words_log", log(3.0));
        check("one two\nthree", "lines_log", log(2.0));
        check("one two\nthree", "longest_line_log", log(7.0));
        check("ab cdef", "word_length_mean", 3.0);
        check("the cat the", "unique_words_ratio", 2.0 / 3.0);
        check("Hi. You? Yes!", "sentences_log", log(3.0));
        check("version 1.5 is out", "sentences_log", log(1.0));
        check("a1b2", "digits_ratio", 0.5);
        check("ABcd", "upper_case_ratio", 0.5);
        check("é€ab", "non_ascii_ratio", 0.5);
        check("12 apples, 3.5 kg, 7%", "numbers_log", log(4.0));
        check("12 apples, 3.5 kg, 7%", "units_log", log(2.0));
        check("x^2 + y = √2", "math_symbols_log", log(4.0));
        check(r"\frac{a}{b} and \(x\) \\ 1", "latex_log", log(2.0));
        check("```rust\nfn a() {}\n```", "code_fences_log", log(2.0));
        check("f(x) { a[0]; }", "code_symbols_log", log(7.0));
        check("SELECT a; def f: return", "code_keywords_log", log(3.0));
        check("under § 12 of the statute", "law_log", log(2.0));
        check("see https://example.org", "urls", 1.0);
        check(
            "Which one?\nA. x\n B) yyyy\n(C) z\nD: w\nAt last",
            "options_log",
            log(4.0),
        );
        check(
            "Which one?\nA. x\n B) yyyy\n(C) z\nD: w\nAt last",
            "longest_option_log",
            log(4.0),
        );
        check("the sky is ___", "blank", 1.0);
        check("Which is NOT true, except", "negations_log", log(2.0));
        check("First do a, then b", "steps_log", log(2.0));
        check("Prove that", "prove", 1.0);
        check("improved", "prove", 0.0);
        check("Which of the following", "classify", 1.0);
        check("Reply as JSON", "wants_json", 1.0);
        check("Why?", "why", 1.0);
    }

    #[test]
    fn signals_of_the_context() {
        let request = Request {
            context: Context {
                n_tools: 3,
                system_bytes: 9,
                agent_loop: true,
                ..Context::default()
            },
            needs: Needs {
                json_schema: true,
                ..Needs::default()
            },
            max_output_tokens: Some(100),
            ..Request::of_text("hi")
        };
        assert!((signal(&request, "context_tools_log") - 4f32.ln()).abs() < 1e-3);
        assert!((signal(&request, "context_system_tokens_log") - 4f32.ln()).abs() < 1e-3);
        assert_eq!(signal(&request, "context_agent_loop"), 1.0);
        assert_eq!(signal(&request, "context_needs_json_schema"), 1.0);
        assert_eq!(signal(&request, "context_max_output_set"), 1.0);
    }

    #[test]
    fn names_are_distinct_and_the_context_comes_last() {
        let mut names = NAMES.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), NAMES.len());
        for (idx, name) in NAMES.iter().enumerate() {
            assert_eq!(is_context(name), CONTEXT_RANGE.contains(&idx), "{name}");
        }
        assert_eq!(surface(&Request::default(), 0).len(), NAMES.len());
    }

    #[test]
    fn all_is_finite_and_of_bounded_size() {
        let long = "9".repeat(100_000);
        let mixed = "Ab1 ∫%\\x{\n".repeat(10_000);
        for ask in ["", " ", "\n\n", "?", "😀", "\u{301}", "\0", &long, &mixed] {
            let request = Request {
                ask: ask.to_owned(),
                context: Context {
                    n_tools: u32::MAX,
                    system_bytes: u64::MAX,
                    ..Context::default()
                },
                max_output_tokens: Some(u32::MAX),
                ..Request::default()
            };
            for (name, value) in NAMES.iter().zip(surface(&request, 3_000_000)) {
                assert!(
                    (0.0..=22.3).contains(&value),
                    "{name} of {:?}...: {value}",
                    ask.chars().next()
                );
            }
        }
    }

    #[test]
    fn a_long_ask_is_cut_between_characters() {
        for unit in ["a", "é", "€", "😀", "a😀"] {
            let ask = unit.repeat(100_000);
            let cut = cut(&ask);
            assert!(
                (ASK_BYTES - 8..=ASK_BYTES + 1).contains(&cut.len()),
                "{unit}: {}",
                cut.len()
            );
        }
        let short = "x".repeat(ASK_BYTES);
        assert_eq!(cut(&short), short);
    }
}
