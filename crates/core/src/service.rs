//! A service as the cluster holds it.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Invalid,
    id::ServiceId,
    spec::{ServiceSpec, TaskTemplate},
    time::Timestamp,
    wire::printable,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub id: ServiceId,
    pub spec: ServiceSpec,
    /// Grows by one with each change of the spec.
    pub revision: u64,
    /// The revision at which the template changed last.
    pub template_revision: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Set once it is being removed.
    pub removed_at: Option<Timestamp>,
    /// What failed before this is held by no guard and counts no more: somebody let it go.
    pub released_at: Option<Timestamp>,
    /// What tasks of earlier revisions run.
    pub older_templates: BTreeMap<u64, Arc<TaskTemplate>>,
    /// No attempt of its checks is made meanwhile.
    pub checks_paused: Option<ChecksPause>,
}

/// Always with an end: what nobody watches must not stay so because somebody forgot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChecksPause {
    pub since: Timestamp,
    pub until: Timestamp,
    /// Who asked for it, where that was said.
    pub by: Option<String>,
}

impl ChecksPause {
    /// A name in a sentence.
    pub const BY_MAX: usize = 128;

    /// 1-128 printable characters, or nothing.
    pub fn checked_by(by: String) -> Result<Option<String>, Invalid> {
        if by.is_empty() { Ok(None) } else { printable(by, Self::BY_MAX).map(Some) }
    }
}

impl Service {
    pub fn new(id: ServiceId, spec: ServiceSpec, now: Timestamp) -> Self {
        Self {
            id,
            spec,
            revision: 1,
            template_revision: 1,
            created_at: now,
            updated_at: now,
            removed_at: None,
            released_at: None,
            older_templates: BTreeMap::new(),
            checks_paused: None,
        }
    }

    /// The service with a new spec. Tasks are replaced only when the template differs in more
    /// than its checks: those change in the tasks that run.
    pub fn updated(&self, spec: ServiceSpec, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.revision += 1;
        next.updated_at = now;
        if !spec.template.is_but_for_health(&self.spec.template) {
            next.older_templates.insert(self.template_revision, Arc::clone(&self.spec.template));
            next.template_revision = next.revision;
        }
        next.spec = spec;
        next
    }

    /// What a task of this revision runs.
    pub fn template(&self, revision: u64) -> Option<&Arc<TaskTemplate>> {
        if revision == self.template_revision {
            Some(&self.spec.template)
        } else {
            self.older_templates.get(&revision)
        }
    }
}

mod wire {
    use std::{collections::BTreeMap, sync::Arc};

    use warren_proto::v1 as pb;

    use super::{ChecksPause, Service};
    use crate::{
        Invalid,
        invalid::At,
        spec::TaskTemplate,
        wire::{optional, parsed, required},
    };

    impl From<&Service> for pb::Service {
        fn from(service: &Service) -> Self {
            let Service {
                id,
                spec,
                revision,
                template_revision,
                created_at,
                updated_at,
                removed_at,
                released_at,
                older_templates,
                checks_paused,
            } = service;
            let older = |(revision, template): (&u64, &Arc<TaskTemplate>)| pb::OlderTemplate {
                revision: *revision,
                template: Some((&**template).into()),
            };
            Self {
                id: id.to_string(),
                spec: Some(spec.into()),
                revision: *revision,
                template_revision: *template_revision,
                created_at: Some((*created_at).into()),
                updated_at: Some((*updated_at).into()),
                removed_at: removed_at.map(Into::into),
                released_at: released_at.map(Into::into),
                older_templates: older_templates.iter().map(older).collect(),
                checks_paused: checks_paused.as_ref().map(Into::into),
            }
        }
    }

    impl TryFrom<pb::Service> for Service {
        type Error = Invalid;

        fn try_from(wire: pb::Service) -> Result<Self, Invalid> {
            let pb::Service {
                id,
                spec,
                revision,
                template_revision,
                created_at,
                updated_at,
                removed_at,
                older_templates,
                released_at,
                checks_paused,
            } = wire;
            Ok(Self {
                id: parsed("id", &id)?,
                spec: required("spec", spec)?,
                revision,
                template_revision,
                created_at: required("created_at", created_at)?,
                updated_at: required("updated_at", updated_at)?,
                removed_at: optional("removed_at", removed_at)?,
                released_at: optional("released_at", released_at)?,
                older_templates: older(older_templates).at("older_templates")?,
                checks_paused: optional("checks_paused", checks_paused)?,
            })
        }
    }

    impl From<&ChecksPause> for pb::ChecksPause {
        fn from(pause: &ChecksPause) -> Self {
            let ChecksPause { since, until, by } = pause;
            Self {
                since: Some((*since).into()),
                until: Some((*until).into()),
                by: by.clone().unwrap_or_default(),
            }
        }
    }

    impl TryFrom<pb::ChecksPause> for ChecksPause {
        type Error = Invalid;

        fn try_from(wire: pb::ChecksPause) -> Result<Self, Invalid> {
            let pb::ChecksPause { since, until, by } = wire;
            Ok(Self {
                since: required("since", since)?,
                until: required("until", until)?,
                by: Self::checked_by(by).at("by")?,
            })
        }
    }

    fn older(wire: Vec<pb::OlderTemplate>) -> Result<BTreeMap<u64, Arc<TaskTemplate>>, Invalid> {
        let mut templates = BTreeMap::new();
        for (index, older) in wire.into_iter().enumerate() {
            let pb::OlderTemplate { revision, template } = older;
            let template: TaskTemplate =
                required("template", template).map_err(|e| e.at_index(index))?;
            if templates.insert(revision, Arc::new(template)).is_some() {
                let why = format!("{revision} is there twice");
                return Err(Invalid::new(why).at("revision").at_index(index));
            }
        }
        Ok(templates)
    }
}
