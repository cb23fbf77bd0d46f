//! Other checks for a task that runs.

use std::sync::Arc;

use warren_core::{
    check::{Check, Checks, Role},
    health::{Health, HealthStatus},
    id::TaskId,
    time::Timestamp,
};

use super::TaskVerdicts;
use crate::{
    group::Sharing,
    run::{Known, RoleRun},
    schedule::Elapsed,
    seats::Seats,
    watch::Watch,
};

impl TaskVerdicts {
    /// Puts `after` in the place of `before`. The health when that changed it. Nobody leaves
    /// traffic or becomes unhealthy for the edit itself, a startup that is over stays over, and a
    /// task that has ended is not looked at any more.
    pub fn edit(
        &mut self,
        task: TaskId,
        before: &Checks,
        after: &Arc<Checks>,
        at: Timestamp,
        now: Elapsed,
    ) -> Option<Health> {
        if self.has_ended() {
            return None;
        }
        let known = self.health();
        self.roles = Seats::by_role(|role| {
            let (was, is) = (before.get(role).as_ref(), after.get(role).as_ref()?);
            Some(match self.run(role).zip(was) {
                Some((run, was)) => edited(run.clone(), was, is),
                None => self.added(role, at),
            })
        });
        self.checks = Arc::clone(after);
        self.rearrange(task, before, now);
        self.settle(at);
        let health = self.health();
        (health != known).then_some(health)
    }

    /// A role that the task did not have. It passes until its check says otherwise where the task
    /// was as good without it.
    fn added(&self, role: Role, at: Timestamp) -> RoleRun {
        let mut run = RoleRun::new(role, at);
        let as_good = match role {
            Role::Startup => true,
            Role::Liveness => {
                matches!(self.overall.status, HealthStatus::Healthy | HealthStatus::Unchecked)
            }
            Role::Readiness => self.overall.ready,
        };
        if as_good && matches!(self.startup(), Some(Known::Passing) | None) {
            run.take_for_passing();
        }
        run
    }

    /// The loops anew. One that asks what it asked before keeps its attempts.
    fn rearrange(&mut self, task: TaskId, before: &Checks, now: Elapsed) {
        let sharing = Sharing::of(&self.checks);
        let watches = Seats::by_role(|role| {
            let check = self.checks.get(role).as_ref().filter(|_| sharing.lead(role) == role)?;
            let mut watch = Watch::new(task, role);
            let same = before.get(role).as_ref().is_some_and(|was| was.kind == check.kind);
            match self.watch(role) {
                Some(old) if same => watch.take_over(old),
                // One that still waits for its delay goes on waiting.
                Some(old) if !old.has_begun() => {}
                Some(_) | None => watch.begin_at(now),
            }
            Some(watch)
        });
        (self.sharing, self.watches) = (sharing, watches);
    }
}

fn edited(mut run: RoleRun, was: &Check, is: &Check) -> RoleRun {
    if was.kind == is.kind {
        run.retime(&was.timing, &is.timing);
    } else {
        run.ask_anew();
    }
    run
}
