//! Writes what a task says to its log, and never makes the task wait for the disk's good will:
//! what cannot be written is counted, and said when it works again.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::io::ioctl_fionbio;

use super::{Limits, Stream, numbered, record};

/// What a pipe holds by default: one read empties it.
const READ: usize = 64 * 1024;
/// Written at once, so that a talkative task costs few system calls.
const BATCH: usize = 64 * 1024;

/// Writes one task's log. Plain blocking I/O: it runs in a small process of its own.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    limits: Limits,
    /// `None`: it has to be opened first.
    file: Option<File>,
    size: u64,
    batch: Vec<u8>,
    /// Records that could not be written, and why the last one could not.
    lost: u64,
    why: String,
}

impl Writer {
    /// Cannot fail: a log that cannot be opened now may be later.
    pub fn new(path: &Path, limits: Limits) -> Self {
        let path = path.to_owned();
        let batch = Vec::with_capacity(BATCH);
        Self { path, limits, file: None, size: 0, batch, lost: 0, why: String::new() }
    }

    /// Until both streams have ended.
    pub fn pump(mut self, stdout: impl Read + AsFd, stderr: impl Read + AsFd) -> io::Result<()> {
        let mut out = Source::new(Stream::Stdout, stdout)?;
        let mut err = Source::new(Stream::Stderr, stderr)?;
        let mut buffer = vec![0; READ];
        while out.open || err.open {
            let out_moved = out.take(&mut buffer, &mut self);
            let err_moved = err.take(&mut buffer, &mut self);
            self.flush();
            if !out_moved && !err_moved {
                wait_for_either(&out, &err);
            }
        }
        if self.lost > 0 {
            // Nothing is left to write but the loss itself; it stays unsaid if that fails too.
            let _ = self.make_room(0).and_then(|()| self.say_what_is_lost());
        }
        Ok(())
    }

    fn record(&mut self, time: &str, stream: Stream, ends: bool, text: &[u8]) {
        record::put(&mut self.batch, time, stream, ends, text);
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        let opened = self.make_room(batch.len()).and_then(|()| self.say_what_is_lost());
        let (kept, written) = match opened {
            Ok(()) => self.append(&batch),
            Err(error) => (0, Err(error)),
        };
        if let Err(error) = written {
            let records = batch[kept..].split_inclusive(|b| *b == b'\n').count();
            self.lost = self.lost.saturating_add(records as u64);
            self.why = error.to_string();
        }
        batch.clear();
        self.batch = batch;
    }

    fn say_what_is_lost(&mut self) -> io::Result<()> {
        if self.lost == 0 {
            return Ok(());
        }
        let mut notice = Vec::new();
        let text = format!("warren: {} lines could not be written here: {}", self.lost, self.why);
        record::put(&mut notice, &now(), Stream::Stderr, true, text.as_bytes());
        self.append(&notice).1?;
        self.lost = 0;
        Ok(())
    }

