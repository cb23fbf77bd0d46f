//! A runtime in memory: each task runs at once and for ever, at the address of its target.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tonic::async_trait;
use warren_core::{
    check::Command,
    id::TaskId,
    node::Driver,
    spec::{ImageRef, Pull, StopSignal, User},
    time::Timestamp,
};
use warren_runtime::{
    ExecEnd, Exit, Found, ImageFacts, ImageRecord, Launch, Output, Reach, Running, Runtime,
    RuntimeError,
};

use crate::targets::address;

#[derive(Debug)]
pub struct AllRun {
    /// To enter for every socket; it is the one that everybody is in already.
    pub netns: bool,
}

/// Of the target with this number.
pub fn task(target: usize) -> TaskId {
    TaskId::from_u64(target as u64 + 1)
}

#[async_trait]
impl Runtime for AllRun {
    fn driver(&self) -> Driver {
        Driver::Containerd
    }

    async fn ping(&self) -> Result<String, RuntimeError> {
        Ok(String::new())
    }

    async fn ensure_image(&self, _: &ImageRef, _: Pull) -> Result<ImageFacts, RuntimeError> {
        Ok(ImageFacts::default())
    }

    async fn images(&self) -> Result<Vec<ImageRecord>, RuntimeError> {
        Ok(Vec::new())
    }

    async fn import(&self, _: PathBuf) -> Result<Vec<ImageRecord>, RuntimeError> {
        Ok(Vec::new())
    }

    async fn create(&self, _: &Launch) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn start(&self, task: TaskId) -> Result<Running, RuntimeError> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let started_at = Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap());
        let target = usize::try_from(task.as_u64() - 1).unwrap();
        let netns = self.netns.then(|| PathBuf::from("/proc/self/ns/net"));
        let reach = Reach { netns, address: address(target).into(), root_of: None };
        Ok(Running { pid: 1, started_at, reach })
    }

    async fn signal(&self, _: TaskId, _: StopSignal) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn wait(&self, _: TaskId) -> Result<Exit, RuntimeError> {
        std::future::pending().await
    }

    async fn delete(&self, _: TaskId) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Found>, RuntimeError> {
        Ok(Vec::new())
    }

    async fn exec(
        &self,
        _: TaskId,
        _: &Command,
        _: Option<&User>,
        _: Duration,
    ) -> Result<ExecEnd, RuntimeError> {
        Ok(ExecEnd::Exited { code: 0, output: Output::default() })
    }
}
