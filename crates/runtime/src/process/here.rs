//! Commands as whoever asks would run them, and nothing else: for an attempt from a shell.

use std::{env, future::pending, io, net::Ipv4Addr, path::PathBuf, time::Duration};

use async_trait::async_trait;
use warren_core::{
    check::Command,
    id::TaskId,
    node::Driver,
    spec::{ImageRef, Pull, StopSignal, User},
};

use super::{command, exec, files::LaunchFile, unavailable};
use crate::{
    expand,
    port::{ExecEnd, Exit, Found, ImageFacts, ImageRecord, Launch, Running, Runtime, RuntimeError},
};

/// With this process's directory, variables and user.
#[derive(Debug)]
pub struct Here {
    launch: LaunchFile,
}

impl Here {
    pub fn new() -> io::Result<Self> {
        // A variable that is not UTF-8 stays behind.
        let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Ok(Self {
            launch: LaunchFile {
                node: String::new(),
                task: "here".to_owned(),
                argv: Vec::new(),
                env: env::vars_os().filter_map(utf8).collect(),
                cwd: env::current_dir()?,
                user: None,
                address: Ipv4Addr::LOCALHOST,
                log: PathBuf::new(),
            },
        })
    }
}

#[async_trait]
impl Runtime for Here {
    fn driver(&self) -> Driver {
        Driver::Process
    }

    async fn exec(
        &self,
        _: TaskId,
        command: &Command,
        user: Option<&User>,
        limit: Duration,
    ) -> Result<ExecEnd, RuntimeError> {
        let mut launch = self.launch.clone();
        match user.map(command::user).transpose() {
            Ok(None) => {}
            Ok(Some((ids, _home))) => launch.user = Some(ids),
            Err(reason) => return Ok(ExecEnd::NotRun { reason }),
        }
        let argv = expand::words(command, |name| launch.var(name));
        let mark = exec::mark(&launch.task);
        exec::run(&launch, &argv, mark, limit, pending()).await.map_err(unavailable)
    }

    async fn ping(&self) -> Result<String, RuntimeError> {
        commands_only()
    }

    async fn ensure_image(&self, _: &ImageRef, _: Pull) -> Result<ImageFacts, RuntimeError> {
        commands_only()
    }

    async fn images(&self) -> Result<Vec<ImageRecord>, RuntimeError> {
        commands_only()
    }

    async fn import(&self, _: PathBuf) -> Result<Vec<ImageRecord>, RuntimeError> {
        commands_only()
    }

    async fn create(&self, _: &Launch) -> Result<(), RuntimeError> {
        commands_only()
    }

    async fn start(&self, _: TaskId) -> Result<Running, RuntimeError> {
        commands_only()
    }

    async fn signal(&self, _: TaskId, _: StopSignal) -> Result<(), RuntimeError> {
        commands_only()
    }

    async fn wait(&self, _: TaskId) -> Result<Exit, RuntimeError> {
        commands_only()
    }

    async fn delete(&self, _: TaskId) -> Result<(), RuntimeError> {
        commands_only()
    }

    async fn list(&self) -> Result<Vec<Found>, RuntimeError> {
        commands_only()
    }
}

fn commands_only<T>() -> Result<T, RuntimeError> {
    Err(RuntimeError::Refused("there is no task here, only commands".to_owned()))
}
