//! What an operator is told: file, line, key, and what is allowed.

use std::fmt;
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
        write!(f, ": {}", self.problem)
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
        ConfigError {
            file: self.path.to_owned(),
            line: start.map(|start| self.line(start)),
            key: start.and_then(|start| self.key(start)),
            problem: error.message().replace('\n', "; "),
        }
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.get(..offset).unwrap_or(self.text);
        before.bytes().filter(|byte| *byte == b'\n').count() + 1
    }

    /// What stands left of `=` in the line of `offset`, behind the table's name.
    fn key(&self, offset: usize) -> Option<String> {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = self.text.get(start..)?.lines().next()?.trim();
        let header = before
            .lines()
            .rev()
            .chain(std::iter::once(line))
            .find(|line| line.trim_start().starts_with('['))
            .map(|line| line.trim().trim_matches(['[', ']']).to_owned());
        let name = match line.split_once('=') {
            Some((name, _)) if !line.starts_with('[') => name.trim().to_owned(),
            _ => {
                return header.or_else(|| {
                    line.starts_with('[').then(|| line.trim_matches(['[', ']']).to_owned())
                });
            }
        };
        Some(header.map_or_else(|| name.clone(), |header| format!("{header}.{name}")))
    }
}
