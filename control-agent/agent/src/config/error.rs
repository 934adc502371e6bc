//! What an operator is told: file, line, key, and what is allowed.

use std::fmt::{self, Write as _};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A configuration that was refused; nothing of it took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    file: PathBuf,
    line: Option<usize>,
    key: Option<String>,
    problem: String,
}

impl ConfigError {
    /// The file itself cannot be read.
    pub(super) fn unreadable(file: &Path, error: &io::Error) -> ConfigError {
        let problem = format!("cannot be read: {error}");
        ConfigError { file: file.to_owned(), line: None, key: None, problem }
    }

    /// The file is not text from some byte on.
    pub(super) fn not_text(file: &Path, valid: &[u8]) -> ConfigError {
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        let problem = "is no UTF-8 text; allowed is TOML".to_owned();
        ConfigError { file: file.to_owned(), line: Some(line), key: None, problem }
    }

    /// The line, counted from 1.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The key concerned.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        // One line whatever stands in the file, and nothing that a terminal obeys.
        f.write_str(": ")?;
        self.problem.chars().try_for_each(|c| match c {
            c if c.is_control() => write!(f, "{}", c.escape_default()),
            c => f.write_char(c),
        })
    }
}

impl std::error::Error for ConfigError {}

/// The text that positions refer to.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// An error at a value.
    pub(super) fn at(
        &self,
        span: Range<usize>,
        key: &str,
        problem: impl Into<String>,
    ) -> ConfigError {
        ConfigError {
            file: self.path.to_owned(),
            line: Some(self.line(span.start)),
            key: Some(key.to_owned()),
            problem: problem.into(),
        }
    }

    /// An error of the TOML reader, which knows a position but not always the key.
    pub(super) fn toml(&self, error: &toml::de::Error) -> ConfigError {
        let start = error.span().map(|span| span.start);
        let message = error.message();
        let place = start.and_then(|start| self.key(start));
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
        let key = match (missing, place) {
            // The one table that must be there.
            (Some(("node", _)), _) => Some("node".to_owned()),
            (Some((field, _)), Some(place)) => Some(format!("{place}.{field}")),
            (_, place) => place,
        };
        ConfigError {
            file: self.path.to_owned(),
            line: start.map(|start| self.line(start)),
            key,
            problem: message.replace('\n', "; ").replace("expected i64", "expected an integer"),
        }
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.get(..offset).unwrap_or(self.text);
        before.bytes().filter(|byte| *byte == b'\n').count() + 1
    }

    /// What stands left of `=` in the line of `offset`, behind the table's name; in a table's own line that name.
    fn key(&self, offset: usize) -> Option<String> {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = self.text.get(start..)?.lines().next()?.trim();
        if let Some(table) = table_of(line) {
            return Some(table);
        }
        let table = self.text.get(..start)?.lines().rev().find_map(table_of);
        let Some((name, _)) = line.split_once('=') else { return table };
        let name = name.trim();
        Some(table.map_or_else(|| name.to_owned(), |table| format!("{table}.{name}")))
    }
}

/// The name in a line such as `[node]` or `[[workload]]`.
fn table_of(line: &str) -> Option<String> {
    let rest = line.trim_start().strip_prefix('[')?.trim_start_matches('[');
    let name = rest.split([']', '#']).next()?.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
