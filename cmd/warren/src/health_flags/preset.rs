//! `--health-preset`, and what the timing flags change of it.

use warren_core::{
    Invalid,
    bounds::{Delay, Period, Port, Timeout},
    check::{HealthConfig, Preset, PresetCheck},
    invalid::At,
};

use super::{
    keys::{known, once, pieces},
    named, span, threshold, timing_flags,
};
use crate::{cli::service::HealthFlags, failure::Failure, values};

pub const FLAG: &str = "--health-preset";

pub fn config(flags: &HealthFlags, value: &str) -> Result<HealthConfig, Failure> {
    retimed(flags, named(FLAG, spelled(value))?)
}

/// The preset with what the flags say of its timing.
pub fn retimed(flags: &HealthFlags, preset: PresetCheck) -> Result<HealthConfig, Failure> {
    let known =
        ["--health-interval", "--health-timeout", "--health-start-period", "--health-retries"];
    if let Some(other) = timing_flags(flags).into_iter().find(|flag| !known.contains(flag)) {
        let why = format!("is not for a preset: of its timing there are {}", known.join(", "));
        return Err(Failure::flag(other, why));
    }
    let interval = flags.health_interval.as_deref().map(|text| span(text, Period::new));
    let timeout = flags.health_timeout.as_deref().map(|text| span(text, Timeout::new));
    let start = flags.health_start_period.as_deref().map(|text| span(text, Delay::new));
    let retries = flags.health_retries.as_deref().map(threshold);
    Ok(HealthConfig::Preset(PresetCheck {
        period: named("--health-interval", interval.transpose())?.or(preset.period),
        timeout: named("--health-timeout", timeout.transpose())?.or(preset.timeout),
        start_period: named("--health-start-period", start.transpose())?.or(preset.start_period),
        failures: named("--health-retries", retries.transpose())?.or(preset.failures),
        ..preset
    }))
}

/// A preset by its name, for an attempt by hand. `argument` is what it is called there.
pub fn by_name(text: &str, argument: &str) -> Result<PresetCheck, Failure> {
    let preset = named(argument, spelled(text))?;
    if preset.preset.is_none() {
        let names = Preset::ALL.map(Preset::name).join(", ");
        let why = format!("auto goes by a service's image, and here is none; there are {names}");
        return Err(Failure::flag(argument, why));
    }
    Ok(preset)
}

/// `redis`, `auto`, `redis,port=6380`.
fn spelled(text: &str) -> Result<PresetCheck, Invalid> {
    let pieces = pieces(text);
    let (name, keys) = pieces.split_first().map_or(("", &[][..]), |(name, keys)| (&**name, keys));
    let preset = if name == "auto" { None } else { Some(name.parse()?) };
    let mut number = None;
    for piece in keys {
        let (key, value) = known(piece, &["port"])?;
        once(&mut number, key, values::count(value).and_then(Port::new).at(key)?)?;
    }
    Ok(PresetCheck { preset, port: number, ..PresetCheck::default() })
}
