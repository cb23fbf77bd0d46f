//! From the health flags to a health configuration.
//!
//! `--health-*` is one check for liveness and readiness, and with a start period for startup as
//! well. `--startup-*`, `--liveness-*` and `--readiness-*` each say all about one role. Flags
//! that speak twice about a role contradict each other, and both are named.

mod change;
mod command;
mod http;
mod keys;
mod kinds;
mod preset;
mod spelling;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use warren_core::{
    Invalid,
    bounds::{Delay, Period, Port, StopGrace, Threshold, Timeout},
    check::{Check, CheckKind, Checks, Flapping, HealthConfig, NamedPort, Parts, Role, Timing},
    spec::{Protocol, Publish},
};

use self::spelling::{Context, Spelling, TimingKeys};
pub use self::{
    Kind as FlagKind, change::Change, command::words, http::scheme,
    preset::by_name as preset_by_name,
};
use crate::{
    cli::service::{HealthFlags, MatchWord},
    failure::Failure,
    values,
};

/// What the flags say of a service that publishes `publish` and has named `ports`.
pub fn health_config(
    flags: &HealthFlags,
    publish: &[Publish],
    ports: &[NamedPort],
) -> Result<HealthConfig, Failure> {
    let context = Context::Service { only_port: only_port(publish), ports };
    let timing = timing_flags(flags);
    if flags.no_healthcheck {
        let used = used(flags).chain(flags.health_preset.as_ref().map(|_| preset::FLAG.to_owned()));
        return match used.chain(timing.into_iter().map(ToOwned::to_owned)).next() {
            Some(other) => Err(contradiction("--no-healthcheck", &other)),
            None => Ok(HealthConfig::Disabled),
        };
    }
    if let Some(value) = &flags.health_preset {
        return match used(flags).next() {
            Some(other) => Err(contradiction(&other, preset::FLAG)),
            None => preset::config(flags, value),
        };
    }
    let all = all_flags(flags).checked()?;
    let mut checks = match &all {
        Some(group) => one_check(flags, group, &context)?,
        None => match timing.first() {
            Some(flag) => return Err(timing_alone(flag)),
            None => Checks::NONE,
        },
    };
    for role in Role::ALL {
        let Some(group) = role_flags(flags, role).checked()? else { continue };
        if checks.get(role).is_some() {
            // It is there because of --health-*, which reaches startup by its start period only.
            let kind = all.as_ref().filter(|_| role != Role::Startup);
            let first = kind.map_or("--health-start-period", Group::flag);
            return Err(contradiction(group.flag(), first));
        }
        *checks.get_mut(role) = Some(role_check(role, &group, &context)?.0);
    }
    if checks.is_empty() {
        Ok(HealthConfig::Auto)
    } else {
        Ok(HealthConfig::Checks(Arc::new(checks)))
    }
}

/// The flags that name a check, or how several of them are joined.
fn used(flags: &HealthFlags) -> impl Iterator<Item = String> {
    let roles = Role::ALL.map(|role| role_flags(flags, role));
    [all_flags(flags)].into_iter().chain(roles).flat_map(|group| {
        let rule = group.rule.map(|_| group.match_flag());
        group.given.into_iter().map(|given| given.flag).chain(rule)
    })
}

fn only_port(publish: &[Publish]) -> Option<Port> {
    let mut tcp = publish.iter().filter(|publish| publish.protocol == Protocol::Tcp);
    match (tcp.next(), tcp.next()) {
        (Some(only), None) => Some(only.task_port),
        (None | Some(_), _) => None,
    }
}

/// A check as `--liveness-*` would read it, for an attempt by hand, and the keys that say
/// something of its timing. `argument` is what it is called there.
pub fn liveness_check(
    kind: Kind,
    text: &str,
    argument: &str,
) -> Result<(Check, Vec<String>), Failure> {
    let given = vec![Given { flag: argument.to_owned(), kind, value: text }];
    let group = Group { prefix: "liveness", given, rule: None };
    role_check(Role::Liveness, &group, &Context::ByHand)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Http,
    Tcp,
    Grpc,
    File,
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

/// The flags that speak of the same roles.
struct Group<'a> {
    prefix: &'static str,
    given: Vec<Given<'a>>,
    /// How many of several checks must pass.
    rule: Option<MatchWord>,
}

type Kinds<'a> = [(Kind, &'a Vec<String>); 5];

/// Of `--health-*`, which speak of all roles.
fn all_flags(flags: &HealthFlags) -> Group<'_> {
    let kinds = [
        (Kind::Http, &flags.health_http),
        (Kind::Tcp, &flags.health_tcp),
        (Kind::Grpc, &flags.health_grpc),
        (Kind::File, &flags.health_file),
        (Kind::Cmd, &flags.health_cmd),
    ];
    Group::new("health", kinds, flags.health_match)
}

