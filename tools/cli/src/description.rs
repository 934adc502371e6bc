//! A tool as people and shells see it: its usage and its completions are made of one description.

use std::fmt::Write;

use crate::options::{Offer, Shown, Takes};

/// Columns in front of what an option does.
const HELP_COLUMN: usize = 24;
/// Columns of a line.
const WIDTH: usize = 110;

/// The face of a tool.
pub(crate) struct Description {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) synopsis: &'static [&'static str],
    /// What may come first instead of an option.
    pub(crate) words: &'static [&'static str],
    pub(crate) options: Vec<Shown>,
}

impl Description {
    /// The usage, which begins with `Usage`.
    pub(crate) fn usage(&self) -> String {
        let mut text = String::new();
        for (index, line) in self.synopsis.iter().enumerate() {
            let start = if index == 0 { "Usage:" } else { "      " };
            let _ = writeln!(text, "{start} {} {line}", self.name);
        }
        let _ = writeln!(text, "{}: {}", self.name, self.about);
        for option in self.shown() {
            let mut names: Vec<String> = option.short.chars().map(|c| format!("-{c}")).collect();
            if !option.long.is_empty() {
                names.push(format!("--{}", option.long));
            }
            let value = match option.takes {
                Takes::Nothing => String::new(),
                Takes::Value { name, .. } => format!(" {name}"),
            };
            let indent = if option.short.is_empty() { "      " } else { "  " };
            let left = format!("{indent}{}{value}", names.join(", "));
            text.push_str(&columns(&left, &help(option)));
        }
        text
    }

    /// The options that are not hidden.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Shown> {
        self.options.iter().filter(|option| !option.help.is_empty())
    }
}

/// What it does and, of a choice, what there is.
fn help(option: &Shown) -> String {
    match option.takes {
        Takes::Value { offer: Offer::Words(words), .. } if !option.help.contains(words[0]) => {
            format!("{}: {}", option.help, words.join(", "))
        }
        _ => option.help.to_owned(),
    }
}

/// A left part and its explanation, which is broken at spaces.
fn columns(left: &str, help: &str) -> String {
    let mut text = format!("{left:<HELP_COLUMN$}");
    if left.len() >= HELP_COLUMN {
        let _ = write!(text, "\n{:HELP_COLUMN$}", "");
    }
    let mut column = HELP_COLUMN;
    for (index, word) in help.split(' ').enumerate() {
        if column + word.len() > WIDTH {
            let _ = write!(text, "\n{:HELP_COLUMN$}", "");
            column = HELP_COLUMN;
        } else if index > 0 {
            text.push(' ');
        }
        text.push_str(word);
        column += word.len() + 1;
    }
    text.push('\n');
    text
}
