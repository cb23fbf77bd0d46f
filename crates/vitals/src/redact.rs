//! Takes secrets out of what is shown. An error of a database driver likes to repeat the address
//! that it was given, with the password in it.

/// What stands where a secret was.
const MASK: &str = "***";
/// Enough for a sentence with its causes; an error page of a proxy does not belong into an answer.
const MESSAGE_MAX: usize = 512;
/// A value that follows a word with one of these in it is a secret.
const SECRET_WORDS: [&str; 9] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "credential",
];
/// The word after one of these is a secret.
const SCHEMES: [&str; 2] = ["bearer", "basic"];

/// A sentence without secrets, without control characters, and short.
pub(crate) fn redact(text: &str, known: &[String]) -> String {
    let mut text = text.to_owned();
    for secret in known.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret.as_str(), MASK);
    }
    let text = without_values(&without_userinfo(&text));
    let mut clean: String =
        text.chars().take(MESSAGE_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() > MESSAGE_MAX {
        clean.push('…');
    }
    clean
}

/// `scheme://user:password@host` -> `scheme://***@host`.
fn without_userinfo(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        result.push_str(before);
        // A password may hold a slash or a question mark that was not encoded: the last @ counts.
        let word = after.find(|c: char| c.is_whitespace() || "\"'<>`".contains(c));
        let word = &after[..word.unwrap_or(after.len())];
        let secret = word.rfind('@').unwrap_or(0);
        if secret > 0 {
            result.push_str(MASK);
        }
        rest = &after[secret..];
    }
    result.push_str(rest);
    result
}

/// `password=x`, `"api_key": "x"` and `Bearer x` without the x.
fn without_values(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        let (before, tail) = rest.split_at(start);
        result.push_str(before);
        let (word, tail) = tail.split_at(tail.find(|c| !is_word(c)).unwrap_or(tail.len()));
        result.push_str(word);
        rest = tail;
        if let Some(value) = secret_after(word, tail) {
            result.push_str(&tail[..value.start]);
            result.push_str(MASK);
            rest = &tail[value.end..];
        }
    }
    result.push_str(rest);
    result
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// Where in `tail` the secret lies that `word` announces.
fn secret_after(word: &str, tail: &str) -> Option<std::ops::Range<usize>> {
    let lower = word.to_lowercase();
    let plain: String = lower.chars().filter(|c| c.is_alphanumeric()).collect();
    let start = if SCHEMES.contains(&lower.as_str()) {
        tail.starts_with(' ').then_some(1)?
    } else if SECRET_WORDS.iter().any(|secret| plain.contains(secret)) {
        let quote = |text: &str| usize::from(text.starts_with(['"', '\'']));
        let mut at = quote(tail);
        at += usize::from(tail[at..].starts_with([':', '=']).then_some(true)?);
        at += tail[at..].len() - tail[at..].trim_start_matches(' ').len();
        at + quote(&tail[at..])
    } else {
        return None;
    };
    let quoted = start > 0 && tail[..start].ends_with(['"', '\'']);
    let ends = |c: char| {
        if quoted { c == '"' || c == '\'' } else { c.is_whitespace() || "&;,\"')]}".contains(c) }
    };
    let length = tail[start..].find(ends).unwrap_or(tail.len() - start);
    (length > 0).then_some(start..start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_and_the_rest_stays() {
        for (text, expected) in [
            ("connection refused", "connection refused"),
            ("postgres://app:s3cret@db:5432/x: refused", "postgres://***@db:5432/x: refused"),
            ("redis://:p@ss/w?rd@h:1 and http://ok/x", "redis://***@h:1 and http://ok/x"),
            ("host=db user=app password=s3cret dbname=x", "host=db user=app password=*** dbname=x"),
            ("{\"api_key\": \"abc def\", \"n\": 1}", "{\"api_key\": \"***\", \"n\": 1}"),
            ("GET /?access_token=abc&n=1", "GET /?access_token=***&n=1"),
            ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
            ("PGPASSWORD='a b' psql", "PGPASSWORD='***' psql"),
            ("no password supplied", "no password supplied"),
            ("token: ", "token: "),
            ("mailto:a@b", "mailto:a@b"),
        ] {
            assert_eq!(redact(text, &[]), expected);
        }
    }

    #[test]
    fn what_the_service_calls_secret_is_taken_out_anywhere() {
        let known = ["hunter2".to_owned(), String::new()];
        assert_eq!(redact("login with hunter2 failed", &known), "login with *** failed");
    }

    #[test]
    fn a_message_is_one_short_line() {
        assert_eq!(redact("a\nb\u{1b}[0m", &[]), "a b [0m");
        let long = redact(&"ä".repeat(1000), &[]);
        assert_eq!(long.chars().count(), MESSAGE_MAX + 1);
    }
}
