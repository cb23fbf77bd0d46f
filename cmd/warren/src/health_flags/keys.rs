//! `key=value,key=value`, where `\,` is a comma within a value.

use warren_core::Invalid;

/// The text between unescaped commas.
pub fn pieces(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = c == '\\' && chars.peek() == Some(&',');
        match (c, pieces.last_mut()) {
            (',', _) => pieces.push(String::new()),
            (_, Some(last)) if escaped => {
                last.push(',');
                chars.next();
            }
            (_, Some(last)) => last.push(c),
            (_, None) => {}
        }
    }
    pieces
}

/// A piece that begins like a key does: lower-case letters and `-` before a `=`.
pub fn key_value(piece: &str) -> Option<(&str, &str)> {
    piece.split_once('=').filter(|(key, _)| {
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
    })
}

/// Refuses what has a key after a blank, as other programs want them: it would be taken for a part
/// of a path or of a port.
pub fn by_commas(piece: &str) -> Result<(), Invalid> {
    let mut words = piece.split_whitespace().skip(1);
    if words.any(|word| key_value(word).is_some()) {
        let better = piece.split_whitespace().collect::<Vec<_>>().join(",");
        return Err(Invalid::new(format!("{piece:?} has keys after blanks; say {better:?}")));
    }
    Ok(())
}

const COMMA: &str = "a comma within a value is \\,";

/// A piece that must be `key=value` with one of the known keys.
pub fn known<'a>(piece: &'a str, known: &[&str]) -> Result<(&'a str, &'a str), Invalid> {
    let Some((key, value)) = key_value(piece) else {
        return Err(Invalid::new(format!("{piece:?} is not key=value; {COMMA}")));
    };
    if known.contains(&key) {
        Ok((key, value))
    } else {
        let known = known.join(", ");
        let why = format!("{key:?} is not a key here; there are {known}; {COMMA}");
        Err(Invalid::new(why))
    }
}

/// A value that may be said once.
pub fn once<T>(slot: &mut Option<T>, key: &str, value: T) -> Result<(), Invalid> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Invalid::new("is there twice").at(key)),
    }
}

/// Bytes with `\\r`, `\\n`, `\\t`, `\\0`, `\\\\` and `\\x1F` in them.
pub fn unescape(text: &str) -> Result<Vec<u8>, Invalid> {
    let refuse = |what: &str| {
        let why = format!("{what:?} is not \\r, \\n, \\t, \\0, \\\\ or \\x and two digits");
        Invalid::new(why).at("send")
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let (byte, length) = match escape.as_bytes() {
            [b'r', ..] => (b'\r', 1),
            [b'n', ..] => (b'\n', 1),
            [b't', ..] => (b'\t', 1),
            [b'0', ..] => (0, 1),
            [b'\\', ..] => (b'\\', 1),
            [b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let byte = u8::from_str_radix(&escape[1..3], 16);
                (byte.map_err(|_| refuse(escape))?, 3)
            }
            _ => return Err(refuse(&format!("\\{}", escape.chars().take(3).collect::<String>()))),
        };
        bytes.push(byte);
        rest = &escape[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}
