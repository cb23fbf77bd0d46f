//! A command in the task's container.

use std::collections::BTreeSet;

use super::TextMatch;
use crate::{Invalid, invalid::At, spec::User};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExecCheck {
    pub command: Command,
    /// `None`: the task's own.
    pub user: Option<User>,
    pub exits: ExitCodes,
    /// What its output, within its first 10 KiB, must match where its exit code passes.
    pub expect: Option<TextMatch>,
}

impl ExecCheck {
    /// The command as the task's own user; 0 passes.
    pub fn new(command: Command) -> Self {
        Self { command, user: None, exits: ExitCodes::default(), expect: None }
    }
}

/// A program and its arguments, or a line for a shell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Command {
    form: ExecForm,
    /// Never empty.
    words: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecForm {
    /// `$(NAME)` in a word is the task's variable.
    Argv,
    /// A shell knows its variables itself, and `$(name)` is its word for something else.
    Shell,
}

impl Command {
    pub fn argv(words: Vec<String>) -> Result<Self, Invalid> {
        if words.first().is_none_or(String::is_empty) {
            return Err(Invalid::new("names no program"));
        }
        Self::new(ExecForm::Argv, words)
    }

    /// Words in which nothing is a variable of the task.
    pub fn literal(words: &[String]) -> Result<Self, Invalid> {
        Self::argv(words.iter().map(|word| word.replace("$(", "$$(")).collect())
    }

    /// A line for `/bin/sh -c`.
    pub fn shell(line: impl Into<String>) -> Result<Self, Invalid> {
        let line = line.into();
        if line.trim().is_empty() {
            return Err(Invalid::new("names no program"));
        }
        Self::new(ExecForm::Shell, vec!["/bin/sh".to_owned(), "-c".to_owned(), line])
    }

    fn new(form: ExecForm, words: Vec<String>) -> Result<Self, Invalid> {
        if words.iter().any(|word| word.contains('\0')) {
            return Err(Invalid::new("has a NUL byte"));
        }
        // Linux takes 128 KiB for each word and 2 MiB in all; a check has no use for a tenth.
        if words.iter().map(String::len).sum::<usize>() > 64 * 1024 {
            return Err(Invalid::new("is longer than 64 KiB"));
        }
        Ok(Self { form, words })
    }

    pub const fn form(&self) -> ExecForm {
        self.form
    }

    /// What is run; never empty.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The line of the shell's form.
    pub fn line(&self) -> Option<&str> {
        match self.form {
            ExecForm::Argv => None,
            ExecForm::Shell => self.words.last().map(String::as_str),
        }
    }
}

/// What the exit codes of a command mean. One that is in neither set is a failure.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExitCodes {
    pass: BTreeSet<u8>,
    inconclusive: BTreeSet<u8>,
}

impl ExitCodes {
    /// An empty `pass` means 0.
    pub fn new(pass: &[u32], inconclusive: &[u32]) -> Result<Self, Invalid> {
        let mut pass = codes(pass).at("pass")?;
        if pass.is_empty() {
            pass.insert(0);
        }
        let inconclusive = codes(inconclusive).at("inconclusive")?;
        let refuse = |why: String| Err(Invalid::new(why).at("inconclusive"));
        if inconclusive.contains(&0) {
            return refuse("0 is a command that could look".to_owned());
        }
        if let Some(both) = pass.intersection(&inconclusive).next() {
            return refuse(format!("{both} passes as well"));
        }
        Ok(Self { pass, inconclusive })
    }

    pub const fn pass(&self) -> &BTreeSet<u8> {
        &self.pass
    }

    pub const fn inconclusive(&self) -> &BTreeSet<u8> {
        &self.inconclusive
    }
}

impl Default for ExitCodes {
    fn default() -> Self {
        Self { pass: BTreeSet::from([0]), inconclusive: BTreeSet::new() }
    }
}

fn codes(numbers: &[u32]) -> Result<BTreeSet<u8>, Invalid> {
    let code = |(index, number): (usize, &u32)| {
        u8::try_from(*number)
            .map_err(|_| Invalid::new(format!("{number} is not in 0..=255")).at_index(index))
    };
    numbers.iter().enumerate().map(code).collect()
}
