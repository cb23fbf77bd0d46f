//! A place in a log that somebody else writes and rotates meanwhile. Blocking file I/O.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    ops::ControlFlow,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use warren_core::time::Timestamp;

use super::{Limits, Line, Stream, numbered, record};

/// Read at once; holds at least three of the longest records.
const CHUNK: usize = 64 * 1024;
/// Parts of one line are put together up to this, and what follows begins another line.
const MAX_LINE: usize = 1024 * 1024;

#[derive(Debug)]
pub struct Cursor {
    path: PathBuf,
    /// Where it stands, and how far it shall go in that file.
    current: Option<Part>,
    /// The files after it, the newest last.
    newer: VecDeque<Part>,
    /// Lines of stdout and of stderr whose end has not come yet.
    begun: [Vec<u8>; 2],
    last_at: Timestamp,
    /// So many lines are not wanted.
    skip: u64,
    follow: bool,
}

/// One of the files. Known by its inode, which cannot be given to another while it is open.
#[derive(Debug)]
struct Part {
    file: File,
    inode: (u64, u64),
    offset: u64,
    end: u64,
}

impl Cursor {
    /// Stands before the last `tail` lines, or before the first. A log that is not there is empty.
    pub fn open(path: &Path, tail: Option<u32>, follow: bool) -> io::Result<Self> {
        let mut parts = parts(path)?;
        let skip = match tail {
            Some(tail) => skip_to_tail(&mut parts, u64::from(tail))?,
            None => 0,
        };
        if let (true, Some(newest)) = (follow, parts.back_mut()) {
            newest.end = u64::MAX;
        }
        Ok(Self {
            path: path.to_owned(),
            current: parts.pop_front(),
            newer: parts,
            begun: [Vec::new(), Vec::new()],
            last_at: Timestamp::EPOCH,
            skip,
            follow,
        })
    }

    /// The next lines, some hundreds at most. Empty: there are none now.
    pub fn read(&mut self) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        loop {
            if let Some(part) = &mut self.current {
                let chunk = part.chunk()?;
                if !chunk.is_empty() {
                    self.take(&chunk, &mut lines);
                    if lines.is_empty() {
                        continue;
                    }
                    return Ok(lines);
                }
            }
            if let Some(next) = self.newer.pop_front() {
                self.current = Some(next);
            } else if !self.follow || !self.look_for_newer(&mut lines)? {
                return Ok(lines);
            }
            // The file that it was in may have grown between its end and its rotation: it is
            // read to its end once more before the next one.
        }
    }

    /// What is left when no more can come: lines whose end never came.
    pub fn finish(&mut self) -> Vec<Line> {
        let at = self.last_at;
        let left = [Stream::Stdout, Stream::Stderr].into_iter().zip(&mut self.begun);
        left.filter(|(_, begun)| !begun.is_empty())
            .map(|(stream, begun)| Line { at, stream, bytes: std::mem::take(begun) })
            .collect()
    }

    /// Whether there are files after the current one.
    fn look_for_newer(&mut self, lines: &mut Vec<Line>) -> io::Result<bool> {
        let current = self.current.as_ref().map(|part| part.inode);
        let newest = match std::fs::metadata(&self.path) {
            Ok(meta) => (meta.dev(), meta.ino()),
            // Between two steps of a rotation, or not there yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if Some(newest) == current {
            return Ok(false);
        }
        let mut parts = parts(&self.path)?;
        let place = parts.iter().position(|part| Some(part.inode) == current);
        if let Some(place) = place {
            parts.drain(..=place);
        } else if current.is_some() {
            let text = "warren: lines are missing here: they were rotated away before they were \
                        read";
            let (at, bytes) = (self.last_at, text.as_bytes().to_vec());
            lines.push(Line { at, stream: Stream::Stderr, bytes });
        }
        for part in &mut parts {
            part.end = u64::MAX;
        }
        self.newer = parts;
        Ok(!self.newer.is_empty())
    }

    fn take(&mut self, chunk: &[u8], lines: &mut Vec<Line>) {
        self.split(chunk, lines);
        let skipped = self.skip.min(lines.len() as u64);
        self.skip -= skipped;
        lines.drain(..usize::try_from(skipped).unwrap_or(lines.len()));
    }

    fn split(&mut self, chunk: &[u8], lines: &mut Vec<Line>) {
        for text in chunk.split_inclusive(|b| *b == b'\n') {
            let text = text.strip_suffix(b"\n").unwrap_or(text);
            let Some(record) = record::parse(text) else {
                // A crash of the machine may leave anything. It is shown, not hidden.
                let (at, bytes) = (self.last_at, text.to_vec());
                lines.push(Line { at, stream: Stream::Stderr, bytes });
                continue;
            };
            self.last_at = record.at;
            let begun = match record.stream {
                Stream::Stdout => &mut self.begun[0],
                Stream::Stderr => &mut self.begun[1],
            };
            begun.extend_from_slice(record.text);
            if record.ends || begun.len() >= MAX_LINE {
                let bytes = std::mem::take(begun);
                lines.push(Line { at: record.at, stream: record.stream, bytes });
            }
        }
    }
}

