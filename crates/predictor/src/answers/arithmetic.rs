//! Equations in a text, checked: `3 x 4 = 12`, `50% of $20 = 10`, `<<7*2=14>>`.
//!
//! What stands before `=` up to a word, a comma or the end of a sentence is read as an expression.
//! Equations with names in them are not checked, so nothing here needs a language.

use super::numbers::number_at;

/// Equations read of one text.
const MOST_EQUATIONS: usize = 256;
/// Tokens of one side that are read.
const MOST_TOKENS: usize = 40;
/// Parentheses within parentheses.
const DEEPEST: usize = 8;
/// Relative difference up to which the right side counts as rounded.
const ROUNDED: f64 = 0.02;

/// `+`, `-`, `x`, `/`.
pub(super) const N_OPERATIONS: usize = 4;

/// How an equation fares when it is computed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Both sides agree.
    Exact,
    /// Within 2 % or rounded to an integer.
    Rounded,
    /// Both sides were computed and differ.
    Wrong,
    /// The left side has no operation that could be read.
    Unread,
}

/// `left = right`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Equation {
    /// Whether it is right.
    pub(super) check: Check,
    /// Numbers of the left side; empty where it was not read.
    pub(super) operands: Vec<f64>,
    /// How often the left side adds, subtracts, multiplies, divides.
    pub(super) operations: [u32; N_OPERATIONS],
    /// The right side.
    pub(super) result: f64,
}

/// The first equations of a text, in order.
pub(super) fn equations(text: &str) -> Vec<Equation> {
    let tokens = tokens(text);
    let ends = |token: &Token| matches!(token, Token::Break | Token::Equals);
    let equals = (0..tokens.len()).filter(|at| tokens[*at] == Token::Equals);
    let read = |at: usize| {
        let start = tokens[..at].iter().rposition(ends).map_or(0, |end| end + 1);
        let length = tokens[at + 1..].iter().position(ends).unwrap_or(tokens.len() - at - 1);
        let right = &tokens[at + 1..at + 1 + length.min(MOST_TOKENS)];
        equation(&tokens[start.max(at.saturating_sub(MOST_TOKENS))..at], right)
    };
    equals.filter_map(read).take(MOST_EQUATIONS).collect()
}

/// None where the right side is no number.
fn equation(left: &[Token], right: &[Token]) -> Option<Equation> {
    let is_percent = matches!(right.last(), Some(Token::Number { percent: true, .. }));
    let result = Reading::of(right).sum().filter(|result| result.abs() < 1e14)?;
    let unread = Equation {
        check: Check::Unread,
        operands: Vec::new(),
        operations: [0; N_OPERATIONS],
        result,
    };
    let Some((value, reading)) = longest_expression(left) else {
        return Some(unread);
    };
    let mut check = compare(value, result);
    if is_percent && check == Check::Wrong {
        check = compare(value, result * 100.0);
    }
    if left.first() == Some(&Token::Minus) && check == Check::Wrong {
        // The minus is as likely a dash or a list's bullet.
        return Some(unread);
    }
    Some(Equation {
        check,
        operands: reading.operands,
        operations: reading.operations,
        result,
    })
}

/// The longest end of the tokens that is an expression, if it has an operation.
fn longest_expression(tokens: &[Token]) -> Option<(f64, Reading<'_>)> {
    let whole = (0..tokens.len()).find_map(|start| {
        let mut reading = Reading::of(&tokens[start..]);
        let value = reading.sum()?;
        (reading.at == reading.tokens.len()).then_some((value, reading))
    });
    whole.filter(|(value, reading)| value.abs() < 1e14 && reading.operations.iter().sum::<u32>() > 0)
}

