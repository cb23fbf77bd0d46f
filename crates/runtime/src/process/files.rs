//! What the supervisor of a task and the driver tell each other through the task's directory.
//! It is also all that a driver that comes later knows of the task.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    net::Ipv4Addr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::{fcntl::OFlag, sys::stat::Mode, unistd::mkfifo};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::net::unix::pipe;
use warren_core::time::Timestamp;

use super::proc::Identity;

const LAUNCH: &str = "launch.json";
const RUNNING: &str = "running.json";
const EXIT: &str = "exit.json";
const EXIT_RESERVED: &str = "exit.json.reserved";
/// A named pipe that the supervisor holds open and locked. When it ends, whatever the manner, the
/// lock is free and who reads finds the end.
const ALIVE: &str = "alive";
const STDERR: &str = "supervisor.err";
/// Before the mark of a command beside the task, for as long as it runs.
const COMMAND: &str = "exec-";

/// An exit record takes less than half of it.
const EXIT_BYTES: usize = 256;

/// What to run. Written once, by the driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchFile {
    pub node: String,
    pub task: String,
    pub argv: Vec<String>,
    /// All of it: nothing is inherited.
    pub env: Vec<(String, String)>,
    pub cwd: PathBuf,
    /// `None`: those of the worker.
    pub user: Option<UserIds>,
    pub address: Ipv4Addr,
    pub log: PathBuf,
}

impl LaunchFile {
    /// A variable of the task; as a process sees it, the first of its name.
    pub fn var(&self, name: &str) -> Option<&str> {
        let var = self.env.iter().find(|(known, _)| known == name);
        var.map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserIds {
    pub uid: u32,
    pub gid: u32,
}

/// Written once the process runs, by the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningFile {
    pub supervisor: Identity,
    /// The task's first process.
    pub process: Identity,
    pub started_at_ms: u64,
    /// Processes are known by numbers that begin anew with each start of the machine.
    pub boot: String,
}

/// Written when the first process has ended: by the supervisor, or by a driver that finds that
/// there is none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitFile {
    pub code: Option<i32>,
    pub at_ms: u64,
}

/// What the supervisor says on its stdout once, before it closes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Running,
    /// The command cannot be run.
    Refused(String),
}

/// A task's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskDir(PathBuf);

impl TaskDir {
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn exists(&self) -> bool {
        self.0.join(LAUNCH).exists()
    }

    /// All at once or not at all, by way of a directory beside it.
    pub fn create(&self, launch: &LaunchFile) -> io::Result<()> {
        let new = self.0.with_extension("new");
        remove_dir(&new)?;
        // The environment holds what nobody else shall read.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&new)?;
        mkfifo(&new.join(ALIVE), Mode::S_IRUSR | Mode::S_IWUSR)?;
        put(&new, LAUNCH, launch)?;
        fs::rename(&new, &self.0)?;
        self.0.parent().map_or(Ok(()), sync_dir)
    }

    pub fn remove(&self) -> io::Result<()> {
        remove_dir(&self.0)
    }

    pub fn launch(&self) -> io::Result<Option<LaunchFile>> {
        self.get(LAUNCH)
    }

    pub fn running(&self) -> io::Result<Option<RunningFile>> {
        self.get(RUNNING)
    }

    pub fn put_running(&self, running: &RunningFile) -> io::Result<()> {
        put(&self.0, RUNNING, running)
    }

    pub fn exit(&self) -> io::Result<Option<ExitFile>> {
        self.get(EXIT)
    }

    /// Takes the place on the disk that the exit record will need: a disk that fills up
    /// meanwhile must not cost the exit code.
    pub fn reserve_exit(&self) -> io::Result<()> {
        fs::write(self.0.join(EXIT_RESERVED), [b' '; EXIT_BYTES])
    }

    pub fn put_exit(&self, exit: ExitFile) -> io::Result<()> {
        let reserved = self.0.join(EXIT_RESERVED);
        let text = serde_json::to_string(&exit)?;
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(false).open(&reserved)?;
        file.write_all(format!("{text:EXIT_BYTES$}").as_bytes())?;
        file.sync_all()?;
        fs::rename(reserved, self.0.join(EXIT))?;
        sync_dir(&self.0)
    }

    /// To be held for as long as the supervisor lives; `None` when another one holds it.
    pub fn hold_alive(&self) -> io::Result<Option<File>> {
        let alive = OpenOptions::new().read(true).write(true).open(self.0.join(ALIVE))?;
        locked(&alive).map(|locked| locked.then_some(alive))
    }

    /// Whether a supervisor holds it. Not to be asked while one starts.
    pub fn is_alive(&self) -> io::Result<bool> {
        let alive = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(self.0.join(ALIVE))?;
        locked(&alive).map(|locked| !locked)
    }

    /// Ends with the supervisor, if that is alive after this call.
    pub fn watch_alive(&self) -> io::Result<pipe::Receiver> {
        pipe::OpenOptions::new().open_receiver(self.0.join(ALIVE))
    }

    /// For the supervisor's stderr. That it is there says that one was started.
    pub fn create_stderr(&self) -> io::Result<File> {
        File::create(self.0.join(STDERR))
    }

    pub fn was_started(&self) -> bool {
        self.0.join(STDERR).exists()
    }

    /// What the supervisor had to complain about; a panic's text at most.
    pub fn stderr(&self) -> String {
        let mut text = Vec::new();
        // It only explains another fault: unreadable is as good as empty.
        let _ =
            File::open(self.0.join(STDERR)).and_then(|file| file.take(1024).read_to_end(&mut text));
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    /// By this a later driver knows of a command whose driver was killed.
    pub fn note_command(&self, mark: &str) -> io::Result<()> {
        File::create(self.command(mark)).map(drop)
    }

    pub fn forget_command(&self, mark: &str) -> io::Result<()> {
        fs::remove_file(self.command(mark))
    }

    /// The marks of those that were noted.
    pub fn commands(&self) -> io::Result<Vec<String>> {
        let mut marks = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            marks.extend(
                name.to_str().and_then(|name| name.strip_prefix(COMMAND)).map(str::to_owned),
            );
        }
        Ok(marks)
    }

    fn command(&self, mark: &str) -> PathBuf {
        self.0.join(format!("{COMMAND}{mark}"))
    }

    fn get<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let path = self.0.join(name);
        let read = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        read.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }
}

fn locked(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(fs::TryLockError::WouldBlock) => Ok(false),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Makes the directory, for its owner alone, and its path absolute.
pub fn make_dir(path: &mut PathBuf) -> io::Result<()> {
    *path = std::path::absolute(&path)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Of this start of the machine.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis());
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// Readers see the old or the new one, and after a crash of the machine one of the two is there.
fn put<T: Serialize>(dir: &Path, name: &str, value: &T) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(temporary, dir.join(name))?;
    sync_dir(dir)
}

fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
