//! What tasks of one service have in common is held once: a template with its checks takes more
//! memory than all else of a task.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use warren_core::{assignment::Assignment, id::ServiceId, spec::TaskTemplate, task::TaskStatus};

/// The template that each service's newest task has.
#[derive(Debug, Default)]
pub struct Shared(BTreeMap<ServiceId, Weak<TaskTemplate>>);

impl Shared {
    /// Gives the assignment the template of its service that is held already, where it is the same.
    pub fn template(&mut self, assignment: &mut Assignment) {
        let held = self.0.get(&assignment.service).and_then(Weak::upgrade);
        if let Some(held) = held.filter(|held| **held == *assignment.template) {
            assignment.template = held;
            return;
        }
        self.0.retain(|_, template| template.strong_count() > 0);
        self.0.insert(assignment.service, Arc::downgrade(&assignment.template));
    }
}

/// Gives a task that was remembered the checks of its template, where they are the same.
pub fn checks(template: &TaskTemplate, status: &mut TaskStatus) {
    if let Some(checks) = &mut status.checks {
        let own = template.checks(None);
        if own == *checks {
            *checks = own;
        }
    }
}

#[cfg(test)]
mod tests {
    use warren_core::{
        bounds::Port,
        check::{Check, CheckKind, Checks, HealthConfig, Role, TcpCheck, Timing},
        time::Timestamp,
    };

    use super::*;
    use crate::held::tests::held;

    /// As if it had just come from the manager.
    fn assigned(service: u64, checks: Checks) -> Assignment {
        let assignment = held().assignment().clone();
        let health = HealthConfig::Checks(Arc::new(checks));
        let template = TaskTemplate { health, ..(*assignment.template).clone() };
        let service = ServiceId::from_u64(service);
        Assignment { service, template: Arc::new(template), ..assignment }
    }

    fn liveness() -> Checks {
        let kind = CheckKind::Tcp(TcpCheck::new(Port::new(80).unwrap()));
        let timing = Timing::default_for(Role::Liveness);
        Checks { liveness: Some(Check { kind, timing }), ..Checks::NONE }
    }

    #[test]
    fn tasks_of_a_service_share_the_template_that_they_have_in_common() {
        let mut shared = Shared::default();
        let mut first = assigned(1, liveness());
        shared.template(&mut first);
        let mut take = |service, checks| {
            let mut assignment = assigned(service, checks);
            shared.template(&mut assignment);
            assignment.template
        };
        assert!(Arc::ptr_eq(&take(1, liveness()), &first.template));
        assert!(!Arc::ptr_eq(&take(2, liveness()), &first.template));
        assert_eq!(take(1, Checks::NONE).health, HealthConfig::Checks(Arc::new(Checks::NONE)));
    }

    #[test]
    fn a_template_that_nobody_has_is_not_kept() {
        let mut shared = Shared::default();
        for service in 1..10 {
            shared.template(&mut assigned(service, liveness()));
        }
        assert_eq!(shared.0.len(), 1);
    }

    #[test]
    fn a_remembered_task_shares_the_checks_of_its_template() {
        let template = assigned(1, liveness()).template;
        let HealthConfig::Checks(own) = &template.health else { panic!("{template:?}") };
        let remember = |remembered: Checks| {
            let mut status = TaskStatus::pending(Timestamp::EPOCH);
            status.checks = Some(Arc::new(remembered));
            checks(&template, &mut status);
            status.checks.unwrap()
        };
        assert!(Arc::ptr_eq(&remember(liveness()), own));
        assert_eq!(*remember(Checks::NONE), Checks::NONE);
    }
}
