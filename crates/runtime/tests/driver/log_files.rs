//! Log files: what is written is what is read, through rotations and full disks.

use std::{
    fs,
    io::{self, PipeWriter, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;
use warren_runtime::{
    Runtime,
    logs::{self, Limits, Writer},
    process::{ProcessConfig, ProcessDriver},
};

use crate::support::{Bench, LONG, is_root, read_log, shell, trials, until};

trials!(
    lines_of_both_streams_read_back,
    long_lines_are_written_in_parts_and_read_as_one,
    the_tail_is_the_last_lines_across_files,
    the_tail_counts_a_line_of_many_parts_once,
    following_through_rotations_loses_no_line,
    a_reader_that_is_too_slow_is_told_what_it_misses,
    a_follower_gets_the_last_lines_of_a_task_that_ended,
    no_more_files_are_kept_than_allowed,
    half_a_record_of_a_killed_writer_does_not_spoil_the_next_one,
    a_full_disk_neither_blocks_the_task_nor_hides_the_loss,
);

struct Pump {
    stdout: Option<PipeWriter>,
    stderr: Option<PipeWriter>,
    writer: Option<JoinHandle<io::Result<()>>>,
}

impl Pump {
    fn new(path: &Path, limits: Limits) -> Self {
        let ((out, stdout), (err, stderr)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let writer = Writer::new(path, limits);
        let writer = Some(thread::spawn(move || writer.pump(out, err)));
        Self { stdout: Some(stdout), stderr: Some(stderr), writer }
    }

    fn out(&self, text: &str) {
        self.stdout.as_ref().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn err(&self, text: &str) {
        self.stderr.as_ref().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn finish(mut self) {
        (self.stdout, self.stderr) = (None, None);
        self.writer.take().unwrap().join().unwrap().unwrap();
    }
}

fn log_file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("task.log");
    (dir, path)
}

const SMALL: u64 = Limits::MIN_BYTES;

async fn lines_of_both_streams_read_back() {
    let (_dir, path) = log_file();
    assert_eq!(read_log(&path, None).await, [""; 0]);
    let pump = Pump::new(&path, Limits::default());
    pump.out("one\n\n  two");
    pump.out(" halves\n");
    pump.err("not ended by a newline");
    pump.finish();
    let log = read_log(&path, None).await;
    let (err, out): (Vec<_>, Vec<_>) = log.iter().partition(|line| line.starts_with("stderr"));
    assert_eq!(out, ["stdout one", "stdout ", "stdout   two halves"]);
    assert_eq!(err, ["stderr not ended by a newline"]);
    let text = fs::read_to_string(&path).unwrap();
    let first = text.lines().find(|line| line.contains("one")).unwrap();
    assert_eq!(first.len(), "2026-11-21T10:00:00.123456789Z stdout F one".len(), "{first}");
}

async fn long_lines_are_written_in_parts_and_read_as_one() {
    let (_dir, path) = log_file();
    let pump = Pump::new(&path, Limits::default());
    let lengths = [16_383, 16_384, 16_385, 32_768, 100_000];
    for length in lengths {
        pump.out(&("x".repeat(length) + "\n"));
    }
    pump.finish();
    let text = fs::read_to_string(&path).unwrap();
    let tags: String = text.lines().map(|line| &line[38..39]).collect();
    assert_eq!(tags, "FFPFPFPPPPPPF");
    assert!(text.lines().all(|line| line.len() <= 40 + 16_384));
    let read = read_log(&path, None).await;
    assert_eq!(read.iter().map(|line| line.len() - "stdout ".len()).collect::<Vec<_>>(), lengths);
}

async fn the_tail_is_the_last_lines_across_files() {
    let (_dir, path) = log_file();
    let pump = Pump::new(&path, Limits::new(SMALL, 3));
    (0..6000).for_each(|n| pump.out(&format!("line {n}\n")));
    pump.finish();
    assert!(path.with_extension("log.2").exists());
    let all = read_log(&path, None).await;
    assert_eq!(all.last().map(String::as_str), Some("stdout line 5999"));
    for tail in [0, 1, 2, 1000, 4000, all.len(), 1_000_000] {
        let expected = &all[all.len().saturating_sub(tail)..];
        let read = read_log(&path, Some(tail.try_into().unwrap())).await;
        assert!(read == expected, "tail {tail} has {} lines", read.len());
    }
}

async fn the_tail_counts_a_line_of_many_parts_once() {
    let (_dir, path) = log_file();
    let long = "x".repeat(40 * 1024);
    let part = |stream: &str, tag: char, text: &str| {
        format!("2026-11-21T10:00:00.000000000Z {stream} {tag} {text}\n")
    };
    let written = [
        part("stdout", 'F', "first"),
        part("stdout", 'P', &long),
        part("stderr", 'F', "between"),
        part("stdout", 'P', &long),
        part("stderr", 'P', "half "),
        part("stdout", 'F', "end"),
        part("stdout", 'F', "last"),
        part("stderr", 'F', "whole"),
        part("stdout", 'P', "begun"),
    ];
    let half = written.len() / 2;
    fs::write(path.with_extension("log.1"), written[..half].concat()).unwrap();
    fs::write(&path, written[half..].concat() + "2026-11-21T10:00:0").unwrap();
    let all = [
        "stdout first".to_owned(),
        "stderr between".to_owned(),
        format!("stdout {long}{long}end"),
        "stdout last".to_owned(),
        "stderr half whole".to_owned(),
        "stdout begun".to_owned(),
    ];
    assert!(read_log(&path, None).await == all);
    for tail in 0..8 {
        let expected = &all[all.len().saturating_sub(tail)..];
        let read = read_log(&path, Some(tail.try_into().unwrap())).await;
        assert!(read == expected, "tail {tail} has {} lines", read.len());
    }
}

async fn following_through_rotations_loses_no_line() {
    const LINES: u64 = 60_000;
    let (_dir, path) = log_file();
    let pump = Pump::new(&path, Limits::new(SMALL, 3));
    let (ended, complete) = oneshot::channel::<()>();
    let mut lines = logs::read(path.clone(), None, true, async { drop(complete.await) });
    let read = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&read);
    let writing = thread::spawn(move || {
        for n in 0..LINES {
            // Within what the files hold, or lines would be rotated away.
            while n > seen.load(Ordering::Relaxed) + 4000 {
                thread::yield_now();
            }
            pump.out(&format!("{n}\n"));
        }
        pump.finish();
        drop(ended);
    });
    while let Some(line) = lines.recv().await {
        let expected = read.fetch_add(1, Ordering::Relaxed).to_string();
        assert_eq!(String::from_utf8(line.unwrap().bytes).unwrap(), expected);
    }
    assert_eq!(read.load(Ordering::Relaxed), LINES);
    writing.join().unwrap();
}

async fn a_reader_that_is_too_slow_is_told_what_it_misses() {
    let (_dir, path) = log_file();
    let pump = Pump::new(&path, Limits::new(SMALL, 2));
    pump.out("first\n");
    let (ended, complete) = oneshot::channel::<()>();
    let mut lines = logs::read(path.clone(), None, true, async { drop(complete.await) });
    assert_eq!(lines.recv().await.unwrap().unwrap().bytes, b"first");
    (0..20_000).for_each(|n| pump.out(&format!("line {n}\n")));
    pump.finish();
    drop(ended);
    let mut rest = Vec::new();
    while let Some(line) = lines.recv().await {
        rest.push(String::from_utf8(line.unwrap().bytes).unwrap());
    }
    assert_eq!(rest.last().map(String::as_str), Some("line 19999"));
    assert!(rest.iter().any(|line| line.starts_with("warren: lines are missing here")));
}

async fn a_follower_gets_the_last_lines_of_a_task_that_ended() {
    let bench = Bench::new();
    let task = bench.start("echo begin; sleep 0.2; seq 1 5000; echo end").await;
    let driver = ProcessDriver::new(bench.config.clone()).unwrap();
    let wait = async move { assert_eq!(driver.wait(task).await.unwrap().code, Some(0)) };
    let mut lines = logs::read(bench.log_path(task), Some(10), true, wait);
    let mut read = Vec::new();
    while let Some(line) = lines.recv().await {
        read.push(String::from_utf8(line.unwrap().bytes).unwrap());
    }
    assert_eq!((read.len(), read[0].as_str(), read[5001].as_str()), (5002, "begin", "end"));
}

async fn no_more_files_are_kept_than_allowed() {
    let (dir, path) = log_file();
    for files in [3, 1] {
        let pump = Pump::new(&path, Limits::new(SMALL, files));
        (0..20_000).for_each(|n| pump.out(&format!("line {n}\n")));
        pump.finish();
        let sizes = fs::read_dir(dir.path()).unwrap();
        let sizes: Vec<_> = sizes.map(|e| e.unwrap().metadata().unwrap().len()).collect();
        assert_eq!(sizes.len(), 3, "the older ones stay where they are");
        assert!(sizes.iter().all(|size| *size <= SMALL), "{sizes:?}");
        assert_eq!(read_log(&path, Some(1)).await, ["stdout line 19999"]);
    }
}

async fn half_a_record_of_a_killed_writer_does_not_spoil_the_next_one() {
    let (_dir, path) = log_file();
    fs::write(&path, "2026-11-21T10:00:00.123456789Z stdout F hal").unwrap();
    let pump = Pump::new(&path, Limits::default());
    pump.out("whole\n");
    pump.finish();
    assert_eq!(read_log(&path, None).await, ["stdout hal", "stdout whole"]);
}

async fn a_full_disk_neither_blocks_the_task_nor_hides_the_loss() {
    if !is_root() {
        println!("skipped: needs root, to mount a small file system");
        return;
    }
    let mounted = tempfile::tempdir().unwrap();
    let disk = Disk::mount(mounted.path());
    let bench = Bench::new();
    let config = ProcessConfig { log_dir: disk.0.join("logs"), ..bench.config.clone() };
    let driver = ProcessDriver::new(config.clone()).unwrap();
    let flag = bench.root.path().join("flag");
    let flags = (flag.with_extension("full"), flag.with_extension("room"));
    let script = format!(
        "seq 1 200000; touch {}; while ! [ -e {} ]; do sleep 0.01; done; echo after",
        flags.0.display(),
        flags.1.display()
    );
    let launch = shell(&script);
    driver.create(&launch).await.unwrap();
    driver.start(launch.task).await.unwrap();
    // It wrote ten times what the disk holds and came through.
    until(|| flags.0.exists()).await;
    let path = logs::path(&config.log_dir, launch.task);
    let size = || fs::metadata(&path).unwrap().len();
    fs::write(disk.0.join("filler"), "").unwrap();
    assert!(size() > 0 && size() < 600_000, "{}", size());
    let full = read_log(&path, None).await;
    assert_eq!(full[0], "stdout 1");
    // Room again.
    let grown = Command::new("mount").args(["-o", "remount,size=8m"]).arg(&disk.0).status();
    assert!(grown.unwrap().success());
    fs::write(&flags.1, "").unwrap();
    let exit = tokio::time::timeout(LONG, driver.wait(launch.task)).await.unwrap().unwrap();
    assert_eq!(exit.code, Some(0));
    let log = read_log(&path, None).await;
    assert_eq!(log.last().map(String::as_str), Some("stdout after"));
    let notices: Vec<_> = log.iter().filter(|line| line.contains("could not be written")).collect();
    let lost = |notice: &&String| -> usize {
        assert!(notice.contains("No space left"), "{notice}");
        notice.split(' ').nth(2).unwrap().parse().unwrap()
    };
    let lost: usize = notices.iter().map(lost).sum();
    assert!(lost > 0);
    assert_eq!(log.len() - notices.len() + lost, 200_001, "every line is there or counted");
    driver.delete(launch.task).await.unwrap();
}

/// A file system of 512 KiB.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: &Path) -> Self {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"]).arg(path);
        assert!(mount.status().unwrap().success());
        Self(path.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a supervisor may still have its log open.
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        println!("unmounted: {done:?}");
    }
}
