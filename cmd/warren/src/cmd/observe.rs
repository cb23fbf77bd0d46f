//! The workers' live view of tasks, where it can be had.

use std::collections::HashMap;

use warren_proto::v1 as pb;

use crate::{client::Client, console::Console, output::task::View};

/// Observations by task id. Tasks without one are shown as they are stored.
#[derive(Debug, Default)]
pub struct Live(HashMap<String, pb::Observation>);

/// The tasks that a worker may have something to say about.
pub fn ids(tasks: &[pb::TaskDetail]) -> Vec<String> {
    let live = tasks.iter().map(|detail| View { detail, live: None });
    live.filter(|view| view.end().is_none()).map(|view| view.id()).collect()
}

/// Asks for the live view of these tasks. Not getting it is worth a note and no more.
pub async fn live(client: &Client, tasks: Vec<String>, console: &mut Console<'_>) -> Live {
    if tasks.is_empty() {
        return Live::default();
    }
    let request = pb::ObserveRequest { service: String::new(), tasks };
    match client.tasks().observe(request).await {
        Ok(response) => {
            let observations = response.into_inner().observations;
            Live(observations.into_iter().map(|seen| (seen.task_id.clone(), seen)).collect())
        }
        Err(status) => {
            let why = status.message();
            console.note(&format!("note: no live view, this is what was stored last: {why}"));
            Live::default()
        }
    }
}

impl Live {
    pub fn of(&self, detail: &pb::TaskDetail) -> Option<&pb::Observation> {
        self.0.get(&detail.task.as_ref()?.id)
    }

    pub fn view<'a>(&'a self, detail: &'a pb::TaskDetail) -> View<'a> {
        View { detail, live: self.of(detail) }
    }

    /// Puts what the workers see in the place of what was stored.
    pub fn merge_into(&self, tasks: &mut [pb::TaskDetail]) {
        for detail in tasks {
            if let Some(health) = self.of(detail).and_then(|live| live.health.clone()) {
                detail.health.get_or_insert_default().observed = Some(health);
            }
        }
    }
}
