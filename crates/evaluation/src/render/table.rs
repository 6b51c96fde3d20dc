//! A table as text, before it is HTML, Markdown or plain. Every view prints the same cells.

/// Rows under explained columns.
pub(super) struct Table {
    pub(super) title: String,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
}

/// A column and what a stranger has to know to read it.
pub(super) struct Column {
    pub(super) heading: String,
    /// Words rather than numbers: aligned left.
    pub(super) is_text: bool,
    /// What it means and which way is better.
    pub(super) explanation: String,
}

/// One row; as many cells as there are columns.
pub(super) struct Row {
    pub(super) cells: Vec<String>,
    /// Small print under the first cell; empty for none.
    pub(super) remark: String,
    /// Whether the row is tiercast's among others.
    pub(super) is_ours: bool,
}

impl Table {
    pub(super) fn new(title: impl Into<String>, columns: Vec<Column>, rows: Vec<Row>) -> Self {
        let title = title.into();
        Self { title, columns, rows }
    }

    /// The Markdown table, without its title.
    pub(super) fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let rule = |column: &Column| if column.is_text { "---" } else { "---:" }.to_owned();
        let mut text = line(self.columns.iter().map(|column| escaped(&column.heading)).collect());
        text += &line(self.columns.iter().map(rule).collect());
        for row in &self.rows {
            let emphasised = |cell: &String| match (row.is_ours, escaped(cell)) {
                (true, cell) if !cell.is_empty() => format!("**{cell}**"),
                (_, cell) => cell,
            };
            text += &line(row.cells.iter().map(emphasised).collect());
        }
        text
    }
}

/// A column of numbers.
pub(super) fn number(heading: impl Into<String>, explanation: impl Into<String>) -> Column {
    Column {
        heading: heading.into(),
        is_text: false,
        explanation: explanation.into(),
    }
}

/// A column of words.
pub(super) fn words(heading: impl Into<String>, explanation: impl Into<String>) -> Column {
    Column {
        is_text: true,
        ..number(heading, explanation)
    }
}

/// A row of one among equals.
pub(super) fn row(cells: Vec<String>) -> Row {
    Row {
        cells,
        remark: String::new(),
        is_ours: false,
    }
}

/// Text from data, for Markdown: no cell ends early, no HTML or emphasis begins.
pub(super) fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, c| {
        match c {
            '<' => escaped += "&lt;",
            '|' | '*' | '`' | '\\' => escaped.extend(['\\', c]),
            c => escaped.push(if c.is_control() { ' ' } else { c }),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_stays_in_its_cell() {
        let table = Table::new("t", vec![words("a|b", "")], vec![row(vec!["x | <b>\ny".to_owned()])]);
        assert_eq!(table.markdown(), "| a\\|b |\n| --- |\n| x \\| &lt;b> y |\n");
    }
}
