//! The wire forms of all nouns: written and read back, complete, and the same tomorrow.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixtures;
mod refusals;
mod strategies;
mod support;

use warren_core::{
    assignment::Assignment,
    check::{Checks, HealthConfig},
    event::Event,
    health::{ExternalVerdict, Health, RoleHealth, TaskHealth},
    node::Node,
    outcome::Attempt,
    report::{HealthTransition, TaskReport},
    restraint::Restraint,
    rule::Hold,
    service::Service,
    spec::{ServiceSpec, TaskTemplate},
    task::{Stop, Task, TaskEnd, TaskStatus},
    trial::Trial,
};

/// Tests each noun against its message. A strategy and fixtures go by the same name.
macro_rules! messages {
    ($($name:ident: $domain:ty => $message:ident;)+) => {
        mod reads_back_what_it_wrote {
            use super::*;

            proptest::proptest! {
                $(
                    #[test]
                    fn $name(value in strategies::$name()) {
                        support::reads_back::<$domain, warren_proto::v1::$message>(&value);
                    }
                )+
            }
        }

        mod has_every_field_set_in_its_fixtures {
            use super::*;

            $(
                #[test]
                fn $name() {
                    support::every_field_is_set::<$domain, warren_proto::v1::$message>(
                        stringify!($message),
                        &fixtures::$name(),
                    );
                }
            )+
        }

        mod keeps_its_bytes {
            use super::*;

            $(
                #[test]
                fn $name() {
                    support::bytes_are_frozen::<$domain, warren_proto::v1::$message>(
                        stringify!($message),
                        &fixtures::$name(),
                    );
                }
            )+
        }
    };
}

messages! {
    assignment: Assignment => Assignment;
    attempt: Attempt => Attempt;
    checks: Checks => Checks;
    event: Event => Event;
    external_verdict: ExternalVerdict => ExternalVerdict;
    health: Health => Health;
    health_config: HealthConfig => HealthConfig;
    health_row: TaskHealth => HealthRow;
    health_transition: HealthTransition => HealthTransition;
    hold: Hold => Hold;
    node: Node => Node;
    restraint: Restraint => RestraintRow;
    role_health: RoleHealth => RoleHealth;
    service: Service => Service;
    service_spec: ServiceSpec => ServiceSpec;
    stop: Stop => Stop;
    task_end: TaskEnd => TaskEnd;
    task_report: TaskReport => TaskReport;
    task_row: Task => TaskRow;
    task_status: TaskStatus => TaskStatus;
    task_template: TaskTemplate => TaskTemplate;
    trial: Trial => Trial;
}
