//! From the health flags to a health configuration.
//!
//! `--health-*` is one check for liveness and readiness, and with a start period for startup as
//! well. `--startup-*`, `--liveness-*` and `--readiness-*` each say all about one role. Flags
//! that speak twice about a role contradict each other, and both are named.

mod command;
mod keys;
mod preset;
mod spelling;
#[cfg(test)]
mod tests;

use warren_core::{
    Invalid,
    bounds::{Delay, Period, Port, Threshold, Timeout},
    check::{Check, Checks, Flapping, HealthConfig, Role, Timing},
    spec::{Protocol, Publish},
};

use self::spelling::Spelling;
pub use self::{Kind as FlagKind, command::words};
use crate::{cli::service::HealthFlags, failure::Failure, values};

/// What the flags say of a service that publishes `publish`.
pub fn health_config(flags: &HealthFlags, publish: &[Publish]) -> Result<HealthConfig, Failure> {
    let context = Context { only_port: only_port(publish) };
    let timing = timing_flags(flags);
    if flags.no_healthcheck {
        let kinds = Role::ALL.into_iter().flat_map(|role| role_flags(flags, role));
        let kinds = kinds.chain(all_flags(flags)).map(|given| given.flag);
        let kinds = kinds.chain(flags.health_preset.as_ref().map(|_| preset::FLAG.to_owned()));
        return match kinds.chain(timing.into_iter().map(ToOwned::to_owned)).next() {
            Some(other) => Err(contradiction("--no-healthcheck", &other)),
            None => Ok(HealthConfig::Disabled),
        };
    }
    if let Some(value) = &flags.health_preset {
        let roles = Role::ALL.into_iter().flat_map(|role| role_flags(flags, role));
        return match all_flags(flags).into_iter().chain(roles).next() {
            Some(other) => Err(contradiction(&other.flag, preset::FLAG)),
            None => preset::config(flags, value),
        };
    }
    let all = one_kind(all_flags(flags))?;
    let mut checks = match &all {
        Some(given) => one_check(flags, given, &context)?,
        None => match timing.first() {
            Some(flag) => return Err(timing_alone(flag)),
            None => Checks::NONE,
        },
    };
    for role in Role::ALL {
        let Some(given) = one_kind(role_flags(flags, role))? else { continue };
        if checks.get(role).is_some() {
            // It is there because of --health-*, which reaches startup by its start period only.
            let kind = all.as_ref().filter(|_| role != Role::Startup);
            let first = kind.map_or("--health-start-period", |all| &all.flag);
            return Err(contradiction(&given.flag, first));
        }
        *checks.get_mut(role) = Some(given.named(role_check(role, &given, &context))?);
    }
    if checks.is_empty() {
        Ok(HealthConfig::Auto)
    } else {
        Ok(HealthConfig::Checks(Box::new(checks)))
    }
}

/// What a spelling may leave to the service.
struct Context {
    /// The port of the tasks, where the service publishes exactly one.
    only_port: Option<Port>,
}

fn only_port(publish: &[Publish]) -> Option<Port> {
    let mut tcp = publish.iter().filter(|publish| publish.protocol == Protocol::Tcp);
    match (tcp.next(), tcp.next()) {
        (Some(only), None) => Some(only.task_port),
        (None | Some(_), _) => None,
    }
}

/// A check as `--liveness-*` would read it, for an attempt by hand.
pub fn liveness_check(kind: Kind, text: &str) -> Result<Check, Invalid> {
    let given = Given { flag: String::new(), kind, value: text };
    role_check(Role::Liveness, &given, &Context { only_port: None })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Http,
    Tcp,
    Cmd,
}

/// A flag that was used, with its value.
struct Given<'a> {
    flag: String,
    kind: Kind,
    value: &'a str,
}

impl Given<'_> {
    fn named<T>(&self, result: Result<T, Invalid>) -> Result<T, Failure> {
        named(&self.flag, result)
    }
}

fn named<T>(flag: &str, result: Result<T, Invalid>) -> Result<T, Failure> {
    result.map_err(|invalid| Failure::flag(flag, invalid))
}

type Kinds<'a> = [(Kind, &'a Option<String>); 3];

/// Of `--health-*`, which speak of all roles.
fn all_flags(flags: &HealthFlags) -> Vec<Given<'_>> {
    let kinds = [
        (Kind::Http, &flags.health_http),
        (Kind::Tcp, &flags.health_tcp),
        (Kind::Cmd, &flags.health_cmd),
    ];
    kind_flags("health", kinds)
}

fn role_flags(flags: &HealthFlags, role: Role) -> Vec<Given<'_>> {
    let kinds = match role {
        Role::Startup => [
            (Kind::Http, &flags.startup_http),
            (Kind::Tcp, &flags.startup_tcp),
            (Kind::Cmd, &flags.startup_cmd),
        ],
        Role::Liveness => [
            (Kind::Http, &flags.liveness_http),
            (Kind::Tcp, &flags.liveness_tcp),
            (Kind::Cmd, &flags.liveness_cmd),
        ],
        Role::Readiness => [
            (Kind::Http, &flags.readiness_http),
            (Kind::Tcp, &flags.readiness_tcp),
            (Kind::Cmd, &flags.readiness_cmd),
        ],
    };
    kind_flags(role.name(), kinds)
}

fn kind_flags<'a>(prefix: &str, kinds: Kinds<'a>) -> Vec<Given<'a>> {
    let given = |(kind, value): (Kind, &'a Option<String>)| {
        let name = match kind {
            Kind::Http => "http",
            Kind::Tcp => "tcp",
            Kind::Cmd => "cmd",
        };
        let value = value.as_deref()?;
        Some(Given { flag: format!("--{prefix}-{name}"), kind, value })
    };
    kinds.into_iter().filter_map(given).collect()
}

