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

use std::sync::{Arc, LazyLock};

use crate::{
    Invalid,
    bounds::{Delay, Period, Port, StopGrace, Threshold, Timeout},
    spec::ImageRef,
};

pub use self::{
    endpoint::{Endpoint, NamedPort, PortName, PortRef},
    exec::{Command, ExecCheck, ExecForm, ExitCodes},
    file::FileCheck,
    grpc::{GrpcCheck, GrpcHost, GrpcService},
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

    /// The same, as all tasks without checks share it.
    pub fn none() -> Arc<Self> {
        static SHARED: LazyLock<Arc<Checks>> = LazyLock::new(|| Arc::new(Checks::NONE));
        Arc::clone(&SHARED)
    }

    /// One check for liveness and readiness, as docker's HEALTHCHECK and `--health-*` mean it. A
    /// start period gives it the startup role as well.
    pub fn one(kind: CheckKind, timing: Timing) -> Self {
        let check = |role, kind| Check { kind, timing: timing.kept_by(role) };
        Self {
            startup: (timing.start_period > Delay::MIN).then(|| check(Role::Startup, kind.clone())),
            liveness: Some(check(Role::Liveness, kind.clone())),
            readiness: Some(check(Role::Readiness, kind)),
        }
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

    /// Whether it runs a command, of which a worker runs only so many at once.
    pub fn needs_permit(&self) -> bool {
        match self {
            Self::Exec(_) => true,
            Self::Http(_) | Self::Tcp(_) | Self::Grpc(_) | Self::File(_) => false,
            Self::All(parts) | Self::Any(parts) => parts.as_slice().iter().any(Self::needs_permit),
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
    /// Between attempts until the first pass.
    pub start_interval: Period,
    /// Between attempts from the first failure of a passing check until its verdict.
    pub confirm_interval: Period,
    /// So many consecutive failures fail.
    pub failures: Threshold,
    /// So many consecutive passes recover.
    pub successes: Threshold,
    /// Startup and liveness only: failure must be unbroken for so long before it costs the task.
    pub min_failing: Delay,
    /// None: it never flaps, as startup never does.
    pub flapping: Option<Flapping>,
    /// Startup and liveness only: the stop of a task that failed this check. None: the task's own.
    pub stop_grace_period: Option<StopGrace>,
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
            start_interval: Self::quick(period),
            confirm_interval: Self::quick(period),
            failures,
            successes: Threshold::ONE,
            min_failing: Delay::MIN,
            flapping: Some(Flapping::DEFAULT),
            stop_grace_period: None,
        }
        .kept_by(role)
    }

    /// Without what means nothing to the role.
    #[must_use]
    pub const fn kept_by(self, role: Role) -> Self {
        match role {
            Role::Startup => Self { flapping: None, ..self },
            Role::Liveness => Self { start_period: Delay::MIN, ..self },
            Role::Readiness => Self {
                start_period: Delay::MIN,
                min_failing: Delay::MIN,
                stop_grace_period: None,
                ..self
            },
        }
    }

    /// min(period, 1 s): the pace of a start and of a confirmation where the owner named none.
    pub fn quick(period: Period) -> Period {
        period.min(Period::from_millis_const(1_000))
    }
}

/// When a check flaps: so many of its last attempts failed, with passes in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flapping {
    failures: u32,
    window: u32,
}

impl Flapping {
    /// 4 of the last 10: an intermittent fault of one in three shows within some 18 attempts, and
    /// a single outage never does.
    pub const DEFAULT: Self = Self { failures: 4, window: 10 };

    /// Both within 2-64, and no more failures than attempts. One failure is no pattern, and 64
    /// attempts are a word of memory.
    pub fn new(failures: u32, window: u32) -> Result<Self, Invalid> {
        if !(2..=64).contains(&window) {
            return Err(Invalid::new(format!("{window} is not in 2..=64")).at("window"));
        }
        if !(2..=window).contains(&failures) {
            return Err(Invalid::new(format!("{failures} is not in 2..={window}")).at("failures"));
        }
        Ok(Self { failures, window })
    }

    pub const fn failures(self) -> u32 {
        self.failures
    }

    pub const fn window(self) -> u32 {
        self.window
    }
}

/// Where the checks of a task come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HealthConfig {
    /// The image's HEALTHCHECK, else a TCP check of the first published port, else none.
    #[default]
    Auto,
    Checks(Arc<Checks>),
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
    ) -> Arc<Checks> {
        match (self, from_image, published) {
            (Self::Checks(checks), _, _) => Arc::clone(checks),
            // Cannot fail: a template whose image stands for no preset is refused.
            (Self::Preset(preset), _, _) => {
                preset.checks(image).map_or_else(|_| Checks::none(), Arc::new)
            }
            (Self::Disabled, _, _) | (Self::Auto, None, None) => Checks::none(),
            (Self::Auto, Some(checks), _) => checks.clone().into(),
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
                .into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // C-8: the same patience, at the pace of a start.
    #[test]
    fn one_check_has_each_role_with_what_concerns_it() {
        let timing = Timing {
            start_period: Delay::from_millis_const(60_000),
            min_failing: Delay::from_millis_const(90_000),
            stop_grace_period: Some(StopGrace::from_millis_const(1)),
            ..Timing::default_for(Role::Liveness)
        };
        let kind = CheckKind::Tcp(TcpCheck::new(Port::new(80).unwrap()));
        let checks = Checks::one(kind.clone(), timing);
        let [startup, liveness, readiness] =
            Role::ALL.map(|role| checks.get(role).as_ref().unwrap().timing);
        assert_eq!(startup, Timing { flapping: None, ..timing });
        assert_eq!(liveness, Timing { start_period: Delay::MIN, ..timing });
        let cheap = Timing { min_failing: Delay::MIN, stop_grace_period: None, ..liveness };
        assert_eq!(readiness, cheap);
        assert_eq!(startup.start_interval.get().as_secs(), 1);
        let started = Checks::one(kind, Timing { start_period: Delay::MIN, ..timing });
        assert_eq!(started.startup, None);
    }
}
