//! `$(NAME)` in the words of a command, as the kubelet has it.

use std::borrow::Cow;

use warren_core::check::{Command, ExecForm};

/// The words to run. `var` looks up a variable of the task.
pub fn words<'a>(command: &Command, var: impl Fn(&str) -> Option<&'a str>) -> Vec<String> {
    let words = command.words().iter();
    match command.form() {
        ExecForm::Argv => words.map(|word| expand(word, &var).into_owned()).collect(),
        ExecForm::Shell => words.cloned().collect(),
    }
}

/// `$$(` is a `$(` that means itself. Whatever else is not `$(NAME)` of a known name stays.
fn expand<'w, 'a>(word: &'w str, var: &impl Fn(&str) -> Option<&'a str>) -> Cow<'w, str> {
    if !word.contains("$(") {
        return Cow::Borrowed(word);
    }
    let mut expanded = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        expanded.push_str(before);
        let name = from.strip_prefix("$(").and_then(|inner| inner.split_once(')'));
        rest = if let Some(after) = from.strip_prefix("$$(") {
            expanded.push_str("$(");
            after
        } else if let Some((value, after)) =
            name.and_then(|(name, after)| Some((var(name)?, after)))
        {
            expanded.push_str(value);
            after
        } else {
            expanded.push('$');
            &from[1..]
        };
    }
    expanded.push_str(rest);
    Cow::Owned(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn var(name: &str) -> Option<&'static str> {
        match name {
            "PORT" => Some("80"),
            "NESTED" => Some("$(PORT)"),
            "EMPTY" => Some(""),
            _ => None,
        }
    }

    #[test]
    fn a_known_name_is_replaced_once_and_all_else_stays() {
        for (word, expanded) in [
            ("-p$(PORT)/$(PORT)", "-p80/80"),
            ("$(NESTED)", "$(PORT)"),
            ("<$(EMPTY)>", "<>"),
            ("$(NOWHERE)$(PORT)", "$(NOWHERE)80"),
            ("$$(PORT)", "$(PORT)"),
            ("$$$(PORT)", "$$(PORT)"),
            ("$PORT ${PORT} $$ $", "$PORT ${PORT} $$ $"),
            ("$(PORT", "$(PORT"),
            ("$(a $(PORT))", "$(a 80)"),
        ] {
            assert_eq!(expand(word, &var), expanded, "{word}");
        }
    }

    #[test]
    fn a_shell_and_a_literal_command_keep_their_words() {
        let shell = Command::shell("test $(PORT) = 80").unwrap();
        assert_eq!(words(&shell, var)[2], "test $(PORT) = 80");
        let told = ["$(PORT)".to_owned(), "$$(PORT)".to_owned(), "$$".to_owned()];
        assert_eq!(words(&Command::literal(&told).unwrap(), var), told);
        let argv = Command::argv(vec!["x".to_owned(), "$(PORT)".to_owned()]).unwrap();
        assert_eq!(words(&argv, var), ["x", "80"]);
    }
}