fn one_kind(given: Vec<Given<'_>>) -> Result<Option<Given<'_>>, Failure> {
    let mut given = given.into_iter();
    match (given.next(), given.next()) {
        (Some(first), Some(second)) => Err(contradiction(&second.flag, &first.flag)),
        (only, _) => Ok(only),
    }
}

fn contradiction(one: &str, other: &str) -> Failure {
    Failure::Usage(format!("{one} contradicts {other}: a role has one check"))
}

/// Those flags for the timing of `--health-*` that were used.
fn timing_flags(flags: &HealthFlags) -> Vec<&'static str> {
    [
        ("--health-interval", &flags.health_interval),
        ("--health-timeout", &flags.health_timeout),
        ("--health-retries", &flags.health_retries),
        ("--health-start-period", &flags.health_start_period),
        ("--health-start-interval", &flags.health_start_interval),
        ("--health-min-failing", &flags.health_min_failing),
        ("--health-flapping", &flags.health_flapping),
    ]
    .into_iter()
    .filter_map(|(flag, value)| value.as_ref().map(|_| flag))
    .collect()
}

fn timing_alone(flag: &str) -> Failure {
    Failure::Usage(format!(
        "{flag} needs --health-http, --health-tcp, --health-cmd or --health-preset: an image's \
         own HEALTHCHECK keeps its own timing"
    ))
}

/// The check of `--health-*` in its roles.
fn one_check(flags: &HealthFlags, given: &Given<'_>, context: &Context) -> Result<Checks, Failure> {
    let spelling = given.named(spelling::parse(given.kind, given.value, &[], context))?;
    Ok(Checks::one(spelling.kind, one_timing(flags, one_check_default())?))
}

/// `timing` with what the flags say.
fn one_timing(flags: &HealthFlags, mut timing: Timing) -> Result<Timing, Failure> {
    if let Some(text) = &flags.health_interval {
        timing.period = named("--health-interval", span(text, Period::new))?;
        timing.confirm_interval = Timing::quick(timing.period);
        timing.start_interval = Timing::quick(timing.period);
    }
    if let Some(text) = &flags.health_timeout {
        timing.timeout = named("--health-timeout", span(text, Timeout::new))?;
    }
    if let Some(text) = &flags.health_retries {
        timing.failures = named("--health-retries", threshold(text))?;
    }
    if let Some(text) = &flags.health_start_period {
        timing.start_period = named("--health-start-period", span(text, Delay::new))?;
    }
    if let Some(text) = &flags.health_start_interval {
        timing.start_interval = named("--health-start-interval", span(text, Period::new))?;
    }
    if let Some(text) = &flags.health_min_failing {
        timing.min_failing = named("--health-min-failing", span(text, Delay::new))?;
    }
    if let Some(text) = &flags.health_flapping {
        timing.flapping = named("--health-flapping", flapping(text))?;
    }
    Ok(timing)
}

/// Docker's, but for the timeout: a probe that takes more than ten seconds is no answer.
fn one_check_default() -> Timing {
    Timing {
        period: Period::from_millis_const(30_000),
        timeout: Timeout::from_millis_const(10_000),
        ..Timing::default_for(Role::Liveness)
    }
}

/// The check of one role, with its own keys for the timing.
fn role_check(role: Role, given: &Given<'_>, context: &Context) -> Result<Check, Invalid> {
    let keys = spelling::timing_keys(role);
    let Spelling { kind, timing: keys } = spelling::parse(given.kind, given.value, keys, context)?;
    let mut timing = Timing::default_for(role);
    // The period first: others depend on it unless they are named.
    for (key, value) in keys.iter().filter(|(key, _)| key == "period") {
        timing.period = span(value, Period::new).map_err(|invalid| invalid.at(key))?;
        timing.confirm_interval = Timing::quick(timing.period);
        timing.start_interval = Timing::quick(timing.period);
    }
    for (key, value) in keys.iter().filter(|(key, _)| key != "period") {
        timing_key(&mut timing, key, value).map_err(|invalid| invalid.at(key))?;
    }
    Ok(Check { kind, timing })
}

fn timing_key(timing: &mut Timing, key: &str, value: &str) -> Result<(), Invalid> {
    match key {
        "timeout" => timing.timeout = span(value, Timeout::new)?,
        "delay" => timing.delay = span(value, Delay::new)?,
        "start-period" => timing.start_period = span(value, Delay::new)?,
        "start-interval" => timing.start_interval = span(value, Period::new)?,
        "confirm" => timing.confirm_interval = span(value, Period::new)?,
        "min-failing" => timing.min_failing = span(value, Delay::new)?,
        "flapping" => timing.flapping = flapping(value)?,
        "failures" => timing.failures = threshold(value)?,
        "successes" => timing.successes = threshold(value)?,
        _ => return Err(Invalid::new("is not a key of the timing")),
    }
    Ok(())
}

fn span<T>(
    text: &str,
    new: impl Fn(std::time::Duration) -> Result<T, Invalid>,
) -> Result<T, Invalid> {
    new(values::span(text)?)
}

fn threshold(text: &str) -> Result<Threshold, Invalid> {
    Threshold::new(values::count(text)?)
}

/// `4/10`, or `off`.
fn flapping(text: &str) -> Result<Option<Flapping>, Invalid> {
    if text == "off" {
        return Ok(None);
    }
    let Some((failures, window)) = text.split_once('/') else {
        return Err(Invalid::new(format!(
            "{text:?} is not FAILURES/ATTEMPTS such as 4/10, or off"
        )));
    };
    Flapping::new(values::count(failures)?, values::count(window)?).map(Some)
}

/// Used by the spellings.
fn port(text: &str) -> Result<Port, Invalid> {
    Port::new(values::count(text)?)
}
