//! Checks as messages. A check is read for a role, because what is absent takes the role's
//! defaults.

mod http;
mod kinds;
mod parts;

use std::sync::Arc;

use warren_proto::v1 as pb;

use super::{ByRole, Check, CheckKind, Checks, Flapping, HealthConfig, Role, Timing};
use crate::{
    Invalid,
    bounds::{Delay, Threshold},
    invalid::At,
    wire::{optional, wire_enum},
};

wire_enum!(Role: Startup, Liveness, Readiness);

impl From<&Checks> for pb::Checks {
    fn from(checks: &Checks) -> Self {
        let ByRole { startup, liveness, readiness } = checks;
        Self {
            startup: startup.as_ref().map(Into::into),
            liveness: liveness.as_ref().map(Into::into),
            readiness: readiness.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<pb::Checks> for Checks {
    type Error = Invalid;

    fn try_from(wire: pb::Checks) -> Result<Self, Invalid> {
        let pb::Checks { startup, liveness, readiness } = wire;
        let check = |role: Role, wire: Option<pb::Check>| {
            wire.map(|wire| Check::from_wire(role, wire)).transpose().at(role.name())
        };
        Ok(Self {
            startup: check(Role::Startup, startup)?,
            liveness: check(Role::Liveness, liveness)?,
            readiness: check(Role::Readiness, readiness)?,
        })
    }
}

impl From<&Check> for pb::Check {
    fn from(check: &Check) -> Self {
        let Check { kind, timing } = check;
        Self { kind: Some(kind.into()), timing: Some(timing.into()) }
    }
}

impl Check {
    /// Reads a check for `role`.
    pub fn from_wire(role: Role, wire: pb::Check) -> Result<Self, Invalid> {
        let pb::Check { kind, timing } = wire;
        let kind = kind.ok_or_else(|| Invalid::missing("kind"))?;
        Ok(Self {
            kind: kind.try_into()?,
            timing: match timing {
                Some(timing) => Timing::from_wire(role, timing).at("timing")?,
                None => Timing::default_for(role),
            },
        })
    }
}

impl From<&CheckKind> for pb::check::Kind {
    fn from(kind: &CheckKind) -> Self {
        match kind {
            CheckKind::Http(http) => Self::Http(http.into()),
            CheckKind::Tcp(tcp) => Self::Tcp(tcp.into()),
            CheckKind::Exec(exec) => Self::Exec(exec.into()),
            CheckKind::Grpc(grpc) => Self::Grpc(grpc.into()),
            CheckKind::File(file) => Self::File(file.into()),
            CheckKind::All(parts) => Self::All(parts.into()),
            CheckKind::Any(parts) => Self::Any(parts.into()),
        }
    }
}

impl TryFrom<pb::check::Kind> for CheckKind {
    type Error = Invalid;

    fn try_from(wire: pb::check::Kind) -> Result<Self, Invalid> {
        use pb::check::Kind;

        Ok(match wire {
            Kind::Http(http) => Self::Http(http.try_into().at("http")?),
            Kind::Tcp(tcp) => Self::Tcp(tcp.try_into().at("tcp")?),
            Kind::Exec(exec) => Self::Exec(exec.try_into().at("exec")?),
            Kind::Grpc(grpc) => Self::Grpc(grpc.try_into().at("grpc")?),
            Kind::File(file) => Self::File(file.try_into().at("file")?),
            Kind::All(parts) => Self::All(parts.try_into().at("all")?),
            Kind::Any(parts) => Self::Any(parts.try_into().at("any")?),
        })
    }
}

impl From<&Timing> for pb::Timing {
    fn from(timing: &Timing) -> Self {
        let Timing {
            period,
            timeout,
            delay,
            start_period,
            start_interval,
            confirm_interval,
            failures,
            successes,
            min_failing,
            flapping,
            stop_grace_period,
        } = timing;
        let flapping = match flapping {
            Some(Flapping { failures, window }) => (*failures, *window),
            None => (0, 0),
        };
        Self {
            period: Some((*period).into()),
            timeout: Some((*timeout).into()),
            delay: Some((*delay).into()),
            start_period: Some((*start_period).into()),
            confirm_interval: Some((*confirm_interval).into()),
            failures: Some(failures.get()),
            successes: Some(successes.get()),
            start_interval: Some((*start_interval).into()),
            min_failing: Some((*min_failing).into()),
            flapping: Some(pb::Flapping { failures: flapping.0, window: flapping.1 }),
            stop_grace_period: stop_grace_period.map(Into::into),
        }
    }
}

impl Timing {
    /// Reads a timing for `role`, whose defaults stand in for what is absent.
    pub fn from_wire(role: Role, wire: pb::Timing) -> Result<Self, Invalid> {
        let pb::Timing {
            period,
            timeout,
            delay,
            start_period,
            confirm_interval,
            failures,
            successes,
            start_interval,
            min_failing,
            flapping,
            stop_grace_period,
        } = wire;
        let absent = Self::default_for(role);
        let threshold = |field, count: Option<u32>, absent| match count {
            Some(count) => Threshold::new(count).at(field),
            None => Ok(absent),
        };
        let period = optional("period", period)?.unwrap_or(absent.period);
        let start_period = optional("start_period", start_period)?.unwrap_or(Delay::MIN);
        if role != Role::Startup && start_period > Delay::MIN {
            return Err(Invalid::new("only the startup check has one").at("start_period"));
        }
        let min_failing = optional("min_failing", min_failing)?.unwrap_or(Delay::MIN);
        if role == Role::Readiness && min_failing > Delay::MIN {
            let why = "a readiness check replaces nothing, so it has none";
            return Err(Invalid::new(why).at("min_failing"));
        }
        let stop_grace_period = optional("stop_grace_period", stop_grace_period)?;
        if role == Role::Readiness && stop_grace_period.is_some() {
            let why = "a readiness check stops nothing, so it has none";
            return Err(Invalid::new(why).at("stop_grace_period"));
        }
        let flapping = match flapping {
            Some(flapping) => flapping_from_wire(flapping).at("flapping")?,
            None => absent.flapping,
        };
        if role == Role::Startup && flapping.is_some() {
            let why = "a startup check has passed once for all, so it cannot flap";
            return Err(Invalid::new(why).at("flapping"));
        }
        Ok(Self {
            period,
            timeout: optional("timeout", timeout)?.unwrap_or(absent.timeout),
            delay: optional("delay", delay)?.unwrap_or(absent.delay),
            start_period,
            start_interval: optional("start_interval", start_interval)?
                .unwrap_or_else(|| Self::quick(period)),
            confirm_interval: optional("confirm_interval", confirm_interval)?
                .unwrap_or_else(|| Self::quick(period)),
            failures: threshold("failures", failures, absent.failures)?,
            successes: threshold("successes", successes, absent.successes)?,
            min_failing,
            flapping,
            stop_grace_period,
        })
    }
}

fn flapping_from_wire(wire: pb::Flapping) -> Result<Option<Flapping>, Invalid> {
    match wire {
        pb::Flapping { failures: 0, window: 0 } => Ok(None),
        pb::Flapping { failures, window } => Flapping::new(failures, window).map(Some),
    }
}

impl From<&HealthConfig> for pb::HealthConfig {
    fn from(config: &HealthConfig) -> Self {
        use pb::health_config::{Auto, Disabled, Source};

        let source = match config {
            HealthConfig::Auto => Source::Auto(Auto {}),
            HealthConfig::Checks(checks) => Source::Checks((&**checks).into()),
            HealthConfig::Preset(preset) => Source::Preset(preset.into()),
            HealthConfig::Disabled => Source::Disabled(Disabled {}),
        };
        Self { source: Some(source) }
    }
}

impl TryFrom<pb::HealthConfig> for HealthConfig {
    type Error = Invalid;

    fn try_from(wire: pb::HealthConfig) -> Result<Self, Invalid> {
        use pb::health_config::{Auto, Disabled, Source};

        let pb::HealthConfig { source } = wire;
        Ok(match source {
            None | Some(Source::Auto(Auto {})) => Self::Auto,
            Some(Source::Checks(checks)) => Self::Checks(Arc::new(checks.try_into().at("checks")?)),
            Some(Source::Preset(preset)) => Self::Preset(preset.try_into().at("preset")?),
            Some(Source::Disabled(Disabled {})) => Self::Disabled,
        })
    }
}
