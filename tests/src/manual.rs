//! What the documents say can be typed.

use std::fs;

use crate::repository;

/// The fences of a document that are marked `sh`, each with the line that it begins on.
pub fn scripts(document: &str) -> Vec<(usize, String)> {
    let document = fs::read_to_string(repository().join(document)).unwrap();
    let mut scripts = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim() == "```sh" {
            let body: Vec<_> =
                lines.by_ref().map(|(_, line)| line).take_while(|l| l.trim() != "```").collect();
            scripts.push((number + 1, body.join("\n")));
        }
    }
    scripts
}
