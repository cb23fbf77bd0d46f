//! Services are created, changed and removed. What that means for their tasks is the plan's.

use std::sync::Arc;

use warren_core::{
    Invalid,
    change::Change,
    check::{HealthConfig, PresetCheck},
    event::EventKind,
    id::ServiceId,
    service::{ChecksPause, Service},
    spec::{ServiceSpec, TaskTemplate, Workload},
};

use super::{Draft, Subject};
use crate::{
    input::{AskedPause, ServiceUpdate},
    lookup,
    rejection::Rejection,
};

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
        let looked = if after.spec.template == before.spec.template {
            ""
        } else if was == is {
            return format!("the checks of service {name} change in its tasks");
        } else {
            "; its checks change in its tasks"
        };
        format!("service {name} is scaled{scaled}{looked}")
    } else {
        let revision = after.revision;
        format!("service {name} is changed{scaled}; its tasks are replaced by revision {revision}")
    }
}

/// Replaces a pause that there is.
pub fn pause(
    draft: &mut Draft,
    service: &str,
    AskedPause { span, by }: AskedPause,
) -> Result<Arc<Service>, Rejection> {
    let mut next = (**lookup::service(draft.cluster(), service)?).clone();
    let name = &next.spec.name;
    if next.removed_at.is_some() {
        return Err(Rejection::Forbidden(format!("service {name} is being removed")));
    }
    let who = by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
    let message = format!("the checks of {name} are paused{who} for {span}");
    let since = draft.now();
    next.checks_paused = Some(ChecksPause { since, until: since.after(span.get()), by });
    draft.put(Change::PutService(Box::new(next.clone())));
    draft.tell(EventKind::ChecksPaused, Subject::service(&next), message);
    Ok(Arc::new(next))
}

/// What is not paused goes on.
pub fn resume(draft: &mut Draft, service: &str) -> Result<Arc<Service>, Rejection> {
    let paused = Arc::clone(lookup::service(draft.cluster(), service)?);
    Ok(go_on(draft, paused, "as somebody asked"))
}

/// The time of a pause is over, unless it was prolonged meanwhile.
pub fn pause_over(draft: &mut Draft, id: ServiceId) {
    let now = draft.now();
    let over = |service: &&Arc<Service>| {
        service.checks_paused.as_ref().is_some_and(|pause| pause.until <= now)
    };
    if let Some(service) = draft.cluster().service(id).filter(over).map(Arc::clone) {
        go_on(draft, service, "after their pause");
    }
}

fn go_on(draft: &mut Draft, service: Arc<Service>, why: &str) -> Arc<Service> {
    if service.checks_paused.is_none() {
        return service;
    }
    let next = Service { checks_paused: None, ..(*service).clone() };
    draft.put(Change::PutService(Box::new(next.clone())));
    let message = format!("the checks of {} go on {why}", next.spec.name);
    draft.tell(EventKind::ChecksResumed, Subject::service(&next), message);
    Arc::new(next)
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

    // C-92
    #[test]
    fn a_change_of_checks_alone_replaces_nothing_and_one_of_both_does() {
        let mut draft = with_service(2);
        let mut next = spec("web", 2);
        Arc::make_mut(&mut next.template).health = HealthConfig::Disabled;
        let looked = update(&mut draft, update_to(next.clone(), None)).unwrap();
        assert_eq!((looked.revision, looked.template_revision), (2, 1));
        assert_eq!(looked.template(1).unwrap().health, HealthConfig::Disabled);
        assert!(looked.older_templates.is_empty());
        let mut both = next;
        let template = Arc::make_mut(&mut both.template);
        (template.health, template.args) = (HealthConfig::Auto, vec!["-v".to_owned()]);
        let changed = update(&mut draft, update_to(both, None)).unwrap();
        assert_eq!((changed.revision, changed.template_revision), (3, 3));
        let told: Vec<_> = draft.cluster().events().map(|event| event.message.clone()).collect();
        assert_eq!(told[1], "the checks of service web change in its tasks");
        assert_eq!(told[2], "service web is changed; its tasks are replaced by revision 3");
    }

    fn ten_minutes(by: Option<&str>) -> AskedPause {
        let span = warren_core::bounds::Ttl::from_millis_const(600_000);
        AskedPause { span, by: by.map(str::to_owned) }
    }

    // C-90, C-91
    #[test]
    fn a_pause_has_an_end_is_ended_by_it_or_by_command_and_is_no_change_of_the_spec() {
        let mut draft = with_service(2);
        let now = draft.now();
        let paused = pause(&mut draft, "web", ten_minutes(Some("ada"))).unwrap();
        let until = now.after(std::time::Duration::from_mins(10));
        let by = Some("ada".to_owned());
        assert_eq!(paused.checks_paused, Some(ChecksPause { since: now, until, by }));
        assert_eq!((paused.revision, paused.template_revision), (1, 1));
        pause_over(&mut draft, SERVICE);
        assert!(draft.cluster().service(SERVICE).unwrap().checks_paused.is_some(), "not yet");
        resume(&mut draft, "web").unwrap();
        assert!(draft.cluster().service(SERVICE).unwrap().checks_paused.is_none());
        let rows = draft.cluster().last_event();
        resume(&mut draft, "web").unwrap();
        assert_eq!(draft.cluster().last_event(), rows, "twice is once");
        pause(&mut draft, "web", ten_minutes(None)).unwrap();
        let mut draft = crate::decide::fixture::later(draft, 600);
        pause_over(&mut draft, SERVICE);
        assert!(draft.cluster().service(SERVICE).unwrap().checks_paused.is_none());
        let told: Vec<_> = draft.cluster().events().map(|event| event.message.clone()).collect();
        assert_eq!(
            told[1..],
            [
                "the checks of web are paused by ada for 600s",
                "the checks of web go on as somebody asked",
                "the checks of web are paused for 600s",
                "the checks of web go on after their pause",
            ]
        );
    }

    #[test]
    fn only_a_service_that_stays_is_paused() {
        let mut draft = with_service(1);
        let nothing = pause(&mut draft, "nope", ten_minutes(None)).unwrap_err();
        assert!(matches!(nothing, Rejection::NotFound(_)), "{nothing}");
        remove(&mut draft, "web").unwrap();
        let removed = pause(&mut draft, "web", ten_minutes(None)).unwrap_err();
        assert!(matches!(removed, Rejection::Forbidden(_)), "{removed}");
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