fn compare(left: f64, right: f64) -> Check {
    let difference = (left - right).abs();
    if difference <= 1e-6 * right.abs().max(1.0) {
        Check::Exact
    } else if difference <= ROUNDED * right.abs() || (difference <= 0.5 && right.fract() == 0.0) {
        Check::Rounded
    } else {
        Check::Wrong
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    /// A percentage has been divided by 100.
    Number {
        value: f64,
        percent: bool,
    },
    Plus,
    Minus,
    Times,
    Over,
    Open,
    Close,
    Equals,
    /// A word, a comma, the end of a line: no expression goes across.
    Break,
}

fn tokens(text: &str) -> Vec<Token> {
    let (mut at, mut tokens) = (0, Vec::new());
    while at < text.len() {
        let (token, end) = token(text, at);
        at = end;
        match token {
            Some(Token::Break) if tokens.last() == Some(&Token::Break) => {}
            Some(token) => tokens.push(token),
            None => {}
        }
    }
    tokens
}

/// The token at a position, if it is not skipped, and where the next one starts.
fn token(text: &str, at: usize) -> (Option<Token>, usize) {
    let rest = &text[at..];
    let c = rest.chars().next().unwrap_or(' ');
    if let Some(number) = number_at(text, at).filter(|_| c.is_ascii_digit() || c == '.') {
        let after = &text[number.end..];
        let sign = ["%", "\\%", " %"].iter().find(|sign| after.starts_with(**sign));
        let value = if sign.is_some() {
            number.value / 100.0
        } else {
            number.value
        };
        let token = Token::Number {
            value,
            percent: sign.is_some(),
        };
        return (Some(token), number.end + sign.map_or(0, |sign| sign.len()));
    }
    if c.is_alphabetic() {
        let word = &rest[..rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len())];
        return (Some(word_token(word)), at + word.len());
    }
    if c == '\\' {
        return escaped(rest, at);
    }
    let token = match c {
        ' ' | '\t' | '$' | '£' | '€' | '¥' => None,
        '*' if rest.starts_with("**") => return (None, at + 2), // bold
        '*' | '×' | '·' => Some(Token::Times),
        '/' | '÷' => Some(Token::Over),
        '+' => Some(Token::Plus),
        '-' | '−' | '–' => Some(Token::Minus),
        '(' => Some(Token::Open),
        ')' => Some(Token::Close),
        '=' if is_lone(text, at) => Some(Token::Equals),
        _ => Some(Token::Break),
    };
    (token, at + c.len_utf8())
}

/// `x` and `of` multiply: "3 x 4", "50% of 20".
fn word_token(word: &str) -> Token {
    match word {
        "x" | "X" | "of" => Token::Times,
        _ => Token::Break,
    }
}

/// `\*` and `\$` of Markdown, `\times` and `\(` of LaTeX.
fn escaped(rest: &str, at: usize) -> (Option<Token>, usize) {
    let operations = [
        ("\\times", Some(Token::Times)),
        ("\\cdot", Some(Token::Times)),
        ("\\div", Some(Token::Over)),
        ("\\$", None),
        ("\\*", Some(Token::Times)),
        ("\\,", None),
    ];
    match operations.iter().find(|(text, _)| rest.starts_with(text)) {
        Some((text, token)) => (*token, at + text.len()),
        None => (Some(Token::Break), at + 1),
    }
}

/// Whether an `=` is no part of `==`, `<=`, `!=` or `=>`.
fn is_lone(text: &str, at: usize) -> bool {
    let bytes = text.as_bytes();
    let joins = |byte: Option<&u8>, others: &[u8]| byte.is_some_and(|byte| others.contains(byte));
    !joins(at.checked_sub(1).and_then(|before| bytes.get(before)), b"=<>!:") && !joins(bytes.get(at + 1), b"=>")
}

/// Reads an expression from the front of its tokens and stops where it ends.
struct Reading<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
    operands: Vec<f64>,
    operations: [u32; N_OPERATIONS],
}

impl<'a> Reading<'a> {
    fn of(tokens: &'a [Token]) -> Self {
        Self {
            tokens,
            at: 0,
            depth: 0,
            operands: Vec::new(),
            operations: [0; N_OPERATIONS],
        }
    }

