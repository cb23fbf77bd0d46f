//! What happened, in lines that a person can read.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use tokio::time::Instant;

use crate::clock::shown;

#[derive(Debug)]
pub struct Transcript {
    start: Instant,
    lines: Mutex<Vec<Line>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    at: Duration,
    who: String,
    text: String,
}

impl Transcript {
    pub const fn new(start: Instant) -> Self {
        Self { start, lines: Mutex::new(Vec::new()) }
    }

    pub fn say(&self, who: impl Into<String>, text: impl Into<String>) {
        let line = Line { at: self.start.elapsed(), who: who.into(), text: text.into() };
        self.lines.lock().unwrap().push(line);
    }

    /// By time, then by who speaks: in one moment machines have no order among themselves. Ids
    /// become the numbers of their first appearance.
    pub fn text(&self) -> String {
        let mut lines = self.lines.lock().unwrap().clone();
        lines.sort_by(|a, b| (a.at, &a.who).cmp(&(b.at, &b.who)));
        let mut names = Names::default();
        let line = |Line { at, who, text }: Line| {
            let text = names.replaced(&text);
            format!("{:>10} {who:<8} {text}\n", shown(at))
        };
        lines.into_iter().map(line).collect()
    }
}

/// Short names for ids of sixteen hexadecimal digits.
#[derive(Debug, Default)]
struct Names(BTreeMap<String, usize>);

impl Names {
    fn replaced(&mut self, text: &str) -> String {
        let is_id = |word: &str| {
            word.len() == 16 && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            if is_id(word) {
                let next = self.0.len() + 1;
                let number = *self.0.entry(word.to_owned()).or_insert(next);
                out.push('#');
                out.push_str(&number.to_string());
            } else {
                out.push_str(word);
            }
            let mut chars = after.chars();
            out.extend(chars.next());
            rest = chars.as_str();
        }
        out
    }
}
