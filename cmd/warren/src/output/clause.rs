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
    let mut plain = String::with_capacity(words.len());
    for (number, piece) in words.split('*').enumerate() {
        // An aside is a sentence in italics; a word in italics is a word.
        if number % 2 == 1 && piece.ends_with('.') {
            plain.truncate(plain.trim_end().len());
        } else {
            plain.push_str(piece);
        }
    }
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
    fn a_word_in_italics_is_told() {
        let text = text(Clause::new(61)).unwrap();
        assert_eq!(
            text,
            "Refused, reset and unreachable are refused; no answer until the deadline is a timeout."
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
