//! A command as people type it, and the argv that it means.

use warren_core::{Invalid, check::Command};

/// Characters that mean something to a shell beyond quoting.
const SHELL_SYNTAX: &str = "|&;<>()$`*?[]{}~#!\n";

/// Words that only a shell knows: there is no such program, or it would do nothing.
const SHELL_WORDS: [&str; 21] = [
    ".", ":", "case", "cd", "command", "eval", "exec", "exit", "export", "for", "if", "read",
    "return", "set", "source", "trap", "type", "ulimit", "umask", "until", "while",
];

/// Plain words run as they are, shell syntax goes through `/bin/sh -c`, and a JSON array of
/// strings is the argv.
pub fn command(text: &str) -> Result<Command, Invalid> {
    let text = text.trim();
    if let Some(inner) = text.strip_prefix('[') {
        match serde_json::from_str(text) {
            Ok(argv) => return Command::argv(argv),
            // `[ -f /ready ]` is a command for the shell.
            Err(_) if !inner.trim_start().starts_with(['"', ']']) => {}
            Err(_) => {
                let why = format!("{text:?} is not a JSON array of strings");
                return Err(Invalid::new(why));
            }
        }
    }
    if !text.contains(|c| SHELL_SYNTAX.contains(c))
        && let Some(words) = shlex::split(text)
        && !words.first().is_some_and(|word| for_a_shell(word))
    {
        return Command::argv(words);
    }
    Command::shell(text)
}

/// A builtin, a reserved word, or an assignment such as `PGUSER=x`.
fn for_a_shell(first_word: &str) -> bool {
    SHELL_WORDS.contains(&first_word)
        || first_word.split_once('=').is_some_and(|(name, _)| !name.contains('/'))
}

/// Words without a shell: quotes as in a shell, or a JSON array.
pub fn words(text: &str) -> Result<Vec<String>, Invalid> {
    if let Ok(argv) = serde_json::from_str(text) {
        return Ok(argv);
    }
    shlex::split(text).ok_or_else(|| Invalid::new(format!("{text:?} has an open quote")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(text: &str) -> Vec<String> {
        let command = command(text).unwrap();
        assert_eq!(command.line(), None, "{text}");
        command.words().to_vec()
    }

    #[test]
    fn plain_words_run_as_they_are() {
        for (text, words) in [
            ("pg_isready -U x", &["pg_isready", "-U", "x"][..]),
            ("test -f /x", &["test", "-f", "/x"]),
            ("psql -c 'select 1'", &["psql", "-c", "select 1"]),
            ("grep \"a b\" /f", &["grep", "a b", "/f"]),
            ("/opt/a=b/run -x", &["/opt/a=b/run", "-x"]),
            ("  true  ", &["true"]),
        ] {
            assert_eq!(argv(text), words, "{text}");
        }
    }

    #[test]
    fn shell_syntax_goes_through_a_shell_as_it_is() {
        for text in [
            "curl -f localhost || exit 1",
            "test -f /a && test -f /b",
            "cat < /x",
            "echo $HOME",
            "ls /tmp/*",
            "[ -f /ready ]",
            "exit 1",
            "PGUSER=x pg_isready",
            "echo 'open",
            "grep 'a|b' /f",
            "! test -f /bad",
        ] {
            assert_eq!(command(text).unwrap().line(), Some(text));
        }
    }

    #[test]
    fn a_json_array_is_the_argv() {
        assert_eq!(argv(r#"["a b", "$x", ""]"#), ["a b", "$x", ""]);
        let open = command(r#"["a", 1]"#).unwrap_err().to_string();
        assert_eq!(open, r#""[\"a\", 1]" is not a JSON array of strings"#);
    }

    #[test]
    fn nothing_is_no_command() {
        for text in ["", "  ", "[]", "''"] {
            assert_eq!(command(text).unwrap_err().to_string(), "names no program", "{text:?}");
        }
    }
}
