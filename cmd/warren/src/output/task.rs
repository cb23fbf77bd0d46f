//! A task in the columns of a table.

use warren_core::time::Timestamp;
use warren_proto::v1 as pb;

use super::words;

/// What is known of a task: the manager's record and, where its worker answered, the live view.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub detail: &'a pb::TaskDetail,
    pub live: Option<&'a pb::Observation>,
}

impl<'a> View<'a> {
    pub fn task(&self) -> Option<&'a pb::Task> {
        self.detail.task.as_ref()
    }

    /// It neither is as good as it gets, traffic included, nor has ended.
    pub fn is_awaited(&self) -> bool {
        let good = match self.effective().map(pb::Health::status) {
            Some(pb::HealthStatus::Healthy | pb::HealthStatus::Unchecked) => true,
            Some(
                pb::HealthStatus::Unspecified
                | pb::HealthStatus::Starting
                | pb::HealthStatus::Unhealthy
                | pb::HealthStatus::Unknown,
            )
            | None => false,
        };
        let ready = self.effective().is_some_and(|health| health.ready);
        !(good && ready) && self.end().is_none()
    }

    fn status(&self) -> Option<&'a pb::TaskStatus> {
        self.task().and_then(|task| task.status.as_ref())
    }

    pub fn end(&self) -> Option<&'a pb::TaskEnd> {
        self.status().and_then(|status| status.end.as_ref())
    }

    /// The health that counts.
    pub fn effective(&self) -> Option<&'a pb::Health> {
        self.detail.effective.as_ref().or_else(|| self.observed())
    }

    /// The health as its worker sees it, the latest that is known.
    pub fn observed(&self) -> Option<&'a pb::Health> {
        let stored = self.detail.health.as_ref().and_then(|health| health.observed.as_ref());
        self.live.and_then(|live| live.health.as_ref()).or(stored)
    }

    pub fn id(&self) -> String {
        self.task().map(|task| task.id.clone()).unwrap_or_default()
    }

    pub fn slot(&self) -> u32 {
        self.task().map(|task| task.slot).unwrap_or_default()
    }

    /// In nanoseconds; 0 where it is not known.
    pub fn created(&self) -> i128 {
        let at = self.task().and_then(|task| task.created_at).unwrap_or_default();
        i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos)
    }

    pub fn node(&self) -> String {
        match self.detail.node_name.as_str() {
            "" => self.task().map(|task| task.node_id.clone()).unwrap_or_default(),
            name => words::plain(name),
        }
    }

    /// `running`, or with the way it ended: `ended (exit 1)`.
    pub fn state(&self) -> String {
        let Some(status) = self.status() else { return String::new() };
        match &status.end {
            Some(end) => format!("ended ({})", end_words(end)),
            None => words::word("TASK_STATE_", status.state().as_str_name()),
        }
    }

    pub fn health(&self) -> String {
        self.effective().map(words::health_status).unwrap_or_default()
    }

    pub fn ready(&self) -> String {
        self.effective().map(|health| words::yes_no(health.ready)).unwrap_or_default()
    }

    /// Of the role that matters most now, such as `3 failures` or `12 passes`.
    pub fn streak(&self) -> String {
        let Some(role) = self.observed().and_then(telling_role) else { return String::new() };
        let count = |count: u32, one: &str, more: &str| {
            format!("{count} {}", if count == 1 { one } else { more })
        };
        if role.failures > 0 {
            count(role.failures, "failure", "failures")
        } else if role.inconclusive > 0 {
            count(role.inconclusive, "inconclusive", "inconclusive")
        } else if role.passes > 0 {
            count(role.passes, "pass", "passes")
        } else {
            String::new()
        }
    }

    /// How long its health, or before and after that its state, has been what it is.
    pub fn since(&self, now: Timestamp) -> String {
        let health = self.effective().and_then(|health| health.since.as_ref());
        let status = self.status().and_then(|status| status.since.as_ref());
        let at = match self.end() {
            Some(end) => end.at.as_ref(),
            None => health.or(status),
        };
        words::ago(at, now)
    }

    /// What its checks said last, else why it is as it is.
    pub fn last_output(&self, now: Timestamp) -> String {
        if self.end().is_some() {
            return self.reason(now);
        }
        let last = self.observed().and_then(telling_role).and_then(|role| role.last.as_ref());
        match last.map(|last| words::cell(&last.message)) {
            Some(message) if !message.is_empty() => message,
            Some(_) | None => self.reason(now),
        }
    }

    /// Why it is as it is, where there is something to explain.
    pub fn reason(&self, now: Timestamp) -> String {
        let (Some(task), Some(status)) = (self.task(), self.status()) else {
            return String::new();
        };
        if let Some(stop) = &task.stop {
            let cause = words::word("STOP_CAUSE_", stop.cause().as_str_name());
            return words::cell(&joined(&cause, &stop.reason));
        }
        if let Some(end) = &status.end {
            return words::cell(&end.reason);
        }
        let pending = status.state() == pb::TaskState::Pending;
        let not_before = task.not_before.and_then(|at| Timestamp::try_from(at).ok());
        if let Some(at) = not_before.filter(|at| pending && *at > now) {
            return format!("starts in {}s", at.since(now).as_millis().div_ceil(1000));
        }
        let health = self.effective().map(|health| health.reason.as_str()).unwrap_or_default();
        let told = [task.waiting.as_str(), health, status.message.as_str()];
        told.into_iter().map(words::cell).find(|text| !text.is_empty()).unwrap_or_default()
    }
}

/// `exit 1`, `stopped, exit 0`, `not started`, `lost`.
pub fn end_words(end: &pb::TaskEnd) -> String {
    let exit = end.exit_code.map(|code| format!("exit {code}"));
    let oom = end.oom_killed.then(|| "out of memory".to_owned());
    let kind = match end.kind() {
        pb::EndKind::Exited if exit.is_some() => None,
        pb::EndKind::Exited
        | pb::EndKind::Stopped
        | pb::EndKind::NotStarted
        | pb::EndKind::Lost
        | pb::EndKind::Unspecified => Some(words::word("END_KIND_", end.kind().as_str_name())),
    };
    [kind, exit, oom].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// `cause: reason`, or either alone.
pub fn joined(cause: &str, reason: &str) -> String {
    if reason.is_empty() { cause.to_owned() } else { format!("{cause}: {reason}") }
}

/// A failing role before a passing one, liveness before readiness before startup; of those
/// without any outcome none.
fn telling_role(health: &pb::Health) -> Option<&pb::RoleHealth> {
    let roles = [&health.liveness, &health.readiness, &health.startup];
    let find =
        |counts: fn(&pb::RoleHealth) -> bool| roles.into_iter().flatten().find(|role| counts(role));
    find(|role| role.failures > 0)
        .or_else(|| find(|role| role.inconclusive > 0))
        .or_else(|| find(|role| role.passes > 0))
}
