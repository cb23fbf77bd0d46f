//! How to look at a task, when, and what the answer means.

mod endpoint;
mod exec;
mod file;
mod grpc;
mod http;
mod parts;
mod preset;
mod tcp;
mod text;
mod tls;
mod wire;

use std::time::Duration;

use crate::{
    bounds::{Delay, Period, Port, Threshold, Timeout},
    spec::ImageRef,
};

pub use self::{
    endpoint::{Endpoint, NamedPort, PortName, PortRef},
    exec::{Command, ExecCheck, ExecForm, ExitCodes},
    file::FileCheck,
    grpc::{GrpcCheck, GrpcService},
    http::{HttpCheck, HttpHeader, HttpMethod, HttpPath, HttpVersion, Scheme, StatusSet},
    parts::Parts,
    preset::{Preset, PresetCheck},
    tcp::{Payload, TcpCheck},
    text::{Pattern, TextMatch},
    tls::{Ca, ServerName, Tls, Trust},
};

/// What a check's answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Until it passes, the others wait; failing ends the task.
    Startup,
    /// Failing makes the task unhealthy, and it is replaced.
    Liveness,
    /// Failing takes the task out of traffic, and nothing else.
    Readiness,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        }
    }
}

/// Something for each role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ByRole<T> {
    pub startup: T,
    pub liveness: T,
    pub readiness: T,
}

impl<T> ByRole<T> {
    pub const fn get(&self, role: Role) -> &T {
        match role {
            Role::Startup => &self.startup,
            Role::Liveness => &self.liveness,
            Role::Readiness => &self.readiness,
        }
    }

    pub const fn get_mut(&mut self, role: Role) -> &mut T {
        match role {
            Role::Startup => &mut self.startup,
            Role::Liveness => &mut self.liveness,
            Role::Readiness => &mut self.readiness,
        }
    }
}

/// The checks of a task, by role.
pub type Checks = ByRole<Option<Check>>;

impl Checks {
    pub const NONE: Self = Self { startup: None, liveness: None, readiness: None };

    /// One check for liveness and readiness, as docker's HEALTHCHECK and `--health-*` mean it. A
    /// start period gives it the startup role as well.
    pub fn one(kind: CheckKind, timing: Timing) -> Self {
        let steady = Timing { start_period: Delay::MIN, ..timing };
        let startup = (timing.start_period > Delay::MIN)
            .then(|| Check { kind: kind.clone(), timing: timing.hurried() });
        let check = Check { kind, timing: steady };
        Self { startup, liveness: Some(check.clone()), readiness: Some(check) }
    }

    pub const fn is_empty(&self) -> bool {
        self.startup.is_none() && self.liveness.is_none() && self.readiness.is_none()
    }
}

/// How and when to look.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Check {
    pub kind: CheckKind,
    pub timing: Timing,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CheckKind {
    Http(HttpCheck),
    Tcp(TcpCheck),
    Exec(ExecCheck),
    Grpc(GrpcCheck),
    File(FileCheck),
    /// Passes when all parts pass.
    All(Parts),
    /// Passes when one part passes.
    Any(Parts),
}

impl CheckKind {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Exec(_) => "exec",
            Self::Grpc(_) => "grpc",
            Self::File(_) => "file",
            Self::All(_) => "all",
            Self::Any(_) => "any",
        }
    }
}

/// When to look and how patient to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timing {
    /// Between the starts of two attempts.
    pub period: Period,
    /// One deadline for the whole attempt.
    pub timeout: Timeout,
    /// From the container's start to the first attempt.
    pub delay: Delay,
    /// Startup only: failures are ignored so long, and the first pass ends it.
    pub start_period: Delay,
    /// Between attempts from the first failure of a passing check until its verdict.
    pub confirm_interval: Period,
    /// So many consecutive failures fail.
    pub failures: Threshold,
    /// So many consecutive passes recover.
    pub successes: Threshold,
}

impl Timing {
    /// What a role's check has where its owner said nothing. Startup looks often, since nobody
    /// is served meanwhile, and allows a minute.
    pub fn default_for(role: Role) -> Self {
        let (period, failures) = match role {
            Role::Startup => (Period::from_millis_const(1_000), Threshold::new_const(60)),
            Role::Liveness | Role::Readiness => {
                (Period::from_millis_const(10_000), Threshold::new_const(3))
            }
        };
        Self {
            period,
            timeout: Timeout::from_millis_const(5_000),
            delay: Delay::MIN,
            start_period: Delay::MIN,
            confirm_interval: Self::default_confirm(period),
            failures,
            successes: Threshold::ONE,
        }
    }

