//! What the health flags change of the checks that a service has.
//!
//! `--health-*` that name a check, a preset or none say all about how the service is looked at. A
//! role's own flags take the place of that role's check, and flags for the timing alone change the
//! timing of the checks that there are.

use std::sync::Arc;

use warren_core::{
    check::{Checks, HealthConfig, Role},
    spec::TaskTemplate,
};

use super::{all_flags, health_config, one_timing, preset, role_flags, timing_flags, used};
use crate::{cli::service::HealthFlags, failure::Failure};

const FLAG: &str = "--health-rm";

/// How much of the checks the flags speak of.
enum Scope {
    Nothing,
    Timing,
    Roles,
    All,
}

fn scope(flags: &HealthFlags) -> Scope {
    let all = !all_flags(flags).given.is_empty() || flags.health_match.is_some();
    if flags.no_healthcheck || flags.health_preset.is_some() || all {
        Scope::All
    } else if used(flags).next().is_some() {
        Scope::Roles
    } else if timing_flags(flags).is_empty() {
        Scope::Nothing
    } else {
        Scope::Timing
    }
}

/// What a command line says of the checks that a service has.
#[derive(Debug)]
pub struct Change<'a> {
    pub flags: &'a HealthFlags,
    /// The roles whose check goes.
    pub gone: &'a [Role],
}

impl Change<'_> {
    /// Whether anything is said at all.
    pub fn is_any(&self) -> bool {
        !matches!(scope(self.flags), Scope::Nothing) || !self.gone.is_empty()
    }

    /// How the tasks of this template are looked at from then on.
    pub fn of(&self, template: &TaskTemplate) -> Result<HealthConfig, Failure> {
        let health = changed(self.flags, template)?;
        if self.gone.is_empty() { Ok(health) } else { self.without(health) }
    }

    fn without(&self, health: HealthConfig) -> Result<HealthConfig, Failure> {
        if matches!(scope(self.flags), Scope::All) {
            let why = "what names the checks of all roles leaves none to take away";
            return Err(Failure::flag(FLAG, why));
        }
        let HealthConfig::Checks(checks) = health else {
            let why = "the service has no checks by role: name --health-* or --no-healthcheck";
            return Err(Failure::flag(FLAG, why));
        };
        let mut checks = Checks::clone(&checks);
        for &role in self.gone {
            let said = role_flags(self.flags, role);
            if !said.given.is_empty() {
                let role = role.name();
                let why = format!("{FLAG} {role} contradicts {}", said.flag());
                return Err(Failure::Usage(why));
            }
            if checks.get_mut(role).take().is_none() {
                let why = format!("the service has no check for {}", role.name());
                return Err(Failure::flag(FLAG, why));
            }
        }
        if checks.is_empty() {
            let why = "no check would be left: say --no-healthcheck";
            return Err(Failure::flag(FLAG, why));
        }
        Ok(HealthConfig::Checks(Arc::new(checks)))
    }
}

/// What the flags make of how the tasks of this template are looked at.
fn changed(flags: &HealthFlags, template: &TaskTemplate) -> Result<HealthConfig, Failure> {
    let said = || health_config(flags, &template.publish, &template.ports);
    match (scope(flags), &template.health) {
        (Scope::Nothing, known) => Ok(known.clone()),
        (Scope::All, _)
        // Of the service's own there is nothing to change: flags for the timing say so.
        | (Scope::Roles | Scope::Timing, HealthConfig::Auto | HealthConfig::Disabled) => said(),
        (Scope::Roles, HealthConfig::Preset(_)) => {
            let first = used(flags).next().unwrap_or_default();
            let why = "the service has a preset, which is all of its checks: name --health-* \
                       instead";
            Err(Failure::flag(&first, why))
        }
        (Scope::Roles, HealthConfig::Checks(known)) => {
            let mut checks = (**known).clone();
            if let HealthConfig::Checks(said) = said()? {
                for role in Role::ALL {
                    if let Some(check) = said.get(role) {
                        *checks.get_mut(role) = Some(check.clone());
                    }
                }
            }
            Ok(HealthConfig::Checks(Arc::new(checks)))
        }
        (Scope::Timing, HealthConfig::Checks(known)) => {
            let mut checks = (**known).clone();
            retime(&mut checks, flags)?;
            Ok(HealthConfig::Checks(Arc::new(checks)))
        }
        (Scope::Timing, HealthConfig::Preset(known)) => preset::retimed(flags, *known),
    }
}

/// Each role's own timing with what the flags say of it. A start period makes no startup check
/// where there is none: the tasks have started.
fn retime(checks: &mut Checks, flags: &HealthFlags) -> Result<(), Failure> {
    for role in Role::ALL {
        if let Some(check) = checks.get_mut(role) {
            check.timing = one_timing(flags, check.timing)?.kept_by(role);
        }
    }
    Ok(())
}
