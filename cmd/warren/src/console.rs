//! Where a command writes, and what time it is there.

use std::io::{self, Write};

use warren_core::time::Timestamp;

use crate::failure::Failure;

/// The outside of a command. Tests put buffers and a fixed clock in its place.
pub struct Console<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    clock: fn() -> Timestamp,
}

impl<'a> Console<'a> {
    pub fn new(out: &'a mut dyn Write, err: &'a mut dyn Write, clock: fn() -> Timestamp) -> Self {
        Self { out, err, clock }
    }

    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// What the user asked for: goes to stdout at once.
    pub fn print(&mut self, text: impl AsRef<[u8]>) -> Result<(), Failure> {
        written(self.out.write_all(text.as_ref()).and_then(|()| self.out.flush()))
    }

    /// The same with a line break after it.
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.print(format!("{text}\n"))
    }

    /// What a task wrote to its stderr.
    pub fn print_err(&mut self, text: impl AsRef<[u8]>) -> Result<(), Failure> {
        written(self.err.write_all(text.as_ref()).and_then(|()| self.err.flush()))
    }

    /// What the user should know besides: a line on stderr, which may be closed.
    pub fn note(&mut self, text: &str) {
        // There is nowhere left to complain.
        drop(writeln!(self.err, "{text}"));
    }
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::OutputClosed
        } else {
            Failure::Fault(anyhow::Error::new(error).context("cannot write the output"))
        }
    })
}

/// The wall clock.
pub fn wall_clock() -> Timestamp {
    let since_epoch =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.after(since_epoch)
}
