//! Text of a task as it may be shown to a person: bounded, and without terminal controls.

use warren_core::outcome::Attempt;

/// Of a body, in a message. Enough for a sentence or the start of a stack trace.
pub(crate) const EXCERPT: usize = 200;

/// Stands for what [`fit`] left out.
const CUT: &str = "\n[...]\n";

/// At most [`Attempt::MESSAGE_MAX`] bytes: the head and the tail, which say most.
pub(crate) fn fit(message: String) -> String {
    if message.len() <= Attempt::MESSAGE_MAX {
        return message;
    }
    let half = (Attempt::MESSAGE_MAX - CUT.len()) / 2;
    let head = message.floor_char_boundary(half);
    let tail = message.ceil_char_boundary(message.len() - half);
    format!("{}{CUT}{}", &message[..head], &message[tail..])
}

/// The beginning of a body, on one line.
pub(crate) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(EXCERPT)]);
    let mut line = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

/// What a command wrote: its lines are kept, other controls become dots.
pub(crate) fn lines(output: &str) -> String {
    let plain = |c: char| {
        if c.is_control() && c != '\n' && c != '\t' { '.' } else { c }
    };
    output.trim_end().chars().filter(|c| *c != '\r').map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_keeps_its_head_and_its_tail() {
        let long = format!("first{}last", "ü".repeat(Attempt::MESSAGE_MAX));
        let fitted = fit(long);
        assert!(fitted.len() <= Attempt::MESSAGE_MAX, "{}", fitted.len());
        assert!(fitted.starts_with("first") && fitted.ends_with("last"));
        assert!(fitted.contains(CUT));
    }

    #[test]
    fn a_message_within_the_bound_is_left_alone() {
        let exact = "x".repeat(Attempt::MESSAGE_MAX);
        assert_eq!(fit(exact.clone()), exact);
    }

    #[test]
    fn an_excerpt_is_one_printable_line() {
        assert_eq!(excerpt(b"  out of\r\n\tmemory\x1b[31m\0!\n"), "out of memory [31m !");
        assert_eq!(excerpt(b"\xff\xfe"), "\u{fffd}\u{fffd}");
        assert!(excerpt(&[b'x'; 5000]).len() == EXCERPT);
    }

    #[test]
    fn output_keeps_its_lines_and_loses_terminal_controls() {
        assert_eq!(lines("a\r\n\tb\x1b[2J\n\n"), "a\n\tb.[2J");
    }
}
