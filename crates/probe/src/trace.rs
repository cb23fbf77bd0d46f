//! How far a network attempt has come, kept outside of its future: at the deadline that is gone,
//! and the message still has to say where it stood.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use warren_core::{clause::Clause, trial::Phases};

use crate::{Seen, clause, end::End, prober::Given};

#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) start: Instant,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    stage: Stage,
    phases: Phases,
    /// Of this connection, before the body.
    received: usize,
    redirects: usize,
}

#[derive(Debug)]
enum Stage {
    Connect,
    Tls,
    Head,
    /// What came is not what is expected, and more may come.
    Talk {
        said: String,
    },
    Body {
        status: u16,
        bytes: usize,
    },
}

impl Trace {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), progress: Mutex::new(Progress::after(0, None)) }
    }

    /// A connection is begun, after so many redirects.
    pub(crate) fn reconnect(&self, redirects: usize) {
        if redirects > 0 {
            *self.progress() = Progress::after(redirects, Some(self.start.elapsed()));
        }
    }

    /// Another connection in the place of this one.
    pub(crate) fn start_over(&self) {
        let mut progress = self.progress();
        *progress = Progress::after(progress.redirects, Some(self.start.elapsed()));
    }

    pub(crate) fn connected(&self) {
        let mut progress = self.progress();
        progress.phases.connect = Some(self.start.elapsed());
        progress.stage = Stage::Head;
    }

    /// Nothing has to be made: the connection is an earlier attempt's.
    pub(crate) fn kept(&self) {
        self.progress().stage = Stage::Head;
    }

    /// Nothing has come over this connection.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.progress().received == 0
    }

    pub(crate) fn tls_begun(&self) {
        self.progress().stage = Stage::Tls;
    }

    pub(crate) fn tls_done(&self) {
        let mut progress = self.progress();
        progress.phases.tls = Some(self.start.elapsed());
        progress.stage = Stage::Head;
    }

    pub(crate) fn received(&self, bytes: usize) {
        let mut progress = self.progress();
        if progress.phases.first_byte.is_none() {
            progress.phases.first_byte = Some(self.start.elapsed());
        }
        progress.received += bytes;
    }

    pub(crate) fn body(&self, status: u16, bytes: usize) {
        self.progress().stage = Stage::Body { status, bytes };
    }

    /// An answer without headers that does not match, so far.
    pub(crate) fn talked(&self, said: String) {
        self.progress().stage = Stage::Talk { said };
    }

    /// How far it came before the connection broke, as the end of a sentence.
    pub(crate) fn before(&self) -> String {
        let Progress { stage, received, .. } = &*self.progress();
        match stage {
            Stage::Connect => String::new(),
            Stage::Tls => " during the TLS handshake".to_owned(),
            Stage::Head if *received == 0 => " before an answer".to_owned(),
            Stage::Talk { said } => format!(" after {received} bytes: {said}"),
            Stage::Head => format!(" after {received} bytes of headers"),
            Stage::Body { status, bytes } => {
                format!(" after HTTP {status} and {bytes} bytes of body")
            }
        }
    }

    /// Which phase the deadline struck in.
    pub(crate) fn lateness(&self, given: Given, peer: &impl fmt::Display) -> String {
        let Progress { stage, phases, received, redirects } = &*self.progress();
        let hops = match redirects {
            0 => String::new(),
            1 => "after a redirect, ".to_owned(),
            many => format!("after {many} redirects, "),
        };
        let connected = match phases.connect {
            Some(after) => {
                let alone = after.saturating_sub(phases.earlier.unwrap_or_default());
                format!("connected after {alone:.1?}")
            }
            None => "on a kept connection".to_owned(),
        };
        let (answer, state) = match stage {
            Stage::Connect => {
                return format!("no connection to {peer} within {given}");
            }
            Stage::Tls => ("no answer", "TLS handshake unfinished".to_owned()),
            Stage::Head if *received == 0 => ("no answer", "nothing came".to_owned()),
            Stage::Talk { said } => {
                ("no answer that matches", format!("{received} bytes came: {said}"))
            }
            Stage::Head => ("no answer", format!("headers unfinished after {received} bytes")),
            Stage::Body { status, bytes } => (
                "no complete answer",
                format!("HTTP {status}, body unfinished after {bytes} bytes"),
            ),
        };
        format!("{answer} within {given}: {hops}{connected}, {state}")
    }

    /// The clause that the deadline strikes by.
    pub(crate) fn late_clause(&self) -> Clause {
        match self.progress().stage {
            Stage::Connect => clause::NO_CONNECTION,
            Stage::Tls | Stage::Head | Stage::Talk { .. } => clause::DEADLINE,
            Stage::Body { .. } => clause::BODY,
        }
    }

    pub(crate) fn seen(&self, end: End) -> Seen {
        Seen { phases: self.progress().phases, ..Seen::new(end, self.start) }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // Nothing panics while it is held.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    fn after(redirects: usize, earlier: Option<Duration>) -> Self {
        let phases = Phases { earlier, ..Phases::default() };
        Self { stage: Stage::Connect, phases, received: 0, redirects }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MILLI: Duration = Duration::from_millis(1);

    // C-153
    #[tokio::test(start_paused = true)]
    async fn what_came_before_the_last_connection_is_a_part_of_its_own() {
        let trace = Trace::start();
        trace.reconnect(0);
        trace.connected();
        advance(SECOND).await;
        trace.received(1);
        trace.reconnect(1);
        advance(2 * MILLI).await;
        trace.connected();
        let given = Given::of(5 * SECOND, 5 * SECOND);
        let late = "no answer within 5s: after a redirect, connected after 2.0ms, nothing came";
        assert_eq!(trace.lateness(given, &"peer"), late);
        advance(MILLI).await;
        trace.received(1);
        let phases = trace.seen(End::pass(clause::STATUS, "fine")).phases;
        assert_eq!(phases.earlier, Some(SECOND));
        assert_eq!(phases.connect, Some(SECOND + 2 * MILLI));
        assert_eq!(phases.first_byte, Some(SECOND + 3 * MILLI));
    }

    // C-130
    #[tokio::test(start_paused = true)]
    async fn a_kept_connection_that_had_ended_is_none_of_the_fresh_ones_phases() {
        let trace = Trace::start();
        trace.kept();
        advance(MILLI).await;
        trace.start_over();
        trace.connected();
        let phases = trace.seen(End::pass(clause::STATUS, "fine")).phases;
        assert_eq!((phases.earlier, phases.connect), (Some(MILLI), Some(MILLI)));
    }
}