    /// Opens the file, or the next one when `len` bytes more would be too many.
    fn make_room(&mut self, len: usize) -> io::Result<()> {
        if self.file.is_none() {
            self.open()?;
        }
        if self.size > 0 && self.size + len as u64 > self.limits.max_bytes {
            self.file = None;
            self.rotate()?;
            self.open()?;
        }
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        if let Some(dir) = self.path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o750).create(dir)?;
        }
        // A task may say what is nobody's business.
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(&self.path)?;
        self.size = file.seek(SeekFrom::End(0))?;
        // A writer that was killed may have left half a record.
        let mut last = [b'\n'];
        if self.size > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        if last != [b'\n'] {
            file.write_all(b"\n")?;
            self.size += 1;
        }
        self.file = Some(file);
        Ok(())
    }

    fn rotate(&self) -> io::Result<()> {
        if self.limits.files == 1 {
            return fs::remove_file(&self.path);
        }
        for index in (1..self.limits.files).rev() {
            let (from, to) = (numbered(&self.path, index - 1), numbered(&self.path, index));
            match fs::rename(from, to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Says how many bytes were kept: whole records only, because readers may have taken them.
    fn append(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let Some(file) = &mut self.file else { return (0, Err(io::ErrorKind::NotFound.into())) };
        let mut done = 0;
        let failed = loop {
            match file.write(&bytes[done..]) {
                Ok(written) if done + written == bytes.len() => break None,
                Ok(0) => break Some(io::ErrorKind::WriteZero.into()),
                Ok(written) => done += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
        };
        let Some(error) = failed else {
            self.size += bytes.len() as u64;
            return (bytes.len(), Ok(()));
        };
        let kept = bytes[..done].iter().rposition(|b| *b == b'\n').map_or(0, |last| last + 1);
        self.size += kept as u64;
        if kept < done && file.set_len(self.size).is_err() {
            // Opening it again mends the half record at its end.
            self.file = None;
        }
        (kept, Err(error))
    }
}

/// One of the two streams, and the line that it is in the middle of.
struct Source<R> {
    stream: Stream,
    reader: R,
    open: bool,
    begun: Vec<u8>,
}

impl<R: Read + AsFd> Source<R> {
    /// Reads before it polls: a named pipe whose writer has gone before it was opened here is
    /// never reported as ended.
    fn new(stream: Stream, reader: R) -> io::Result<Self> {
        ioctl_fionbio(&reader, true)?;
        Ok(Self { stream, reader, open: true, begun: Vec::new() })
    }

    /// Reads once. Whether there was anything to read, or the end.
    fn take(&mut self, buffer: &mut [u8], writer: &mut Writer) -> bool {
        if !self.open {
            return false;
        }
        match self.reader.read(buffer) {
            Ok(0) => self.end(writer),
            Ok(count) => self.split(&buffer[..count], writer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.end(writer),
        }
        true
    }

    fn end(&mut self, writer: &mut Writer) {
        self.open = false;
        if !self.begun.is_empty() {
            writer.record(&now(), self.stream, true, &self.begun);
        }
    }

    fn split(&mut self, bytes: &[u8], writer: &mut Writer) {
        let time = now();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (mut text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            while self.begun.len() + text.len() > record::MAX_TEXT {
                let (first, rest) = text.split_at(record::MAX_TEXT - self.begun.len());
                self.begun.extend_from_slice(first);
                writer.record(&time, self.stream, false, &self.begun);
                self.begun.clear();
                text = rest;
            }
            self.begun.extend_from_slice(text);
            if ends {
                writer.record(&time, self.stream, true, &self.begun);
                self.begun.clear();
            }
        }
    }
}

/// Blocks until one of the streams has something to say or has ended.
fn wait_for_either<A: AsFd, B: AsFd>(out: &Source<A>, err: &Source<B>) {
    // A stream that has ended would be reported for ever.
    let out = out.open.then(|| out.reader.as_fd());
    let err = err.open.then(|| err.reader.as_fd());
    let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut fds: Vec<_> = out.into_iter().chain(err).map(watch).collect();
    // Whatever it says, the next thing to do is to read.
    let _ = poll(&mut fds, PollTimeout::NONE);
}

fn now() -> String {
    format!("{:.9}", jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_counted_and_said_when_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        fs::write(&logs, "a file in the place of the directory").unwrap();
        let mut writer = Writer::new(&logs.join("task.log"), Limits::default());
        for text in ["one", "two", "three"] {
            writer.record("2026-11-21T10:00:00Z", Stream::Stdout, true, text.as_bytes());
        }
        writer.flush();
        fs::remove_file(&logs).unwrap();
        writer.record("2026-11-21T10:00:01Z", Stream::Stdout, true, b"four");
        writer.flush();
        let log = fs::read_to_string(logs.join("task.log")).unwrap();
        let (notice, rest) = log.split_once('\n').unwrap();
        assert!(notice.contains(" stderr F warren: 3 lines could not be written here: "), "{log}");
        assert_eq!(rest, "2026-11-21T10:00:01Z stdout F four\n");
    }
}
