//! What is looked for in what a task answers.

use std::{
    fmt::{self, Write},
    hash::{Hash, Hasher},
};

use regex::bytes::{Regex, RegexBuilder};

use crate::Invalid;

/// A health answer is a word or a line.
const MAX: usize = 1024;
/// Of a compiled expression: room for any that a person writes, and no room for `(a{99}){99}`.
const COMPILED_MAX: usize = 256 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TextMatch {
    Contains(Pattern),
    Regex(Pattern),
}

/// A text or a regular expression of 1-1024 bytes, ready to be searched for.
#[derive(Clone)]
pub struct Pattern {
    source: String,
    search: Regex,
}

impl TextMatch {
    pub fn contains(text: impl Into<String>) -> Result<Self, Invalid> {
        let source = text.into();
        let escaped = regex::escape(&source);
        Pattern::new(source, &escaped).map(Self::Contains)
    }

    pub fn regex(source: impl Into<String>) -> Result<Self, Invalid> {
        let source = source.into();
        let expression = source.clone();
        Pattern::new(source, &expression).map(Self::Regex)
    }

    /// Takes time linear in `bytes`, whatever the expression.
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.pattern().search.is_match(bytes)
    }

    pub const fn pattern(&self) -> &Pattern {
        match self {
            Self::Contains(pattern) | Self::Regex(pattern) => pattern,
        }
    }
}

/// As the end of a sentence: `contain "ready"`, `match /^ok/`.
impl fmt::Display for TextMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contains(text) => write!(f, "contain {:?}", text.source),
            // As it was written, but for what would steer a terminal.
            Self::Regex(regex) => {
                f.write_str("match /")?;
                for c in regex.source.chars() {
                    if c.is_control() {
                        write!(f, "{}", c.escape_debug())
                    } else {
                        f.write_char(c)
                    }?;
                }
                f.write_str("/")
            }
        }
    }
}

impl Pattern {
    fn new(source: String, expression: &str) -> Result<Self, Invalid> {
        if !(1..=MAX).contains(&source.len()) {
            return Err(Invalid::new(format!("is not 1-{MAX} bytes long")));
        }
        let search = RegexBuilder::new(expression).size_limit(COMPILED_MAX).build();
        let search = search.map_err(|error| {
            if matches!(error, regex::Error::CompiledTooBig(_)) {
                return Invalid::new("is too large once its repetitions are written out");
            }
            // A picture of several lines, of which the last one says it.
            let text = error.to_string();
            let why = text.lines().last().unwrap_or_default().trim();
            let why = why.strip_prefix("error: ").unwrap_or(why);
            Invalid::new(format!("{source:?} is not a regular expression: {why}"))
        })?;
        Ok(Self { source, search })
    }

    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_as_it_is_and_a_regex_by_its_meaning() {
        let text = TextMatch::contains("a.c").unwrap();
        assert!(text.is_match(b"xa.cx") && !text.is_match(b"abc"));
        let regex = TextMatch::regex("^a.c$").unwrap();
        assert!(regex.is_match(b"abc") && !regex.is_match(b"xabc"));
        assert!(TextMatch::regex(r"(?-u)\xff").unwrap().is_match(b"\xff"));
        assert_eq!(text.to_string(), r#"contain "a.c""#);
        assert_eq!(regex.to_string(), "match /^a.c$/");
        let escapes = TextMatch::regex("^\\+OK\u{1b}").unwrap();
        assert_eq!(escapes.to_string(), r"match /^\+OK\u{1b}/");
    }

    #[test]
    fn what_cannot_be_searched_for_says_why() {
        let why = |regex: &str| TextMatch::regex(regex).unwrap_err().to_string();
        assert_eq!(why(""), "is not 1-1024 bytes long");
        assert_eq!(why("(a"), "\"(a\" is not a regular expression: unclosed group");
        assert_eq!(why("(a{999}){999}"), "is too large once its repetitions are written out");
        assert!(TextMatch::contains("x".repeat(1025)).is_err());
    }
}
