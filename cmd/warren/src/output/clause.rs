//! The clauses of docs/checks.md in their own words.

use warren_core::clause::Clause;

/// The document itself, so that what is printed is what is written there.
const DOCUMENT: &str = include_str!("../../../../docs/checks.md");

/// What the clause says, in one line and without the asides on how others do it. `None`: a newer
/// worker knows more clauses.
pub fn text(clause: Clause) -> Option<String> {
    let (_, rest) = DOCUMENT.split_once(&format!("\n**{clause}** "))?;
    let paragraph = rest.split("\n\n").next().unwrap_or(rest);
    let words = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    // An aside is set in italics.
    let plain: String = words.split('*').step_by(2).map(str::trim_end).collect();
    Some(plain.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clause_is_told_without_its_aside() {
        let text = text(Clause::new(71)).unwrap();
        assert_eq!(
            text,
            "A command that cannot be run, not found or not executable, is an explicit failure."
        );
    }

    #[test]
    fn what_is_not_written_has_no_text() {
        assert_eq!(text(Clause::new(9999)), None);
    }

    #[test]
    fn every_clause_is_told_in_one_paragraph() {
        for line in DOCUMENT.lines().filter(|line| line.starts_with("**C-")) {
            let number = line.trim_start_matches("**C-").split("**").next().unwrap();
            let said = text(Clause::new(number.parse().unwrap())).unwrap();
            assert!(said.len() > 20 && !said.contains('*'), "C-{number}: {said}");
        }
    }
}