    fn next(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn sum(&mut self) -> Option<f64> {
        let mut value = self.product()?;
        while let Some(token @ (Token::Plus | Token::Minus)) = self.next() {
            let Some(term) = self.after_operation(Self::product) else {
                break;
            };
            if token == Token::Plus {
                self.operations[0] += 1;
                value += term;
            } else {
                self.operations[1] += 1;
                value -= term;
            }
        }
        Some(value)
    }

    fn product(&mut self) -> Option<f64> {
        let mut value = self.factor()?;
        while let Some(token @ (Token::Times | Token::Over)) = self.next() {
            let Some(factor) = self.after_operation(Self::factor) else {
                break;
            };
            if token == Token::Times {
                self.operations[2] += 1;
                value *= factor;
            } else {
                self.operations[3] += 1;
                value /= if factor == 0.0 { return None } else { factor };
            }
        }
        Some(value)
    }

    /// Reads what follows the operation; stays before it where nothing does.
    fn after_operation(&mut self, read: fn(&mut Self) -> Option<f64>) -> Option<f64> {
        let (at, n_operands) = (self.at, self.operands.len());
        self.at += 1;
        let value = read(self);
        if value.is_none() {
            self.at = at;
            self.operands.truncate(n_operands);
        }
        value
    }

    fn factor(&mut self) -> Option<f64> {
        let token = self.next()?;
        self.at += 1;
        match token {
            Token::Number { value, .. } => {
                self.operands.push(value);
                Some(value)
            }
            Token::Minus => match self.next()? {
                Token::Minus => None,
                _ => self.factor().map(|value| -value),
            },
            Token::Open if self.depth < DEEPEST => {
                self.depth += 1;
                let value = self.sum();
                self.depth -= 1;
                let closes = self.next() == Some(Token::Close);
                self.at += usize::from(closes);
                value.filter(|_| closes)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(Check, f64)]) {
        let found: Vec<_> = equations(text)
            .iter()
            .map(|equation| (equation.check, equation.result))
            .collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn equations_are_computed_anew() {
        use Check::{Exact, Rounded, Unread, Wrong};
        check(
            "He has 3 x 4 = 12 apples and 12 + 5 = 18 pears.",
            &[(Exact, 12.0), (Wrong, 18.0)],
        );
        check("so 10 * 3 = $<<10*3=30>>30", &[(Exact, 30.0)]);
        check("100 / 3 = 33.33, 100 ÷ 7 = 14", &[(Rounded, 33.33), (Rounded, 14.0)]);
        check("50% of $20 = $10", &[(Exact, 10.0)]);
        check("30 / 60 = 50%", &[(Exact, 0.5)]);
        check("30 / 60 \\* 100 = 50%", &[(Exact, 0.5)]);
        check("2 * (3 + (4 - 1)) = 12 = 10 + 2", &[(Exact, 12.0), (Unread, 12.0)]);
        check("1,200 − 200 = **1,000**", &[(Exact, 1000.0)]);
        check("\\(5 \\times 6 = 30\\)", &[(Exact, 30.0)]);
        check("$5 \\times 6 = 31$", &[(Wrong, 31.0)]);
        check("- 5 * 4 = 20\n- 5 * 4 = -20", &[(Unread, 20.0), (Exact, -20.0)]);
        check("x = 5 and 2x = 10", &[(Unread, 5.0), (Unread, 10.0)]);
        check("6 dogs + 2 dogs = 8 dogs", &[(Unread, 8.0)]);
        check("3 + 4 =\n7; a == 7; b <= 7; c = d", &[]);
        check("5 / 0 = 5", &[(Unread, 5.0)]);
    }

    #[test]
    fn operands_and_operations() {
        let found = &equations("12 - 3 * 2 / (1 + 1) = 9")[0];
        assert_eq!(found.operands, [12.0, 3.0, 2.0, 1.0, 1.0]);
        assert_eq!(found.operations, [1, 1, 1, 1]);
    }

    #[test]
    fn odd_text() {
        for text in [
            "=",
            "= =",
            "(((((((((((1=1",
            "=1",
            "1=",
            "\\",
            "３＋４＝７",
            "1 + + 2 = 3",
            "--1 = 1",
            "2*=4",
            "é=é",
        ] {
            let _ = equations(text);
        }
        assert_eq!(equations(&"1+1=2 ".repeat(5000)).len(), MOST_EQUATIONS);
        assert!(equations(&"(".repeat(30_000)).is_empty());
        // Long sides are cut, not walked again and again.
        let long = format!("{}=1", "1+".repeat(10_000));
        assert_eq!(equations(&long).len(), 1);
    }
}