impl Part {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        let (inode, end) = ((meta.dev(), meta.ino()), meta.len());
        Ok(Some(Self { file, inode, offset: 0, end }))
    }

    /// The next whole records; empty at the end. Only moves past what it gives, because the
    /// writer takes back half a record that did not fit on the disk.
    fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let wanted = self.end.saturating_sub(self.offset).min(CHUNK as u64);
        let mut chunk = vec![0; usize::try_from(wanted).unwrap_or(CHUNK)];
        let mut filled = 0;
        while filled < chunk.len() {
            match self.file.read_at(&mut chunk[filled..], self.offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        chunk.truncate(filled);
        match chunk.iter().rposition(|b| *b == b'\n') {
            Some(last) => chunk.truncate(last + 1),
            // No writer of ours makes such a record: taken as it is, or it would never end.
            None if filled == CHUNK => {}
            None => chunk.clear(),
        }
        self.offset += chunk.len() as u64;
        Ok(chunk)
    }

    /// From the last whole record back to the first, each with the place where it begins.
    fn records_back(
        &self,
        mut visit: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        let mut start = self.end;
        // The end of the file that no record has begun in yet, as far as it was read.
        let mut chunk = Vec::new();
        let mut is_whole = false;
        while start > 0 {
            let len = start.min(CHUNK as u64);
            start -= len;
            let mut earlier = vec![0; usize::try_from(len).unwrap_or(CHUNK)];
            self.file.read_exact_at(&mut earlier, start)?;
            earlier.append(&mut chunk);
            chunk = earlier;
            while let Some(newline) = chunk.iter().rposition(|b| *b == b'\n') {
                // What the writer is in the middle of is no record yet.
                if is_whole && visit(start + newline as u64 + 1, &chunk[newline + 1..]).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                is_whole = true;
                chunk.truncate(newline);
            }
        }
        if is_whole { Ok(visit(0, &chunk)) } else { Ok(ControlFlow::Continue(())) }
    }
}

/// The files that are there, the oldest first. Opened from the newest on: a rotation in between
/// makes one appear twice and cannot hide one.
fn parts(path: &Path) -> io::Result<VecDeque<Part>> {
    let mut parts = VecDeque::<Part>::new();
    for index in 0..Limits::MAX_FILES {
        let part = Part::open(&numbered(path, index))?;
        if let Some(part) = part.filter(|new| parts.iter().all(|p| p.inode != new.inode)) {
            parts.push_front(part);
        }
    }
    Ok(parts)
}

/// Moves on to where the last `wanted` lines begin. How many others end after that place: the
/// parts of a long line may have lines of the other stream between them.
fn skip_to_tail(parts: &mut VecDeque<Part>, wanted: u64) -> io::Result<u64> {
    let mut tail = Tail { wanted, others: 0, streams: [Place::Unseen, Place::Unseen] };
    let mut newer = VecDeque::new();
    while let Some(mut part) = parts.pop_back() {
        let mut begin = part.end;
        let found = part.records_back(|offset, record| {
            let step = tail.step(record);
            if step.is_continue() {
                begin = offset;
            }
            step
        })?;
        part.offset = begin;
        newer.push_front(part);
        if found.is_break() {
            break;
        }
    }
    *parts = newer;
    Ok(tail.others)
}

/// Counts lines from the end.
struct Tail {
    wanted: u64,
    /// Lines that are not wanted and end after the beginning of one that is.
    others: u64,
    /// Of stdout and of stderr.
    streams: [Place; 2],
}

/// Where a walk back through one stream is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Behind its last record.
    Unseen,
    /// In a line that is wanted.
    Wanted,
    /// In a line that is not.
    Unwanted,
}

impl Tail {
    /// Breaks at the first record that is not needed.
    fn step(&mut self, record: &[u8]) -> ControlFlow<()> {
        if self.wanted == 0 && !self.streams.contains(&Place::Wanted) {
            return ControlFlow::Break(());
        }
        let Some(record) = record::parse(record) else {
            // It is shown as a line.
            match self.wanted.checked_sub(1) {
                Some(left) => self.wanted = left,
                None => self.others += 1,
            }
            return ControlFlow::Continue(());
        };
        let place = &mut self.streams[record.stream as usize];
        // The last record of a stream may belong to a line that has not ended.
        if record.ends || *place == Place::Unseen {
            *place = if let Some(left) = self.wanted.checked_sub(1) {
                self.wanted = left;
                Place::Wanted
            } else {
                self.others += u64::from(record.ends);
                Place::Unwanted
            };
        }
        ControlFlow::Continue(())
    }
}