fn role_flags(flags: &HealthFlags, role: Role) -> Group<'_> {
    let (given, all_or_any) = match role {
        Role::Startup => (
            [
                (Kind::Http, &flags.startup_http),
                (Kind::Tcp, &flags.startup_tcp),
                (Kind::Grpc, &flags.startup_grpc),
                (Kind::File, &flags.startup_file),
                (Kind::Cmd, &flags.startup_cmd),
            ],
            flags.startup_match,
        ),
        Role::Liveness => (
            [
                (Kind::Http, &flags.liveness_http),
                (Kind::Tcp, &flags.liveness_tcp),
                (Kind::Grpc, &flags.liveness_grpc),
                (Kind::File, &flags.liveness_file),
                (Kind::Cmd, &flags.liveness_cmd),
            ],
            flags.liveness_match,
        ),
        Role::Readiness => (
            [
                (Kind::Http, &flags.readiness_http),
                (Kind::Tcp, &flags.readiness_tcp),
                (Kind::Grpc, &flags.readiness_grpc),
                (Kind::File, &flags.readiness_file),
                (Kind::Cmd, &flags.readiness_cmd),
            ],
            flags.readiness_match,
        ),
    };
    Group::new(role.name(), given, all_or_any)
}

impl<'a> Group<'a> {
    fn new(prefix: &'static str, kinds: Kinds<'a>, rule: Option<MatchWord>) -> Self {
        let given = |(kind, values): (Kind, &'a Vec<String>)| {
            let name = match kind {
                Kind::Http => "http",
                Kind::Tcp => "tcp",
                Kind::Grpc => "grpc",
                Kind::File => "file",
                Kind::Cmd => "cmd",
            };
            let flag = format!("--{prefix}-{name}");
            values.iter().map(move |value| Given { flag: flag.clone(), kind, value })
        };
        Self { prefix, given: kinds.into_iter().flat_map(given).collect(), rule }
    }

    fn match_flag(&self) -> String {
        format!("--{}-match", self.prefix)
    }

    /// The first of its flags.
    fn flag(&self) -> &str {
        self.given.first().map_or("", |given| given.flag.as_str())
    }

    /// `None`: it says nothing. One check, or several with a rule.
    fn checked(self) -> Result<Option<Self>, Failure> {
        match (self.given.as_slice(), self.rule) {
            ([], None) => Ok(None),
            ([_], None) | ([_, _, ..], Some(_)) => Ok(Some(self)),
            ([] | [_], Some(_)) => {
                let why = "needs two checks or more, such as an HTTP check and a file";
                Err(Failure::flag(&self.match_flag(), why))
            }
            ([first, second, ..], None) => Err(Failure::Usage(format!(
                "{} contradicts {}: a role has one check, unless {} says all or any",
                second.flag,
                first.flag,
                self.match_flag()
            ))),
        }
    }

    /// What to look at, and what was said about when in one flag or another.
    fn parse(&self, keys: &[&str], context: &Context<'_>) -> Result<Spelling, Failure> {
        let mut kinds = Vec::new();
        let mut times = TimingKeys::default();
        for given in &self.given {
            let spelled = spelling::parse(given.kind, given.value, keys, context);
            let Spelling { kind, timing } = given.named(spelled)?;
            for (key, value) in &timing {
                given.named(times.add(key, value))?;
            }
            kinds.push(kind);
        }
        let timing = times.0;
        let Some(rule) = self.rule else {
            let kind = kinds.pop().ok_or_else(|| Failure::flag(&self.match_flag(), "no check"))?;
            return Ok(Spelling { kind, timing });
        };
        let parts = named(&self.match_flag(), Parts::new(kinds))?;
        let kind = match rule {
            MatchWord::All => CheckKind::All(parts),
            MatchWord::Any => CheckKind::Any(parts),
        };
        Ok(Spelling { kind, timing })
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
        ("--health-stop-grace-period", &flags.health_stop_grace_period),
    ]
    .into_iter()
    .filter_map(|(flag, value)| value.as_ref().map(|_| flag))
    .collect()
}

fn timing_alone(flag: &str) -> Failure {
    Failure::Usage(format!(
        "{flag} needs a check such as --health-http, or --health-preset: an image's own \
         HEALTHCHECK keeps its own timing"
    ))
}

/// The check of `--health-*` in its roles.
fn one_check(
    flags: &HealthFlags,
    group: &Group<'_>,
    context: &Context<'_>,
) -> Result<Checks, Failure> {
    let spelling = group.parse(&[], context)?;
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
    if let Some(text) = &flags.health_stop_grace_period {
        let grace = named("--health-stop-grace-period", span(text, StopGrace::new))?;
        timing.stop_grace_period = Some(grace);
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

/// The check of one role, with its own keys for the timing, and which of these were said.
fn role_check(
    role: Role,
    group: &Group<'_>,
    context: &Context<'_>,
) -> Result<(Check, Vec<String>), Failure> {
    let Spelling { kind, timing: keys } = group.parse(&spelling::timing_keys(role), context)?;
    let timing = named(group.flag(), role_timing(role, &keys))?;
    Ok((Check { kind, timing }, keys.into_iter().map(|(key, _)| key).collect()))
}

fn role_timing(role: Role, keys: &[(String, String)]) -> Result<Timing, Invalid> {
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
    Ok(timing)
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
        "stop-grace-period" => timing.stop_grace_period = Some(span(value, StopGrace::new)?),
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
