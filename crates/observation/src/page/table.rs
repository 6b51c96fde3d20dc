//! A table before it is HTML or Markdown: both print the same cells.

/// Rows under headings.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) title: String,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// Small print below; empty for none.
    pub(super) note: String,
}

/// A column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) heading: String,
    /// Words rather than numbers: aligned left.
    pub(super) is_text: bool,
}

/// A figure, and what stands behind it in small print: its interval, most often.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) small: String,
}

impl Cell {
    /// The same with small print, where there is some.
    pub(super) fn with(self, small: Option<String>) -> Self {
        Self {
            small: small.unwrap_or_default(),
            ..self
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self {
            text,
            small: String::new(),
        }
    }
}

/// Columns by heading; those that begin with `t:` hold words.
pub(super) fn columns(headings: &[&str]) -> Vec<Column> {
    let column = |heading: &str| match heading.strip_prefix("t:") {
        Some(heading) => (heading.to_owned(), true),
        None => (heading.to_owned(), false),
    };
    let named = headings.iter().map(|heading| column(heading));
    named.map(|(heading, is_text)| Column { heading, is_text }).collect()
}

impl Table {
    pub(super) fn new(title: &str, columns: Vec<Column>, rows: Vec<Vec<Cell>>) -> Self {
        Self {
            title: title.to_owned(),
            columns,
            rows,
            note: String::new(),
        }
    }

    pub(super) fn noted(self, note: impl Into<String>) -> Self {
        Self {
            note: note.into(),
            ..self
        }
    }
}