    /// The same patience at the pace of startup: as docker's start interval, so that a task which
    /// is up after two seconds does not wait half a minute to be seen.
    fn hurried(self) -> Self {
        let millis = |period: Period| u64::try_from(period.get().as_millis()).unwrap_or(u64::MAX);
        let patience = millis(self.period).saturating_mul(u64::from(self.failures.get()));
        // No slower than it was, and no faster than the largest threshold can count.
        let pace = millis(Self::default_for(Role::Startup).period)
            .max(patience.div_ceil(u64::from(Threshold::MAX.get())))
            .min(millis(self.period));
        let count = u32::try_from(patience.div_ceil(pace)).ok().map(Threshold::new);
        match (Period::new(Duration::from_millis(pace)), count) {
            (Ok(period), Some(Ok(failures))) => {
                let confirm_interval = self.confirm_interval.min(period);
                Self { period, confirm_interval, failures, ..self }
            }
            // Not reached: the pace is between two valid ones and the count at most the largest.
            (Ok(_) | Err(_), _) => self,
        }
    }

    /// min(period, 1 s).
    pub fn default_confirm(period: Period) -> Period {
        period.min(Period::from_millis_const(1_000))
    }
}

/// Where the checks of a task come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HealthConfig {
    /// The image's HEALTHCHECK, else a TCP check of the first published port, else none.
    #[default]
    Auto,
    Checks(Box<Checks>),
    /// What is right for a known server.
    Preset(PresetCheck),
    /// Only the process is watched, whatever the image says.
    Disabled,
}

impl HealthConfig {
    /// What a task runs, once the image is known. `from_image` is its HEALTHCHECK, where it has
    /// one; `published` the task's first published TCP port.
    pub(crate) fn resolve(
        &self,
        image: Option<&ImageRef>,
        from_image: Option<&Checks>,
        published: Option<Port>,
    ) -> Checks {
        match (self, from_image, published) {
            (Self::Checks(checks), _, _) => (**checks).clone(),
            // Cannot fail: a template whose image stands for no preset is refused.
            (Self::Preset(preset), _, _) => preset.checks(image).unwrap_or(Checks::NONE),
            (Self::Disabled, _, _) | (Self::Auto, None, None) => Checks::NONE,
            (Self::Auto, Some(checks), _) => checks.clone(),
            (Self::Auto, None, Some(port)) => {
                // Nobody said how long it takes to listen, so it has startup's patience for it.
                let check = |role| {
                    let kind = CheckKind::Tcp(TcpCheck::new(port));
                    Some(Check { kind, timing: Timing::default_for(role) })
                };
                Checks {
                    startup: check(Role::Startup),
                    liveness: check(Role::Liveness),
                    readiness: check(Role::Readiness),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(period_ms: u64, failures: u32) -> Timing {
        Timing {
            period: Period::from_millis_const(period_ms),
            start_period: Delay::from_millis_const(60_000),
            failures: Threshold::new_const(failures),
            ..Timing::default_for(Role::Liveness)
        }
    }

    #[test]
    fn one_check_looks_every_second_while_it_starts_and_keeps_its_patience() {
        for (period, failures, pace, count) in [
            (30_000, 3, 1_000, 90),
            (1_000, 3, 1_000, 3),
            (200, 4, 200, 4),
            (1_500, 3, 1_000, 5),
            (86_400_000, 1000, 86_400_000, 1000),
        ] {
            let port = Port::new(80).unwrap();
            let checks = Checks::one(CheckKind::Tcp(TcpCheck::new(port)), timing(period, failures));
            let startup = checks.startup.unwrap().timing;
            assert_eq!(startup.period.get(), Duration::from_millis(pace));
            assert_eq!(startup.failures.get(), count);
            assert_eq!(startup.start_period.get(), Duration::from_mins(1));
            let liveness = checks.liveness.unwrap().timing;
            assert_eq!(liveness.period.get(), Duration::from_millis(period));
            assert_eq!(liveness.start_period, Delay::MIN);
        }
    }
}
