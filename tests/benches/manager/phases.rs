//! What is done to the manager, one after the other, and what it takes.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::sleep};
use tonic::transport::{Channel, Endpoint};
use warren_proto::v1::{
    self as pb, health_api_client::HealthApiClient, services_client::ServicesClient,
    tasks_client::TasksClient,
};

use crate::{
    Options,
    disk::Disk,
    manager::Process,
    numbers::{Samples, as_f64, row},
    reconcile,
    tasks::{PER_SERVICE, service_name, spec},
    workers::{Fleet, Order},
};

/// Of replacements, so that the cluster's pace of ten in a second holds none.
const PACE: Duration = Duration::from_millis(120);
/// What was said before is done by then.
const SETTLES: Duration = Duration::from_secs(2);
/// Between two pages that a person looks at.
const LOOK: Duration = Duration::from_millis(20);

pub fn run(options: Options) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(options));
}

async fn measure(options: Options) {
    let Options { tasks, sessions, .. } = options;
    // On a disk, which a temporary directory may not be.
    let dir = tempfile::tempdir_in(PathBuf::from(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    println!("{tasks} tasks in services of {PER_SERVICE} on {sessions} sessions\n");

    let manager = Process::start(dir.path(), 0);
    let address = manager.address;
    let fleet = Fleet::start(address, sessions);
    fleet.sessions(sessions).await;
    let api = Api::connect(&manager.socket).await;
    let mut json = vec![("tasks", tasks.to_string()), ("sessions", sessions.to_string())];
    sleep(SETTLES).await;
    let empty = manager.resident_bytes();
    fill(&fleet, &api, tasks).await;
    sleep(SETTLES).await;
    rest(&manager, &api, options.seconds, &mut json).await;
    memory(&manager, empty, tasks, &mut json);
    let disk = Disk::new(dir.path());
    decide(&fleet, &disk, tasks / PER_SERVICE, options.decisions, &mut json).await;
    burst(&manager, &fleet, options, &mut json).await;
    row("memory after them, MiB", &(manager.resident_bytes() >> 20).to_string());
    sleep(Duration::from_secs(options.seconds)).await;
    row("and some seconds later, MiB", &(manager.resident_bytes() >> 20).to_string());
    manager.kill();
    restart(dir.path(), address, &fleet, &mut json).await;

    println!();
    let costs = reconcile::measure(tasks);
    reconcile::show(&costs);
    let costs: Vec<String> =
        costs.iter().map(|cost| format!("\"{}\":{:.0}", cost.tasks, cost.dirty_us)).collect();
    json.push(("reconcile_us", format!("{{{}}}", costs.join(","))));
    let json: Vec<String> = json.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    println!("\n{{{}}}", json.join(","));
}

type Json = Vec<(&'static str, String)>;

/// From nothing to all tasks healthy.
async fn fill(fleet: &Fleet, api: &Api, tasks: usize) {
    let begun = Instant::now();
    for number in 0..tasks / PER_SERVICE {
        api.create(number).await;
    }
    fleet.acked(tasks).await;
    row("tasks created, placed, reported healthy, durable /s", &rate(tasks, begun.elapsed()));
}

/// What the tasks have added to that of the open sessions, all else of the manager included: its
/// history, and the pages of its database that it keeps.
fn memory(manager: &Process, empty: u64, tasks: usize, json: &mut Json) {
    let bytes = manager.resident_bytes().saturating_sub(empty) / tasks as u64;
    row("memory, bytes per task", &bytes.to_string());
    row("memory of the process, MiB", &(manager.resident_bytes() >> 20).to_string());
    json.push(("bytes_per_task", bytes.to_string()));
}

async fn rest(manager: &Process, api: &Api, seconds: u64, json: &mut Json) {
    let (cpu, revision) = (manager.cpu(), api.revision().await);
    sleep(Duration::from_secs(seconds)).await;
    let core = manager.cpu().saturating_sub(cpu).as_secs_f64() / as_f64(seconds) * 100.0;
    let commits = as_f64(api.revision().await - revision) / as_f64(seconds);
    row("steady state: commits/s", &format!("{commits:.2}"));
    row("steady state: heartbeats, % of a core", &format!("{core:.1}"));
    json.push(("steady_commits_per_s", format!("{commits:.2}")));
    json.push(("steady_core_percent", format!("{core:.1}")));
}

/// Killed, as a crash would, and started again.
async fn restart(dir: &Path, address: SocketAddr, fleet: &Fleet, json: &mut Json) {
    let begun = Instant::now();
    let manager = Process::start(dir, address.port());
    let api = Api::connect(&manager.socket).await;
    api.page(0).await;
    let restart_ms = begun.elapsed().as_millis();
    row("killed, then started: the API answers after, ms", &restart_ms.to_string());
    row("of it, to open the database and read it, ms", &manager.opened_ms.to_string());
    fleet.sessions(fleet.size()).await;
    row("and all sessions are back after, ms", &begun.elapsed().as_millis().to_string());
    json.push(("restart_ms", restart_ms.to_string()));
}

fn rate(count: usize, took: Duration) -> String {
    format!("{:.0}", as_f64(count as u64) / took.as_secs_f64())
}

/// Tasks end by themselves, one after the other and each in another slot: until a worker has the
/// successor. And between them, what the disk takes of it.
async fn decide(fleet: &Fleet, disk: &Disk, services: usize, count: usize, json: &mut Json) {
    let (mut samples, mut bare) = (Samples::default(), Samples::default());
    let mut given = fleet.seen.given.subscribe();
    for number in 0..count.min(2 * services) {
        let slot = u32::try_from(1 + number / services).unwrap();
        let place = (service_name(number % services), slot);
        let victim = fleet.seen.slots.lock().unwrap()[&place].clone();
        given.mark_unchanged();
        fleet.order(victim.worker, Order::End(victim.task)).await;
        let successor = loop {
            given.changed().await.unwrap();
            let now = fleet.seen.slots.lock().unwrap()[&place].clone();
            if now.task != victim.task {
                break now;
            }
        };
        let ended_at = fleet.seen.ended_at.lock().unwrap().unwrap();
        samples.add(successor.at.saturating_duration_since(ended_at));
        sleep(PACE / 2).await;
        bare.add(tokio::task::block_in_place(|| disk.sync(number)));
        sleep(PACE / 2).await;
    }
    let [p50, p99] = [0.5, 0.99].map(|part| samples.quantile_ms(part));
    row("end reported -> successor with its worker, p50 ms", &format!("{p50:.2}"));
    row(&format!("likewise, p99 ms, of {}", samples.len()), &format!("{p99:.2}"));
    json.push(("decision_p99_ms", format!("{p99:.2}")));
    let [p50, p99] = [0.5, 0.99].map(|part| bare.quantile_ms(part));
    row("in between, this disk's bare sync of as many pages, p50 ms", &format!("{p50:.2}"));
    row("likewise, p99 ms", &format!("{p99:.2}"));
    json.push(("bare_sync_p99_ms", format!("{p99:.2}")));
}

/// Every task loses its traffic, or gets it back, all at once; and somebody looks.
async fn burst(manager: &Process, fleet: &Fleet, options: Options, json: &mut Json) {
    let Options { tasks, rounds, .. } = options;
    let (done, is_done) = watch::channel(false);
    let (socket, services) = (manager.socket.clone(), tasks / PER_SERVICE);
    let looks = thread::spawn(move || look(&socket, services, &is_done));
    let (mut took, cpu) = (Duration::ZERO, manager.cpu());
    for round in 0..rounds {
        let before = *fleet.seen.acked.borrow();
        let begun = Instant::now();
        fleet.order_all(Order::Ready(round % 2 == 1)).await;
        fleet.acked(before + tasks).await;
        let this = begun.elapsed();
        row(&format!("burst {}: changes/s", round + 1), &rate(tasks, this));
        took += this;
    }
    let cpu = manager.cpu().saturating_sub(cpu).as_secs_f64() * 1e6;
    done.send_replace(true);
    let pages = looks.join().unwrap();
    let changes = as_f64((tasks * rounds) as u64);
    let per_s = changes / took.as_secs_f64();
    row("bursts: health changes durable and acknowledged /s", &format!("{per_s:.0}"));
    row("of the manager's CPU for each, µs", &format!("{:.1}", cpu / changes));
    let [p50, p99] = [0.5, 0.99].map(|part| pages.quantile_ms(part));
    row("meanwhile, task ls of a service, p50 ms", &format!("{p50:.2}"));
    row(&format!("likewise, p99 ms, of {}", pages.len()), &format!("{p99:.2}"));
    json.push(("durable_changes_per_s", format!("{per_s:.0}")));
    json.push(("cpu_us_per_change", format!("{:.1}", cpu / changes)));
    json.push(("task_ls_p99_ms", format!("{p99:.2}")));
}

/// Beside the workers, whose own turns a person does not wait for.
fn look(socket: &Path, services: usize, done: &watch::Receiver<bool>) -> Samples {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let api = Api::connect(socket).await;
        let mut samples = Samples::default();
        let mut number = 0;
        while !*done.borrow() {
            number = (number + 7) % services;
            let begun = Instant::now();
            api.page(number).await;
            samples.add(begun.elapsed());
            sleep(LOOK).await;
        }
        samples
    })
}

/// As a person's commands use it.
#[derive(Clone)]
struct Api(Channel);

impl Api {
    async fn connect(socket: &Path) -> Self {
        let address = format!("unix://{}", socket.display());
        Self(Endpoint::from_shared(address).unwrap().connect().await.unwrap())
    }

    async fn create(&self, number: usize) {
        let spec = Some((&spec(number)).into());
        let request = pb::CreateServiceRequest { spec };
        ServicesClient::new(self.0.clone()).create(request).await.unwrap();
    }

    /// What `warren task ls SERVICE` asks.
    async fn page(&self, number: usize) {
        let request = pb::ListTasksRequest { service: service_name(number), all: false };
        let tasks = TasksClient::new(self.0.clone()).list(request).await.unwrap();
        assert!(tasks.into_inner().tasks.len() >= PER_SERVICE);
    }

    /// Of the last commit.
    async fn revision(&self) -> u64 {
        let request = pb::ListHealthRequest { service: service_name(0) };
        HealthApiClient::new(self.0.clone())
            .list_health(request)
            .await
            .unwrap()
            .into_inner()
            .revision
    }
}
