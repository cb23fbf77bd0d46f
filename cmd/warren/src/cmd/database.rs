//! `warren manager backup`, `restore` and `check`: the manager's database as a file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use warren_core::{
    Invalid,
    change::Change,
    cluster::Cluster,
    event::Event,
    health::TaskHealth,
    id::ClusterId,
    node::Node,
    restraint::Restraint,
    service::Service,
    task::Task,
    wire::{parsed, required},
};
use warren_manager::{Inspection, inspect, violations, write_whole};
use warren_proto::v1::{self as pb, backup_row::Row};

use crate::{
    cli::manager::{BackupArgs, CheckArgs, RestoreArgs},
    client::{Client, Host},
    console::Console,
    failure::Failure,
    paths,
};

/// So many contradictions are told one by one.
const TOLD_MAX: usize = 20;

pub async fn backup(
    args: &BackupArgs,
    host: &Host,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let file = &args.file;
    if !args.force && fs::symlink_metadata(file).is_ok() {
        let why = "is there already; --force replaces it";
        return Err(Failure::Conflict(format!("{} {why}", file.display())));
    }
    if file.is_dir() {
        return Err(Failure::Usage(format!("{} is a directory: name a file", file.display())));
    }
    let client = Client::connect(host).await?;
    let mut rows = client.database().backup(pb::BackupRequest {}).await?.into_inner();
    let mut copy = Copy::default();
    while let Some(pb::BackupRow { row }) = rows.message().await? {
        // Absent: of a newer manager, whose count will tell.
        let Some(row) = row else { continue };
        copy.take(row).map_err(|why| anyhow!("the manager sent a row that is none: {why}"))?;
    }
    let (id, cluster) = copy.whole()?;
    write_whole(file, id, &cluster, args.force).map_err(anyhow::Error::new)?;
    console.line(&format!("{}: {}", file.display(), counts(&cluster)))
}

/// What has come so far.
#[derive(Default)]
struct Copy {
    id: Option<ClusterId>,
    cluster: Cluster,
    rows: u64,
    whole: bool,
}

impl Copy {
    fn take(&mut self, row: Row) -> Result<(), Invalid> {
        let change = match row {
            Row::Meta(pb::MetaRow { schema: _, revision, cluster_id }) => {
                self.id = Some(parsed("cluster_id", &cluster_id)?);
                self.cluster.revision = revision;
                self.rows += 1;
                return Ok(());
            }
            Row::End(count) => {
                self.whole = count == self.rows;
                return Ok(());
            }
            Row::Service(row) => Change::PutService(Box::new(Service::try_from(row)?)),
            Row::Task(row) => Change::PutTask(Box::new(Task::try_from(row)?)),
            Row::Health(pb::BackupHealth { task_id, row }) => {
                let health: TaskHealth = required("row", row)?;
                Change::PutHealth(parsed("task_id", &task_id)?, Box::new(health))
            }
            Row::Node(row) => Change::PutNode(Box::new(Node::try_from(row)?)),
            Row::Restraint(row) => Change::PutRestraint(Box::new(Restraint::try_from(row)?)),
            Row::Event(row) => Change::PutEvent(Box::new(Event::try_from(row)?)),
        };
        self.cluster.apply(&change);
        self.rows += 1;
        Ok(())
    }

    fn whole(self) -> Result<(ClusterId, Cluster), Failure> {
        match self.id.filter(|_| self.whole) {
            Some(id) => Ok((id, self.cluster)),
            None => Err(Failure::Refused(
                "the manager did not send all of its rows, so nothing is written: try again, with \
                 the version of warren that it runs"
                    .to_owned(),
            )),
        }
    }
}

pub fn restore(args: &RestoreArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let found = read(&args.file)?;
    let contradictions = tell(&args.file, &found, console)?;
    if contradictions > 0 && !args.force {
        return Err(Failure::Refused(format!(
            "{} is not restored, because its rows contradict each other; --force restores it all \
             the same",
            args.file.display()
        )));
    }
    let directory = data_dir(args.data_dir.as_deref())?;
    let target = directory.join(warren_manager::DATABASE);
    let here = target.display();
    crate::run::make_data_dir(&directory)?;
    if fs::symlink_metadata(&target).is_ok() {
        if let Err(fault @ warren_manager::OpenFault::InUse { .. }) = inspect(&target) {
            return Err(Failure::Conflict(fault.to_string()));
        }
        if !args.force {
            let why = "is there already; --force keeps it beside the restored one";
            return Err(Failure::Conflict(format!("{here} {why}")));
        }
        let kept = aside(&target);
        fs::rename(&target, &kept).with_context(|| format!("cannot move {here} away"))?;
        console.line(&format!("{here} is kept as {}", kept.display()))?;
    }
    write_whole(&target, found.cluster_id, &found.cluster, false).map_err(anyhow::Error::new)?;
    console.line(&format!("{here} is restored"))
}

/// A name beside it that nothing has.
fn aside(target: &Path) -> PathBuf {
    let name = |number: u32| target.with_extension(format!("redb.replaced-{number}"));
    let free = |path: &PathBuf| fs::symlink_metadata(path).is_err();
    (1..10_000).map(name).find(free).unwrap_or_else(|| name(0))
}

pub fn check(args: &CheckArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let file = match &args.file {
        Some(file) => file.clone(),
        None => data_dir(args.data_dir.as_deref())?.join(warren_manager::DATABASE),
    };
    let found = read(&file)?;
    match tell(&file, &found, console)? {
        0 => Ok(()),
        count => Err(Failure::Refused(format!("{count} rows contradict each other"))),
    }
}

fn data_dir(told: Option<&Path>) -> Result<PathBuf, Failure> {
    Ok(told.map_or_else(paths::default_data_dir, |dir| Ok(dir.to_owned()))?)
}

fn read(file: &Path) -> Result<Inspection, Failure> {
    if fs::symlink_metadata(file).is_err() {
        return Err(Failure::NotFound(format!("there is no file {}", file.display())));
    }
    Ok(inspect(file).map_err(anyhow::Error::new)?)
}

/// Says what is in it, and how many contradictions there are.
fn tell(file: &Path, found: &Inspection, console: &mut Console<'_>) -> Result<usize, Failure> {
    let Inspection { schema, cluster_id, cluster } = found;
    console.line(&format!("{}: every page and every row can be read", file.display()))?;
    console.line(&format!(
        "cluster {cluster_id}, schema {schema}, revision {}: {}",
        cluster.revision,
        counts(cluster)
    ))?;
    let broken = violations(cluster, console.now());
    for violation in broken.iter().take(TOLD_MAX) {
        console.line(&violation.to_string())?;
    }
    if broken.len() > TOLD_MAX {
        console.line(&format!("and {} more", broken.len() - TOLD_MAX))?;
    }
    Ok(broken.len())
}

fn counts(cluster: &Cluster) -> String {
    format!(
        "{} services, {} tasks, {} of them with health, {} nodes, {} events",
        cluster.services().count(),
        cluster.tasks().count(),
        cluster.tasks().filter(|task| cluster.health(task.id).is_some()).count(),
        cluster.nodes().count(),
        cluster.events().count(),
    )
}
