//! The worker's own pulse: how late its timers come, and how long another process, there where the
//! tasks are, takes to answer. The observer's score is made of both.
//!
//! It beats on the thread of the checks, since it is that thread's lateness that tasks would be
//! blamed for.

mod echo;

use std::{ffi::OsString, io, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use warren_probe::{Beat, Observer};

use crate::Metrics;

pub use echo::echo_main;

/// From one beat to the next.
const BEAT: Duration = Duration::from_millis(200);
/// The timer that is listened to; the rest of the beat is another one.
const NAP: Duration = Duration::from_millis(50);
/// The rest of the beat.
const REST: Duration = BEAT.saturating_sub(NAP);
/// From one start of the echo to the next.
const RESTART: Duration = Duration::from_secs(1);
/// One that has not answered for so long does not run: stopped by somebody, or lost by the kernel.
/// No machine in use is starved for so long.
const DEAF: Duration = Duration::from_mins(1);

/// The process that sends back what it reads, where the tasks are. It ends with the worker.
#[derive(Debug, Clone)]
pub struct Echo {
    /// They run [`echo_main`].
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// It joins these cgroups, which are made where they are missing.
    pub cgroups: Vec<PathBuf>,
}

/// Beats until shutdown.
pub async fn run(
    observer: Arc<Observer>,
    echo: Echo,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let mut pulse = Pulse { observer, metrics, voice: None, restart_at: Instant::now() };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = pulse.beat_on(&echo) => {}
    }
}

struct Pulse {
    observer: Arc<Observer>,
    metrics: Metrics,
    voice: Option<Voice>,
    restart_at: Instant,
}

/// The echo process, and what was called to it.
struct Voice {
    _process: Child,
    _hearing: JoinSet<()>,
    input: ChildStdin,
    answers: mpsc::Receiver<Instant>,
    /// Not answered yet.
    called: Option<Instant>,
}

impl Pulse {
    async fn beat_on(&mut self, echo: &Echo) {
        loop {
            self.keep_voice(echo);
            self.call().await;
            let begun = Instant::now();
            let lag = nap(NAP).await.max(nap(REST).await);
            let echo = self.listen();
            let count = begun.elapsed().as_millis() / BEAT.as_millis();
            let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
            self.note(Beat { lag, echo, count });
        }
    }

    fn note(&self, beat: Beat) {
        let before = self.observer.score();
        self.observer.note(beat);
        let score = self.observer.score();
        self.metrics.set_observer_score(score.into());
        match (before, score) {
            (0, 1..) => tracing::debug!(?beat, "this worker is short of time"),
            (1.., 0) => tracing::debug!("this worker has time again"),
            (_, _) => {}
        }
    }

    /// Where there is none, the timers' lag alone counts.
    fn keep_voice(&mut self, echo: &Echo) {
        let now = Instant::now();
        if self.voice.is_some() || now < self.restart_at {
            return;
        }
        self.restart_at = now + RESTART;
        match Voice::start(echo) {
            Ok(voice) => self.voice = Some(voice),
            Err(error) => {
                tracing::warn!(%error, "cannot start the process that echoes; only timers tell");
            }
        }
    }

    async fn call(&mut self) {
        let Some(voice) = &mut self.voice else { return };
        if let Err(error) = voice.call().await {
            tracing::warn!(%error, "the process that echoes has ended, and is started again");
            self.voice = None;
        }
    }

    /// How long the echo took, or has been out.
    fn listen(&mut self) -> Duration {
        let took = self.voice.as_mut().map_or(Duration::ZERO, Voice::listen);
        if took > DEAF {
            tracing::warn!(?took, "the process that echoes does not answer, and is started again");
            // Killed with it.
            self.voice = None;
        }
        took
    }
}

/// How much later than asked for it ended.
async fn nap(length: Duration) -> Duration {
    let due = Instant::now() + length;
    sleep_until(due).await;
    due.elapsed()
}

impl Voice {
    /// Takes a millisecond or two, once in the worker's life.
    fn start(echo: &Echo) -> io::Result<Self> {
        let mut command = Command::new(&echo.program);
        command.args(&echo.args).stdin(Stdio::piped()).stdout(Stdio::piped());
        // A key pressed at the worker's terminal is not meant for it.
        command.stderr(Stdio::null()).process_group(0).kill_on_drop(true);
        let mut process = command.spawn()?;
        if let Some(pid) = process.id() {
            join(&echo.cgroups, pid);
        }
        let piped = process.stdin.take().zip(process.stdout.take());
        let (input, output) = piped.ok_or_else(|| io::Error::other("it has no pipes"))?;
        let (sender, answers) = mpsc::channel(1);
        let mut hearing = JoinSet::new();
        hearing.spawn(hear(output, sender));
        Ok(Self { _process: process, _hearing: hearing, input, answers, called: None })
    }

