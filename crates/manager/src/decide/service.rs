//! Services are created, changed and removed. What that means for their tasks is the plan's.

use std::sync::Arc;

use warren_core::{
    Invalid,
    change::Change,
    check::{HealthConfig, PresetCheck},
    event::EventKind,
    id::ServiceId,
    service::Service,
    spec::{ServiceSpec, TaskTemplate, Workload},
};

use super::{Draft, Subject};
use crate::{input::ServiceUpdate, lookup, rejection::Rejection};

pub fn create(
    draft: &mut Draft,
    spec: ServiceSpec,
    id: ServiceId,
) -> Result<Arc<Service>, Rejection> {
    if let Some(taken) = draft.cluster().service_named(&spec.name) {
        let still = if taken.removed_at.is_some() { " and is being removed" } else { "" };
        return Err(Rejection::Exists(format!("service {} exists{still}", spec.name)));
    }
    let (name, replicas) = (spec.name.clone(), spec.replicas.get());
    let service = Service::new(id, spec, draft.now());
    let subject = Subject::service(&service);
    draft.put(Change::PutService(Box::new(service.clone())));
    let message = format!("service {name} is created with {replicas} replicas");
    draft.tell(EventKind::ServiceCreated, subject, message);
    Ok(Arc::new(service))
}

/// A spec that is there already changes nothing.
pub fn update(draft: &mut Draft, update: ServiceUpdate) -> Result<Arc<Service>, Rejection> {
    let ServiceUpdate { service, spec, expected_revision } = update;
    let before = Arc::clone(lookup::service(draft.cluster(), &service)?);
    if before.removed_at.is_some() {
        let why = format!("service {} is being removed", before.spec.name);
        return Err(Rejection::Forbidden(why));
    }
    if spec.name != before.spec.name {
        let why = format!("a service keeps its name, {}", before.spec.name);
        return Err(Invalid::new(why).at("name").at("spec").into());
    }
    if let Some(expected) = expected_revision.filter(|expected| *expected != before.revision) {
        let (name, now) = (&before.spec.name, before.revision);
        let why = format!("service {name} has moved on from revision {expected} to {now}");
        return Err(Rejection::Moved(why));
    }
    if spec == before.spec {
        return Ok(before);
    }
    let after = before.updated(spec, draft.now());
    draft.put(Change::PutService(Box::new(after.clone())));
    let message = changed(&before, &after);
    draft.tell(EventKind::ServiceUpdated, Subject::service(&after), message);
    Ok(Arc::new(after))
}

fn changed(before: &Service, after: &Service) -> String {
    let name = &after.spec.name;
    let (was, is) = (before.spec.replicas.get(), after.spec.replicas.get());
    let scaled = if was == is { String::new() } else { format!(" from {was} to {is} replicas") };
    if after.template_revision == before.template_revision {
        format!("service {name} is scaled{scaled}")
    } else {
        let revision = after.revision;
        format!("service {name} is changed{scaled}; its tasks are replaced by revision {revision}")
    }
}

/// Doing it twice is doing it once.
pub fn remove(draft: &mut Draft, service: &str) -> Result<(), Rejection> {
    let mut removed = (**lookup::service(draft.cluster(), service)?).clone();
    if removed.removed_at.is_none() {
        removed.removed_at = Some(draft.now());
        draft.put(Change::PutService(Box::new(removed)));
    }
    Ok(())
}

/// Lets go what guards hold, and what was given up. Says how many tasks were held.
pub fn release(draft: &mut Draft, service: &str) -> Result<u32, Rejection> {
    let mut released = (**lookup::service(draft.cluster(), service)?).clone();
    let held = draft.cluster().tasks_of(released.id).filter(|task| task.held.is_some()).count();
    let held = u32::try_from(held).unwrap_or(u32::MAX);
    let name = released.spec.name.clone();
    let subject = Subject::service(&released);
    released.released_at = Some(draft.now());
    draft.put(Change::PutService(Box::new(released)));
    let message = format!("service {name} is released: {held} of its tasks were held");
    draft.tell(EventKind::ReplacementReleased, subject, message);
    Ok(held)
}

/// What the user should know though the spec is accepted.
pub fn warnings(template: &TaskTemplate) -> Vec<String> {
    let unwatched = match (&template.health, &template.workload) {
        (HealthConfig::Disabled | HealthConfig::Checks(_) | HealthConfig::Preset(_), _) => None,
        (HealthConfig::Auto, Workload::Process { .. }) => {
            Some("no check is given: only the process of each task is watched")
        }
        (HealthConfig::Auto, Workload::Image { .. }) => {
            template.published_tcp_port().is_none().then_some(
                "no check is given and no port is published: unless the image has a HEALTHCHECK, \
                 only the process of each task is watched",
            )
        }
    };
    unwatched.map(str::to_owned).into_iter().chain(chosen(template)).collect()
}

/// The preset that was not named.
fn chosen(template: &TaskTemplate) -> Option<String> {
    let HealthConfig::Preset(check @ PresetCheck { preset: None, .. }) = &template.health else {
        return None;
    };
    let image = template.image()?;
    // A template for which there is none is refused.
    let preset = check.chosen(Some(image)).ok()?.name();
    Some(format!("the health preset {preset} was chosen by the image's name {image}"))
}

