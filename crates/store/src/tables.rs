//! How the cluster lies in the database. A table's name carries the version of its layout; every
//! value is one protobuf message of `proto/warren/v1`.

use prost::Message;
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};
use warren_core::{
    change::Change, cluster::Cluster, event::Event, health::TaskHealth, id::TaskId, node::Node,
    restraint::Restraint, service::Service, task::Task,
};
use warren_proto::v1 as pb;

use crate::fault::RowFault;

/// Of the layout below. Grows when an older Warren could no longer read it.
pub const SCHEMA: u32 = 2;

/// `()` -> `MetaRow`: the layout's schema, the cluster's id, and the revision of the last batch.
const META: TableDefinition<'_, (), &[u8]> = TableDefinition::new("meta-1");
/// service id -> `Service`.
const SERVICES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("services-1");
/// task id -> `TaskRow`.
const TASKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("tasks-1");
/// task id -> `HealthRow`. Apart from the tasks, because it changes far more often.
pub const HEALTH: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("health-2");
/// node id -> `Node`.
const NODES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("nodes-1");
/// `()` -> `RestraintRow`.
const RESTRAINT: TableDefinition<'_, (), &[u8]> = TableDefinition::new("restraint-1");
/// event sequence -> `Event`. Appended at the end and trimmed at the beginning.
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events-1");

/// All tables within one write transaction.
pub struct Tables<'tx> {
    meta: Table<'tx, (), &'static [u8]>,
    services: Table<'tx, u64, &'static [u8]>,
    tasks: Table<'tx, u64, &'static [u8]>,
    health: Table<'tx, u64, &'static [u8]>,
    nodes: Table<'tx, u64, &'static [u8]>,
    restraint: Table<'tx, (), &'static [u8]>,
    events: Table<'tx, u64, &'static [u8]>,
}

impl<'tx> Tables<'tx> {
    /// Makes those that are not there.
    pub fn open(tx: &'tx WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            meta: tx.open_table(META)?,
            services: tx.open_table(SERVICES)?,
            tasks: tx.open_table(TASKS)?,
            health: tx.open_table(HEALTH)?,
            nodes: tx.open_table(NODES)?,
            restraint: tx.open_table(RESTRAINT)?,
            events: tx.open_table(EVENTS)?,
        })
    }

    pub fn put_meta(&mut self, meta: &pb::MetaRow) -> redb::Result {
        self.meta.insert((), meta.encode_to_vec().as_slice()).map(drop)
    }

    /// What [`Cluster::apply`] does in memory, done on disk.
    pub fn apply(&mut self, change: &Change) -> redb::Result {
        match change {
            Change::PutService(service) => {
                let row = pb::Service::from(&**service);
                put(&mut self.services, service.id.as_u64(), &row)
            }
            Change::RemoveService(id) => self.services.remove(id.as_u64()).map(drop),
            Change::PutTask(task) => {
                put(&mut self.tasks, task.id.as_u64(), &pb::TaskRow::from(&**task))
            }
            Change::RemoveTask(id) => {
                self.tasks.remove(id.as_u64())?;
                self.health.remove(id.as_u64()).map(drop)
            }
            Change::PutHealth(id, health) => {
                put(&mut self.health, id.as_u64(), &pb::HealthRow::from(&**health))
            }
            Change::PutNode(node) => {
                put(&mut self.nodes, node.id.as_u64(), &pb::Node::from(&**node))
            }
            Change::RemoveNode(id) => self.nodes.remove(id.as_u64()).map(drop),
            Change::PutRestraint(restraint) => {
                let row = pb::RestraintRow::from(&**restraint);
                self.restraint.insert((), row.encode_to_vec().as_slice()).map(drop)
            }
            Change::PutEvent(event) => {
                put(&mut self.events, event.sequence, &pb::Event::from(&**event))
            }
            Change::RemoveEvent(sequence) => self.events.remove(sequence).map(drop),
            Change::TrimEvents(upto) => self.events.retain_in(..=*upto, |_, _| false),
        }
    }
}

