//! Columns for people, in the manner of `ss`: no lines, no colours, and one line stays one record for `awk`.

use std::{
    borrow::Cow,
    fmt::Display,
    io::{self, Write},
};

/// How a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table of text.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    columns: [(&'static str, Align); N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    pub(super) fn new(columns: [(&'static str, Align); N]) -> Self {
        Table { columns, rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| match printable(&cell) {
            Cow::Borrowed(_) => cell,
            Cow::Owned(clean) => clean,
        }));
    }

    /// Writes the headings and the rows, each line after `indent`.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub(super) fn write(&self, indent: &str, out: &mut dyn Write) -> io::Result<()> {
        let mut widths = self.columns.map(|(heading, _)| heading.len());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let headings = self.columns.map(|(heading, _)| heading.to_owned());
        let mut line = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            line.clear();
            line.push_str(indent);
            for ((cell, width), (_, align)) in row.iter().zip(widths).zip(self.columns) {
                let padding = width - cell.chars().count();
                let (before, after) = match align {
                    Align::Left => (0, padding),
                    Align::Right => (padding, 0),
                };
                line.extend(std::iter::repeat_n(' ', before));
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', after + 2));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The value, or a dash.
pub(super) fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// `yes`, or `no` and why.
pub(super) fn yes_or_why(yes: bool, why: &[impl AsRef<str>]) -> String {
    let why = why.iter().map(AsRef::as_ref).collect::<Vec<_>>().join("; ");
    match (yes, why.is_empty()) {
        (true, _) => "yes".to_owned(),
        (false, true) => "no".to_owned(),
        (false, false) => format!("no: {why}"),
    }
}

/// Each reason behind its code.
pub(super) fn with_codes(codes: &[String], reasons: &[String]) -> Vec<String> {
    codes.iter().zip(reasons).map(|(code, reason)| format!("{code}: {reason}")).collect()
}

/// Without control characters, which the kernel allows in the name of an interface and a terminal would obey.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        Cow::Owned(text.replace(char::is_control, "?"))
    } else {
        Cow::Borrowed(text)
    }
}
