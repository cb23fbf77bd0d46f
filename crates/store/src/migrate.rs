//! From the layout of an earlier Warren to the one of this one, a step at a time. Each step is a
//! transaction of its own: what is cut short is as it was before or after one.

use prost::Message;
use redb::{Database, Durability, ReadableTable, TableDefinition, WriteTransaction};
use warren_proto::v1 as pb;

use crate::{
    fault::RowFault,
    tables::{HEALTH, LoadFault, SCHEMA, put_meta},
};

type Step = fn(&WriteTransaction) -> Result<(), LoadFault>;

/// What leads from each schema to the next one; the first is schema 1.
const STEPS: [Step; 1] = [health_with_marks];

/// A step is forgotten by nobody: the last one leads to this version's own schema.
const _: () = assert!(STEPS.len() + 1 == SCHEMA as usize, "each schema but the first has a step");

/// Brings the database to this version's schema.
pub fn migrate(database: &Database, meta: &mut pb::MetaRow) -> Result<(), LoadFault> {
    while meta.schema < SCHEMA {
        let index = usize::try_from(meta.schema).unwrap_or_default().checked_sub(1);
        let step = index.and_then(|index| STEPS.get(index)).ok_or_else(|| {
            let source = RowFault::Invalid(warren_core::Invalid::missing("schema"));
            LoadFault::Row { table: "meta-1", key: 0, source }
        })?;
        let mut tx = database.begin_write()?;
        tx.set_durability(Durability::Immediate)?;
        step(&tx)?;
        let from = meta.schema;
        meta.schema += 1;
        put_meta(&tx, meta)?;
        tx.commit()?;
        tracing::info!(from, to = meta.schema, "database migrated");
    }
    Ok(())
}

/// Schema 2: the row of a task's health has the mark of the report that it is from.
fn health_with_marks(tx: &WriteTransaction) -> Result<(), LoadFault> {
    const BEFORE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("health-1");
    {
        let (before, mut after) = (tx.open_table(BEFORE)?, tx.open_table(HEALTH)?);
        for row in before.iter()? {
            let (key, bytes) = row?;
            let key = key.value();
            let health = pb::TaskHealth::decode(bytes.value()).map_err(|error| LoadFault::Row {
                table: "health-1",
                key,
                source: error.into(),
            })?;
            let row = pb::HealthRow { health: Some(health), epoch: 0, sequence: 0 };
            after.insert(key, row.encode_to_vec().as_slice())?;
        }
    }
    tx.delete_table(BEFORE)?;
    Ok(())
}