    /// Nothing is called while an answer is out: what is not read is one byte at most.
    async fn call(&mut self) -> io::Result<()> {
        if self.answers.is_closed() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.called.is_none() {
            self.called = Some(Instant::now());
            self.input.write_all(b".").await?;
        }
        Ok(())
    }

    fn listen(&mut self) -> Duration {
        let Some(called) = self.called else { return Duration::ZERO };
        match self.answers.try_recv() {
            Ok(heard) => {
                self.called = None;
                heard.saturating_duration_since(called)
            }
            Err(_) => called.elapsed(),
        }
    }
}

/// Until the process ends, or nobody listens.
async fn hear(mut output: ChildStdout, answers: mpsc::Sender<Instant>) {
    let mut byte = [0];
    while output.read_exact(&mut byte).await.is_ok() {
        if answers.send(Instant::now()).await.is_err() {
            return;
        }
    }
}

/// Where that fails it answers from the worker's own place, which is worth something too.
fn join(cgroups: &[PathBuf], pid: u32) {
    for cgroup in cgroups {
        let joined = std::fs::create_dir_all(cgroup)
            .and_then(|()| std::fs::write(cgroup.join("cgroup.procs"), pid.to_string()));
        if let Err(error) = joined {
            let path = cgroup.display();
            tracing::warn!(%error, %path, "the process that echoes is not among the tasks");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cat() -> Echo {
        Echo { program: "/bin/cat".into(), args: Vec::new(), cgroups: Vec::new() }
    }

    fn program(words: &[&str]) -> Echo {
        let args = words[1..].iter().map(Into::into).collect();
        Echo { program: words[0].into(), args, ..cat() }
    }

    fn pulse() -> Pulse {
        let (observer, metrics) = (Arc::default(), Metrics::default());
        Pulse { observer, metrics, voice: None, restart_at: Instant::now() }
    }

    async fn until(mut seen: impl FnMut() -> bool) {
        while !seen() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    // C-97
    #[tokio::test]
    async fn an_echo_that_comes_tells_how_long_it_took_and_one_that_does_not_how_long_it_is_out() {
        let mut voice = Voice::start(&cat()).unwrap();
        for _ in 0..3 {
            voice.call().await.unwrap();
            until(|| {
                voice.listen();
                voice.called.is_none()
            })
            .await;
            assert_eq!(voice.listen(), Duration::ZERO, "nothing is out");
        }
        let mut deaf = Voice::start(&program(&["/bin/sleep", "60"])).unwrap();
        deaf.call().await.unwrap();
        until(|| deaf.listen() > BEAT).await;
        // Called once, however often it would be called.
        let called = deaf.called;
        deaf.call().await.unwrap();
        assert_eq!(deaf.called, called);
    }

    // C-97
    #[tokio::test]
    async fn an_echo_process_that_ends_is_started_again() {
        let mut pulse = pulse();
        pulse.keep_voice(&program(&["/bin/true"]));
        until(|| pulse.voice.as_ref().unwrap().answers.is_closed()).await;
        pulse.call().await;
        assert!(pulse.voice.is_none());
        pulse.keep_voice(&cat());
        assert!(pulse.voice.is_none(), "not at once");
        tokio::time::sleep(RESTART).await;
        pulse.keep_voice(&cat());
        pulse.call().await;
        until(|| {
            pulse.listen();
            pulse.voice.as_ref().unwrap().called.is_none()
        })
        .await;
    }

    // C-97
    #[tokio::test(start_paused = true)]
    async fn one_that_is_deaf_for_a_minute_is_replaced() {
        let mut pulse = pulse();
        pulse.keep_voice(&program(&["/bin/sleep", "60"]));
        pulse.call().await;
        tokio::time::advance(DEAF).await;
        assert_eq!(pulse.listen(), DEAF);
        tokio::time::advance(BEAT).await;
        assert_eq!(pulse.listen(), DEAF + BEAT);
        assert!(pulse.voice.is_none());
    }

    // C-97
    #[tokio::test]
    async fn a_process_that_cannot_be_started_leaves_the_timers() {
        let mut pulse = pulse();
        pulse.keep_voice(&program(&["/nonexistent"]));
        assert!(pulse.voice.is_none());
        pulse.call().await;
        assert_eq!(pulse.listen(), Duration::ZERO);
    }

    // C-97
    #[tokio::test]
    async fn a_thread_that_is_held_up_makes_a_score_and_one_that_is_not_takes_it_back() {
        let mut pulse = pulse();
        let observer = Arc::clone(&pulse.observer);
        let hold = async {
            for _ in 0..4 {
                std::thread::sleep(Duration::from_millis(700));
                tokio::task::yield_now().await;
            }
            until(|| observer.score() >= 2).await;
            until(|| observer.score() == 0).await;
        };
        let echo = cat();
        tokio::select! {
            () = pulse.beat_on(&echo) => {}
            () = hold => {}
        }
    }
}
