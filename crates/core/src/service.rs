//! A service as the cluster holds it.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    id::ServiceId,
    spec::{ServiceSpec, TaskTemplate},
    time::Timestamp,
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
    /// What tasks of earlier revisions run.
    pub older_templates: BTreeMap<u64, Arc<TaskTemplate>>,
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
            older_templates: BTreeMap::new(),
        }
    }

    /// The service with a new spec. Tasks are replaced only when the template differs.
    pub fn updated(&self, spec: ServiceSpec, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.revision += 1;
        next.updated_at = now;
        if spec.template != self.spec.template {
            next.older_templates
                .insert(self.template_revision, Arc::clone(&self.spec.template));
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
