//! `warren.v1.Database`.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};
use warren_core::{cluster::Cluster, id::ClusterId};
use warren_proto::v1::{self as pb, backup_row::Row, database_server::Database};

use super::{Context, Outgoing};

pub struct DatabaseApi(pub Context);

#[async_trait]
impl Database for DatabaseApi {
    type BackupStream = Outgoing<pb::BackupRow>;

    /// What is published is durable, and a snapshot is O(1): nobody waits for whoever reads it.
    async fn backup(
        &self,
        _request: Request<pb::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let cluster = self.0.handle.published().cluster.clone();
        let rows = rows(self.0.cluster_id, &cluster);
        tracing::info!(revision = cluster.revision, "a backup is made");
        let rows = rows.map(|row| Ok(pb::BackupRow { row: Some(row) }));
        Ok(Response::new(self.0.outgoing(futures::stream::iter(rows))))
    }
}

/// Each is encoded when it is sent.
fn rows(id: ClusterId, cluster: &Cluster) -> impl Iterator<Item = Row> + Send + use<> {
    let schema = warren_store::SCHEMA;
    let meta = pb::MetaRow { schema, revision: cluster.revision, cluster_id: id.to_string() };
    let health = |id| Some((id, Arc::clone(cluster.health(id)?)));
    let services: Vec<_> = cluster.services().cloned().collect();
    let tasks: Vec<_> = cluster.tasks().cloned().collect();
    let health: Vec<_> = tasks.iter().filter_map(|task| health(task.id)).collect();
    let nodes: Vec<_> = cluster.nodes().cloned().collect();
    let restraint = pb::RestraintRow::from(&**cluster.restraint());
    let events: Vec<_> = cluster.events().cloned().collect();
    let many = [services.len(), tasks.len(), health.len(), nodes.len(), events.len()];
    // With the first one and the restraint's.
    let count = many.into_iter().sum::<usize>() as u64 + 2;
    let of_task = |(id, row): (warren_core::id::TaskId, Arc<_>)| {
        let row = Some(pb::HealthRow::from(&*row));
        Row::Health(pb::BackupHealth { task_id: id.to_string(), row })
    };
    std::iter::once(Row::Meta(meta))
        .chain(services.into_iter().map(|row| Row::Service((&*row).into())))
        .chain(tasks.into_iter().map(|row| Row::Task((&*row).into())))
        .chain(health.into_iter().map(of_task))
        .chain(nodes.into_iter().map(|row| Row::Node((&*row).into())))
        .chain(std::iter::once(Row::Restraint(restraint)))
        .chain(events.into_iter().map(|row| Row::Event((&*row).into())))
        .chain(std::iter::once(Row::End(count)))
}
