//! One line of a log file.

use std::io::Write as _;

use warren_core::time::Timestamp;

use super::Stream;

/// Longer lines are written in parts. The same as the kubelet's: what reads one reads the other.
pub const MAX_TEXT: usize = 16 * 1024;

/// Appends the record to `out`. `time` is RFC 3339 with nanoseconds, in UTC.
pub fn put(out: &mut Vec<u8>, time: &str, stream: Stream, ends: bool, text: &[u8]) {
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    let tag = if ends { 'F' } else { 'P' };
    // Writing to a vector does not fail.
    let _ = write!(out, "{time} {stream} {tag} ");
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// A record as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub at: Timestamp,
    pub stream: Stream,
    /// Whether the line ends with it.
    pub ends: bool,
    pub text: &'a [u8],
}

/// Reads one record without its newline. `None`: it is none.
pub fn parse(record: &[u8]) -> Option<Record<'_>> {
    let mut parts = record.splitn(4, |b| *b == b' ');
    let time: jiff::Timestamp = str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let stream = match parts.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let ends = match parts.next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    let at = Timestamp::from_millis(u64::try_from(time.as_millisecond()).unwrap_or(0));
    Some(Record { at, stream, ends, text: parts.next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back() {
        for text in [&b""[..], b"text", b" two  blanks ", &[0, 255, b'\r']] {
            let mut out = Vec::new();
            put(&mut out, "2026-11-21T10:00:00.123456789Z", Stream::Stderr, false, text);
            assert_eq!(out.pop(), Some(b'\n'));
            let at = Timestamp::from_millis(1_795_255_200_123);
            let read = Record { at, stream: Stream::Stderr, ends: false, text };
            assert_eq!(parse(&out), Some(read));
        }
    }

    #[test]
    fn what_is_no_record_is_not_taken_for_one() {
        for line in ["", "text", "2026-11-21T10:00:00Z stdout X t", "2026-11-21T10:00:00Z out F t"]
        {
            assert_eq!(parse(line.as_bytes()), None, "{line:?}");
        }
    }
}
