//! How to look at a task, when, and what the answer means.

mod wire;

use std::time::Duration;

use crate::{
    Invalid,
    bounds::{Delay, Period, Port, Threshold, Timeout},
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
}

impl CheckKind {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Exec(_) => "exec",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    /// The certificate is not verified.
    Https,
}

/// One HTTP/1.1 exchange with the task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpCheck {
    pub scheme: Scheme,
    pub port: Port,
    pub path: HttpPath,
    pub method: HttpMethod,
    pub headers: Vec<HttpHeader>,
    /// Never empty.
    pub expect: StatusSet,
}

impl HttpCheck {
    /// GET of `/` over plain HTTP where 200-399 passes.
    pub fn new(port: Port) -> Self {
        Self {
            scheme: Scheme::Http,
            port,
            path: HttpPath::root(),
            method: HttpMethod::get(),
            headers: Vec::new(),
            expect: StatusSet::default(),
        }
    }
}

/// The path and query of a request: begins with `/`, has no fragment, no blanks, no control
/// characters and nothing outside of ASCII, and at most 2048 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpPath(String);

impl HttpPath {
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    pub fn new(path: impl Into<String>) -> Result<Self, Invalid> {
        let path = path.into();
        let fault = if !path.starts_with('/') {
            "does not begin with '/'"
        } else if path.len() > 2048 {
            "is longer than 2048 bytes"
        } else if path.contains('#') {
            "has a fragment, which is never sent"
        } else if !path.bytes().all(|b| b.is_ascii_graphic()) {
            "has blanks or characters that need percent-encoding"
        } else {
            return Ok(Self(path));
        };
        Err(Invalid::new(format!("{path:?} {fault}")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A request method: upper-case letters and `-`, at most 32.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpMethod(String);

impl HttpMethod {
    pub fn get() -> Self {
        Self("GET".to_owned())
    }

    pub fn new(method: impl Into<String>) -> Result<Self, Invalid> {
        let method = method.into();
        let ok = (1..=32).contains(&method.len())
            && method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
            && method != "CONNECT";
        if ok {
            Ok(Self(method))
        } else {
            Err(Invalid::new(format!("{method:?} is not a method such as GET, HEAD or POST")))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A request header. An empty value removes a default one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpHeader {
    name: String,
    value: String,
}

impl HttpHeader {
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Result<Self, Invalid> {
        let (name, value) = (name.into(), value.into());
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if !(1..=128).contains(&name.len()) || !name.bytes().all(token) {
            return Err(Invalid::new(format!("{name:?} is not a header name")).at("name"));
        }
        if value.len() > 4096 || !value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)) {
            let why = "has control or non-ASCII characters, or more than 4096 bytes";
            return Err(Invalid::new(why).at("value"));
        }
        Ok(Self { name, value })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn value(&self) -> &str {
        &self.value
    }
}

/// The HTTP statuses that pass.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StatusSet(Vec<(u16, u16)>);

impl StatusSet {
    /// Ranges with both ends included, each within 100..=599. At least one.
    pub fn new(ranges: Vec<(u16, u16)>) -> Result<Self, Invalid> {
        if ranges.is_empty() {
            return Err(Invalid::new("names no status"));
        }
        if ranges.len() > 64 {
            return Err(Invalid::new("has more than 64 ranges"));
        }
        for (index, &(first, last)) in ranges.iter().enumerate() {
            if !(100..=599).contains(&first) || !(first..=599).contains(&last) {
                let why = format!("{first}-{last} is not a range within 100-599");
                return Err(Invalid::new(why).at_index(index));
            }
        }
        Ok(Self(ranges))
    }

    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|&(first, last)| (first..=last).contains(&status))
    }

    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.0
    }
}

impl Default for StatusSet {
    /// What the kubelet and most load balancers take for an answer: 200-399.
    fn default() -> Self {
        Self(vec![(200, 399)])
    }
}

/// A TCP connect to the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TcpCheck {
    pub port: Port,
}

/// A command in the task's container.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExecCheck {
    argv: Vec<String>,
}

impl ExecCheck {
    pub fn new(argv: Vec<String>) -> Result<Self, Invalid> {
        if argv.first().is_none_or(String::is_empty) {
            return Err(Invalid::new("names no program"));
        }
        if argv.iter().any(|word| word.contains('\0')) {
            return Err(Invalid::new("has a NUL byte"));
        }
        // Linux takes 128 KiB for each word and 2 MiB in all; a check has no use for a tenth.
        if argv.iter().map(String::len).sum::<usize>() > 64 * 1024 {
            return Err(Invalid::new("is longer than 64 KiB"));
        }
        Ok(Self { argv })
    }

    /// The program and its arguments; never empty.
    pub fn argv(&self) -> &[String] {
        &self.argv
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
    /// Only the process is watched, whatever the image says.
    Disabled,
}

impl HealthConfig {
    /// What a task runs, once the image is known. `from_image` is its HEALTHCHECK, where it has
    /// one; `published` the task's first published TCP port.
    pub fn resolve(&self, from_image: Option<&Checks>, published: Option<Port>) -> Checks {
        match (self, from_image, published) {
            (Self::Checks(checks), _, _) => (**checks).clone(),
            (Self::Disabled, _, _) | (Self::Auto, None, None) => Checks::NONE,
            (Self::Auto, Some(checks), _) => checks.clone(),
            (Self::Auto, None, Some(port)) => {
                // Nobody said how long it takes to listen, so it has startup's patience for it.
                let check = |role| {
                    let kind = CheckKind::Tcp(TcpCheck { port });
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
            let checks = Checks::one(CheckKind::Tcp(TcpCheck { port }), timing(period, failures));
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