#[cfg(test)]
mod tests {
    use warren_core::{
        bounds::Port,
        check::Checks,
        spec::{Protocol, Publish, Pull, Replicas},
    };

    use super::*;
    use crate::decide::fixture::{SERVICE, draft, spec, with_service};

    fn update_to(spec: ServiceSpec, expected_revision: Option<u64>) -> ServiceUpdate {
        ServiceUpdate { service: "web".to_owned(), spec, expected_revision }
    }

    #[test]
    fn a_taken_name_is_refused_also_while_its_service_is_being_removed() {
        let mut draft = with_service(2);
        let id = ServiceId::from_u64(77);
        let refused = create(&mut draft, spec("web", 1), id).unwrap_err();
        assert_eq!(refused, Rejection::Exists("service web exists".to_owned()));
        remove(&mut draft, "web").unwrap();
        let refused = create(&mut draft, spec("web", 1), id).unwrap_err();
        assert_eq!(refused.to_string(), "service web exists and is being removed");
        assert!(create(&mut draft, spec("api", 1), id).is_ok());
    }

    #[test]
    fn scaling_keeps_the_template_and_a_new_template_keeps_the_old_one_at_hand() {
        let mut draft = with_service(2);
        let scaled = update(&mut draft, update_to(spec("web", 5), Some(1))).unwrap();
        assert_eq!((scaled.revision, scaled.template_revision), (2, 1));
        let mut next = spec("web", 5);
        Arc::make_mut(&mut next.template).args = vec!["-v".to_owned()];
        let changed = update(&mut draft, update_to(next.clone(), None)).unwrap();
        assert_eq!((changed.revision, changed.template_revision), (3, 3));
        assert!(changed.older_templates.contains_key(&1));
        let told: Vec<_> = draft.cluster().events().map(|event| event.message.clone()).collect();
        assert_eq!(told[1], "service web is scaled from 2 to 5 replicas");
        assert_eq!(told[2], "service web is changed; its tasks are replaced by revision 3");
        let same = update(&mut draft, update_to(next, Some(3))).unwrap();
        assert_eq!((same.revision, draft.cluster().last_event()), (3, 3));
    }

    #[test]
    fn an_update_needs_the_revision_it_came_from_the_same_name_and_a_service_that_stays() {
        let mut draft = with_service(2);
        let moved = update(&mut draft, update_to(spec("web", 3), Some(9))).unwrap_err();
        assert!(matches!(moved, Rejection::Moved(_)), "{moved}");
        let renamed = update(&mut draft, update_to(spec("www", 3), None)).unwrap_err();
        assert_eq!(renamed.to_string(), "spec.name: a service keeps its name, web");
        remove(&mut draft, &SERVICE.to_string()).unwrap();
        let removed = update(&mut draft, update_to(spec("web", 3), None)).unwrap_err();
        assert!(matches!(removed, Rejection::Forbidden(_)), "{removed}");
    }

    #[test]
    fn removing_twice_is_removing_once_and_removing_nothing_is_refused() {
        let mut draft = with_service(1);
        remove(&mut draft, "web").unwrap();
        let changes = draft.changes().len();
        remove(&mut draft, "web").unwrap();
        assert_eq!(draft.changes().len(), changes);
        let nothing = remove(&mut draft, "nope").unwrap_err();
        assert_eq!(nothing, Rejection::NotFound("there is no service \"nope\"".to_owned()));
    }

    #[test]
    fn a_rejected_attempt_leaves_no_trace() {
        let mut draft = draft();
        let refused: Result<(), Rejection> = draft.attempt(|draft| {
            create(draft, spec("web", Replicas::new(1).unwrap().get()), SERVICE)?;
            Err(Rejection::Full("no more".to_owned()))
        });
        assert!(refused.is_err());
        assert_eq!(draft.changes(), []);
        assert!(draft.cluster().service(SERVICE).is_none());
    }

    #[test]
    fn a_service_that_nobody_looks_at_is_warned_about() {
        let template = |edit: fn(&mut TaskTemplate)| {
            let mut template = (*spec("web", 1).template).clone();
            edit(&mut template);
            warnings(&template).join(" ")
        };
        let image = |template: &mut TaskTemplate| {
            template.workload = Workload::Image {
                image: "nginx".parse().unwrap(),
                pull: Pull::Missing,
                command: Vec::new(),
            };
        };
        assert!(template(|_| {}).starts_with("no check is given: only the process"));
        assert!(template(|t| t.health = HealthConfig::Disabled).is_empty());

        assert!(template(|t| t.health = HealthConfig::Checks(Arc::new(Checks::NONE))).is_empty());
        let mut unpublished = (*spec("web", 1).template).clone();
        image(&mut unpublished);
        assert!(warnings(&unpublished)[0].contains("unless the image has a HEALTHCHECK"));
        let port = Port::new(80).unwrap();
        let publish = Publish { host_port: port, task_port: port, protocol: Protocol::Tcp };
        unpublished.publish = vec![publish];
        assert_eq!(warnings(&unpublished), Vec::<String>::new());
        unpublished.health = HealthConfig::Preset(PresetCheck::default());
        assert_eq!(
            warnings(&unpublished),
            ["the health preset nginx was chosen by the image's name \
              docker.io/library/nginx:latest"]
        );
    }
}
