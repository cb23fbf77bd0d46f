//! Who the user of a command is, by the task's own files as they are now. They may hang.

use std::io;

use nix::errno::Errno;
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout_at},
};
use warren_core::{id::TaskId, spec::User};
use warren_runtime::{Root, RootError, RuntimeError};

use crate::{
    client::unavailable,
    rootfs,
    shared::Shared,
    user::{self, Ids},
};

impl Shared {
    /// The inner error is for a person.
    pub async fn look_up(
        &self,
        task: TaskId,
        user: &User,
        deadline: Instant,
    ) -> Result<Result<Ids, String>, RuntimeError> {
        let late = |_| unavailable("the task's users were not read in time".to_owned());
        timeout_at(deadline, self.try_to_look_up(task, user)).await.map_err(late)?
    }

    async fn try_to_look_up(
        &self,
        task: TaskId,
        user: &User,
    ) -> Result<Result<Ids, String>, RuntimeError> {
        // What hangs holds one thread of the worker and not all.
        let turn = self.looks.take(task).await.ok_or_else(|| {
            unavailable("the last look at the task's users has not ended yet".to_owned())
        })?;
        let process = self.true_process(task).await?.ok_or(RuntimeError::NoSuchTask(task))?;
        let (pid, user) = (process.pid, user.as_str().to_owned());
        let look = move || {
            let _turn = turn;
            let root = Root::of(Some(pid));
            let read = |path| root.read(path, rootfs::USERS_MAX);
            let (passwd, group) = (read("/etc/passwd")?, read("/etc/group")?);
            Ok::<_, RootError>(user::resolve(&user, &passwd, &group))
        };
        let looked = spawn_blocking(look).await;
        let looked = looked.map_err(|error| unavailable(format!("a look was lost: {error}")))?;
        match looked {
            Ok(ids) => Ok(ids),
            Err(RootError::Gone) => Err(RuntimeError::NoSuchTask(task)),
            // What the task has in the place of its users is its own doing.
            Err(RootError::File(error)) if !is_ours(&error) => {
                Ok(Err(format!("cannot read the task's users: {error}")))
            }
            Err(error @ (RootError::Unseen(_) | RootError::File(_))) => {
                Err(unavailable(format!("cannot read the task's users: {error}")))
            }
        }
    }
}

/// We are out of something.
fn is_ours(error: &io::Error) -> bool {
    const OURS: [Errno; 3] = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM];
    error.raw_os_error().is_some_and(|raw| OURS.contains(&Errno::from_raw(raw)))
}