fn put(table: &mut Table<'_, u64, &'static [u8]>, key: u64, row: &impl Message) -> redb::Result {
    table.insert(key, row.encode_to_vec().as_slice()).map(drop)
}

/// Beside the tables, for migrations.
pub fn put_meta(tx: &WriteTransaction, meta: &pb::MetaRow) -> Result<(), redb::Error> {
    tx.open_table(META)?.insert((), meta.encode_to_vec().as_slice())?;
    Ok(())
}

/// Why the tables could not be read.
pub enum LoadFault {
    Database(redb::Error),
    Row { table: &'static str, key: u64, source: RowFault },
}

impl<E: Into<redb::Error>> From<E> for LoadFault {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

/// Nothing when no transaction has ever made the tables.
pub fn load_meta(tx: &ReadTransaction) -> Result<Option<pb::MetaRow>, LoadFault> {
    let table = match tx.open_table(META) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(bytes) = table.get(())? else {
        return Ok(None);
    };
    let meta = pb::MetaRow::decode(bytes.value());
    meta.map(Some).map_err(|source| LoadFault::Row {
        table: "meta-1",
        key: 0,
        source: source.into(),
    })
}

/// The cluster as the last durable batch left it.
pub fn load(tx: &ReadTransaction, revision: u64) -> Result<Cluster, LoadFault> {
    let mut cluster = Cluster::default();
    cluster.revision = revision;
    each(tx, SERVICES, "services-1", |_, row: pb::Service| {
        cluster.apply(&Change::PutService(Box::new(Service::try_from(row)?)));
        Ok(())
    })?;
    each(tx, TASKS, "tasks-1", |_, row: pb::TaskRow| {
        let mut task = Task::try_from(row)?;
        let checks = task.status.checks.take();
        task.status.checks = checks.map(|checks| cluster.shared_checks(task.service, checks));
        cluster.apply(&Change::PutTask(Box::new(task)));
        Ok(())
    })?;
    each(tx, HEALTH, "health-2", |key, row: pb::HealthRow| {
        let health = Box::new(TaskHealth::try_from(row)?);
        cluster.apply(&Change::PutHealth(TaskId::from_u64(key), health));
        Ok(())
    })?;
    each(tx, NODES, "nodes-1", |_, row: pb::Node| {
        cluster.apply(&Change::PutNode(Box::new(Node::try_from(row)?)));
        Ok(())
    })?;
    if let Some(restraint) = load_restraint(tx)? {
        cluster.apply(&Change::PutRestraint(Box::new(restraint)));
    }
    each(tx, EVENTS, "events-1", |_, row: pb::Event| {
        cluster.apply(&Change::PutEvent(Box::new(Event::try_from(row)?)));
        Ok(())
    })?;
    Ok(cluster)
}

/// Nothing before the first was written: it is younger than the other tables.
fn load_restraint(tx: &ReadTransaction) -> Result<Option<Restraint>, LoadFault> {
    let table = match tx.open_table(RESTRAINT) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(bytes) = table.get(())? else {
        return Ok(None);
    };
    let row = pb::RestraintRow::decode(bytes.value()).map_err(RowFault::from);
    let restraint = row.and_then(|row| Ok(Restraint::try_from(row)?));
    let fault = |source| LoadFault::Row { table: "restraint-1", key: 0, source };
    restraint.map(Some).map_err(fault)
}

fn each<M: Message + Default>(
    tx: &ReadTransaction,
    definition: TableDefinition<'_, u64, &[u8]>,
    table: &'static str,
    mut take: impl FnMut(u64, M) -> Result<(), RowFault>,
) -> Result<(), LoadFault> {
    for row in tx.open_table(definition)?.iter()? {
        let (key, bytes) = row?;
        let key = key.value();
        M::decode(bytes.value())
            .map_err(RowFault::from)
            .and_then(|row| take(key, row))
            .map_err(|source| LoadFault::Row { table, key, source })?;
    }
    Ok(())
}
