//! Keeps the beginning and the end of what a command writes, however much that is: both for a
//! person, and more of the beginning to be searched.

use std::collections::VecDeque;

use crate::port::Output;

/// The first bytes say what ran, the last ones how it ended; half of the room for each.
const HEAD: usize = Output::MAX / 2;

const TAIL: usize = Output::MAX - HEAD;

/// Takes what a command writes and keeps head and tail of it, in constant memory.
#[derive(Debug, Default)]
pub struct HeadTail {
    /// The head is the beginning of it.
    first: Vec<u8>,
    /// The last of all, whether that is among the first or not.
    tail: VecDeque<u8>,
    total: u64,
}

impl HeadTail {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let room = Output::FIRST - self.first.len();
        self.first.extend_from_slice(&bytes[..bytes.len().min(room)]);
        // Of a large piece only the end can stay.
        let last = &bytes[bytes.len().saturating_sub(TAIL)..];
        let surplus = (self.tail.len() + last.len()).saturating_sub(TAIL);
        self.tail.drain(..surplus);
        self.tail.extend(last);
    }

    /// What is not UTF-8 is shown as `?`, byte by byte.
    pub fn finish(self) -> Output {
        let Self { first, mut tail, total } = self;
        Output { shown: shown(&first, tail.make_contiguous(), total), first }
    }
}

/// At most [`Output::MAX`] bytes.
fn shown(first: &[u8], tail: &[u8], total: u64) -> String {
    if total <= Output::MAX as u64 {
        return text(first);
    }
    // The number of digits differs by at most one from that of the final count.
    let room = TAIL - marker(total).len();
    let head = &first[..HEAD];
    let head = &head[..whole_chars(head)];
    let tail = &tail[tail.len() - room..];
    let cut_char = tail.iter().take(3).take_while(|b| is_continuation(**b)).count();
    let tail = &tail[cut_char..];
    let left_out = total - (head.len() + tail.len()) as u64;
    text(head) + &marker(left_out) + &text(tail)
}

fn marker(left_out: u64) -> String {
    format!("\n[... {left_out} bytes left out ...]\n")
}

const fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// How many bytes there are before a character that the end of `bytes` cuts in two.
fn whole_chars(bytes: &[u8]) -> usize {
    let trailing = bytes.iter().rev().take(3).take_while(|b| is_continuation(**b)).count();
    let Some(start) = bytes.len().checked_sub(trailing + 1) else { return bytes.len() };
    let wanted = match bytes[start] {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    };
    if wanted > trailing + 1 { start } else { bytes.len() }
}

/// Never longer than the bytes.
fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pieces: &[&[u8]]) -> Output {
        let mut kept = HeadTail::new();
        for piece in pieces {
            kept.push(piece);
        }
        kept.finish()
    }

    fn collect(pieces: &[&[u8]]) -> String {
        kept(pieces).shown
    }

    #[test]
    fn what_fits_is_kept_as_it_is() {
        assert_eq!(collect(&[]), "");
        assert_eq!(collect(&[b"out\n", b"err\n"]), "out\nerr\n");
        let full = "x".repeat(Output::MAX);
        assert_eq!(collect(&[full.as_bytes()]), full);
    }

    /// C-73.
    #[test]
    fn of_more_the_two_ends_are_kept_and_the_rest_is_counted() {
        for step in [1, 7, 4096, 1_000_000] {
            let all: Vec<u8> = (0..1_000_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
            let kept = collect(&all.chunks(step).collect::<Vec<_>>());
            assert!(kept.len() <= Output::MAX, "{}", kept.len());
            let (head, rest) = kept.split_once("\n[... ").unwrap();
            let (count, tail) = rest.split_once(" bytes left out ...]\n").unwrap();
            assert!(all.starts_with(head.as_bytes()) && all.ends_with(tail.as_bytes()));
            assert_eq!(count.parse(), Ok(all.len() - head.len() - tail.len()));
            assert!(head.len() > 2000 && tail.len() > 2000);
        }
    }

    /// C-116.
    #[test]
    fn the_first_10_kib_are_kept_as_they_came_to_be_searched() {
        let all: Vec<u8> = (0..50_000_u32).map(|n| (n % 251) as u8).collect();
        for step in [1, 1000, 50_000] {
            let Output { first, shown } = kept(&all.chunks(step).collect::<Vec<_>>());
            assert_eq!(first, all[..10 * 1024]);
            assert!(shown.contains(" bytes left out ...]"));
        }
        assert_eq!(kept(&[b"out\xff\n"]).first, b"out\xff\n");
        assert_eq!(kept(&[b"out\n"]), Output::from("out\n"));
    }

    #[test]
    fn characters_are_not_cut_and_bytes_that_are_none_do_not_grow() {
        for shift in 0..4 {
            let all = "x".repeat(shift) + &"\u{1f407}".repeat(5000);
            let kept = collect(&[all.as_bytes()]);
            assert!(!kept.contains('?') && kept.len() <= Output::MAX);
        }
        let kept = collect(&[&[0xff; 10_000]]);
        assert!(kept.len() <= Output::MAX && kept.starts_with("???"));
    }
}
