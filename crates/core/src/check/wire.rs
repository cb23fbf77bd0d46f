//! Checks as messages. A check is read for a role, because what is absent takes the role's
//! defaults.

use warren_proto::v1 as pb;

use super::{
    ByRole, Check, CheckKind, Checks, ExecCheck, HealthConfig, HttpCheck, HttpHeader, HttpMethod,
    HttpPath, Role, Scheme, StatusSet, TcpCheck, Timing,
};
use crate::{
    Invalid,
    bounds::{Delay, Port, Threshold},
    invalid::At,
    wire::{enumerated_or, optional, repeated, wire_enum},
};

wire_enum!(Role: Startup, Liveness, Readiness);
wire_enum!(Scheme: Http, Https);

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
        }
    }
}

impl TryFrom<pb::check::Kind> for CheckKind {
    type Error = Invalid;

    fn try_from(wire: pb::check::Kind) -> Result<Self, Invalid> {
        Ok(match wire {
            pb::check::Kind::Http(http) => Self::Http(http.try_into().at("http")?),
            pb::check::Kind::Tcp(tcp) => Self::Tcp(tcp.try_into().at("tcp")?),
            pb::check::Kind::Exec(exec) => Self::Exec(exec.try_into().at("exec")?),
        })
    }
}

impl From<&HttpCheck> for pb::HttpCheck {
    fn from(check: &HttpCheck) -> Self {
        let HttpCheck { scheme, port, path, method, headers, expect } = check;
        let range = |&(first, last): &(u16, u16)| pb::StatusRange {
            first: first.into(),
            last: last.into(),
        };
        Self {
            scheme: pb::Scheme::from(*scheme).into(),
            port: port.get().into(),
            path: path.as_str().to_owned(),
            method: method.as_str().to_owned(),
            headers: headers.iter().map(Into::into).collect(),
            expect: expect.ranges().iter().map(range).collect(),
        }
    }
}

impl TryFrom<pb::HttpCheck> for HttpCheck {
    type Error = Invalid;

    fn try_from(wire: pb::HttpCheck) -> Result<Self, Invalid> {
        let pb::HttpCheck { scheme, port, path, method, headers, expect } = wire;
        Ok(Self {
            scheme: enumerated_or::<pb::Scheme, _>("scheme", scheme, Scheme::Http)?,
            port: Port::new(port).at("port")?,
            path: match path.as_str() {
                "" => HttpPath::root(),
                _ => HttpPath::new(path).at("path")?,
            },
            method: match method.as_str() {
                "" => HttpMethod::get(),
                _ => HttpMethod::new(method).at("method")?,
            },
            headers: repeated::<_, HttpHeader, _>("headers", headers)?,
            expect: status_set(expect).at("expect")?,
        })
    }
}

fn status_set(wire: Vec<pb::StatusRange>) -> Result<StatusSet, Invalid> {
    if wire.is_empty() {
        return Ok(StatusSet::default());
    }
    // What no status can be becomes the largest number, and the set refuses it.
    let status = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let range = |wire: pb::StatusRange| {
        let pb::StatusRange { first, last } = wire;
        (status(first), status(last))
    };
    StatusSet::new(wire.into_iter().map(range).collect())
}

impl From<&HttpHeader> for pb::Header {
    fn from(header: &HttpHeader) -> Self {
        let HttpHeader { name, value } = header;
        Self { name: name.clone(), value: value.clone() }
    }
}

impl TryFrom<pb::Header> for HttpHeader {
    type Error = Invalid;

    fn try_from(wire: pb::Header) -> Result<Self, Invalid> {
        let pb::Header { name, value } = wire;
        Self::new(name, value)
    }
}

impl From<&TcpCheck> for pb::TcpCheck {
    fn from(check: &TcpCheck) -> Self {
        let TcpCheck { port } = check;
        Self { port: port.get().into() }
    }
}

impl TryFrom<pb::TcpCheck> for TcpCheck {
    type Error = Invalid;

    fn try_from(wire: pb::TcpCheck) -> Result<Self, Invalid> {
        let pb::TcpCheck { port } = wire;
        Ok(Self { port: Port::new(port).at("port")? })
    }
}

impl From<&ExecCheck> for pb::ExecCheck {
    fn from(check: &ExecCheck) -> Self {
        let ExecCheck { argv } = check;
        Self { argv: argv.clone() }
    }
}

impl TryFrom<pb::ExecCheck> for ExecCheck {
    type Error = Invalid;

    fn try_from(wire: pb::ExecCheck) -> Result<Self, Invalid> {
        let pb::ExecCheck { argv } = wire;
        Self::new(argv).at("argv")
    }
}

impl From<&Timing> for pb::Timing {
    fn from(timing: &Timing) -> Self {
        let Timing { period, timeout, delay, start_period, confirm_interval, failures, successes } =
            timing;
        Self {
            period: Some((*period).into()),
            timeout: Some((*timeout).into()),
            delay: Some((*delay).into()),
            start_period: Some((*start_period).into()),
            confirm_interval: Some((*confirm_interval).into()),
            failures: Some(failures.get()),
            successes: Some(successes.get()),
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
        Ok(Self {
            period,
            timeout: optional("timeout", timeout)?.unwrap_or(absent.timeout),
            delay: optional("delay", delay)?.unwrap_or(absent.delay),
            start_period,
            confirm_interval: optional("confirm_interval", confirm_interval)?
                .unwrap_or_else(|| Self::default_confirm(period)),
            failures: threshold("failures", failures, absent.failures)?,
            successes: threshold("successes", successes, absent.successes)?,
        })
    }
}

impl From<&HealthConfig> for pb::HealthConfig {
    fn from(config: &HealthConfig) -> Self {
        use pb::health_config::{Auto, Disabled, Source};

        let source = match config {
            HealthConfig::Auto => Source::Auto(Auto {}),
            HealthConfig::Checks(checks) => Source::Checks((&**checks).into()),
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
            Some(Source::Checks(checks)) => Self::Checks(Box::new(checks.try_into().at("checks")?)),
            Some(Source::Disabled(Disabled {})) => Self::Disabled,
        })
    }
}
