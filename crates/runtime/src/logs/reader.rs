//! Reads a log while it is written, without holding more of it than a chunk.

use std::{collections::VecDeque, fmt, io, mem, path::PathBuf, pin::Pin, time::Duration};

use tokio::task::{JoinHandle, spawn_blocking};

use super::{Line, cursor::Cursor};

/// How often a followed log is looked at: what a person takes for at once. Looking costs two
/// system calls, and works on every file system.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

type Complete = Pin<Box<dyn Future<Output = ()> + Send>>;
type Reading = JoinHandle<io::Result<(Cursor, Vec<Line>)>>;

/// The lines of a log as they come.
pub struct Lines {
    state: State,
    /// At most those of one chunk.
    ready: VecDeque<Line>,
    /// `None`: nothing more is waited for.
    complete: Option<Complete>,
    /// Whether all was written that ever will be when the current reading began.
    last: bool,
}

enum State {
    Reading(Reading),
    AtTheEnd(Cursor),
    Ended,
}

/// Reads the log at `path` from its beginning, or its last `tail` lines. With `follow` it goes
/// on past the end until `complete` has come, and then to the end of what was written by then.
pub fn read(
    path: PathBuf,
    tail: Option<u32>,
    follow: bool,
    complete: impl Future<Output = ()> + Send + 'static,
) -> Lines {
    let opening = spawn_blocking(move || read_on(Cursor::open(&path, tail, follow)?));
    Lines {
        state: State::Reading(opening),
        ready: VecDeque::new(),
        complete: follow.then(|| Box::pin(complete) as Complete),
        last: !follow,
    }
}

impl Lines {
    /// The next line; `None` at the end. An error is the last. May be dropped and asked again.
    pub async fn recv(&mut self) -> Option<io::Result<Line>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(Ok(line));
            }
            match &mut self.state {
                State::Ended => return None,
                State::Reading(reading) => {
                    let read = reading.await.map_err(io::Error::other).and_then(|read| read);
                    match read {
                        Ok((cursor, lines)) => self.take(cursor, lines),
                        Err(error) => {
                            self.state = State::Ended;
                            return Some(Err(error));
                        }
                    }
                }
                State::AtTheEnd(_) => {
                    self.wait().await;
                    if let State::AtTheEnd(cursor) = mem::replace(&mut self.state, State::Ended) {
                        self.state = State::Reading(spawn_blocking(move || read_on(cursor)));
                    }
                }
            }
        }
    }

    fn take(&mut self, mut cursor: Cursor, lines: Vec<Line>) {
        if !lines.is_empty() {
            self.ready.extend(lines);
            self.state = State::Reading(spawn_blocking(move || read_on(cursor)));
        } else if self.last {
            self.ready.extend(cursor.finish());
            self.state = State::Ended;
        } else {
            self.state = State::AtTheEnd(cursor);
        }
    }

    /// Until it is worth looking again.
    async fn wait(&mut self) {
        let Some(complete) = &mut self.complete else { return };
        if tokio::time::timeout(LOOK_AGAIN, complete).await.is_ok() {
            self.complete = None;
            self.last = true;
        }
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("last", &self.last).finish_non_exhaustive()
    }
}

fn read_on(mut cursor: Cursor) -> io::Result<(Cursor, Vec<Line>)> {
    let lines = cursor.read()?;
    Ok((cursor, lines))
}
