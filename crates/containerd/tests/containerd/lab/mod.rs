//! A private containerd, and what a test does with it. Takes everything away at its end.

pub mod archive;
mod machine;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Uid,
};
use tempfile::TempDir;
use warren_containerd::{CniConfig, Config, Containerd};
use warren_core::{
    check::{self},
    id::{NodeId, ServiceId, TaskId},
    spec::{Network, Pull, TaskTemplate, Workload},
};
use warren_runtime::{ExecEnd, Launch, Running, Runtime};

pub use machine::{cgroups, files_below, free_port, leftover_processes};

pub const BUSYBOX: &str = "docker.io/library/box:1";
const PLUGINS: &str = "/usr/lib/cni";
const INIT: &str = "/usr/bin/tini-static";

pub struct Lab {
    dir: Dir,
    /// Of a lab in another process there is none.
    containerd: Mutex<Option<Child>>,
    pub node: NodeId,
    pub bridge: String,
    subnet: String,
    tasks: Mutex<BTreeSet<TaskId>>,
}

enum Dir {
    Own(TempDir),
    Parents(PathBuf),
}

impl Dir {
    fn path(&self) -> &Path {
        match self {
            Self::Own(dir) => dir.path(),
            Self::Parents(dir) => dir,
        }
    }
}

/// A number that no other lab has, in this process or another.
fn serial() -> u64 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    (u64::from(std::process::id()) << 16) | u64::from(count)
}

impl Lab {
    /// `None`, said aloud, where something is missing.
    pub async fn start() -> Option<Self> {
        let needed =
            ["/usr/bin/containerd", "/usr/sbin/runc", "/bin/busybox", "/usr/lib/cni/bridge", INIT];
        let missing = needed.iter().find(|path| !Path::new(path).exists());
        if !Uid::effective().is_root() || missing.is_some() {
            eprintln!(
                "SKIPPED: needs root, containerd, runc, busybox-static, tini and the CNI plugins"
            );
            return None;
        }
        let serial = serial();
        let dir = tempfile::Builder::new().prefix("wct").tempdir().unwrap();
        write_config(dir.path());
        write_logger(&dir.path().join("logger"));
        let lab = Self {
            containerd: Mutex::new(Some(spawn(dir.path()))),
            dir: Dir::Own(dir),
            node: NodeId::from_u64(serial),
            bridge: format!("wt{:x}", serial & 0xff_ffff_ffff),
            subnet: format!("10.{}.{}.0/24", 100 + (serial >> 16) % 100, serial % 250),
            tasks: Mutex::default(),
        };
        lab.answers().await;
        Some(lab)
    }

    /// What a process of its own needs to know of this lab, and of tasks in it.
    pub fn for_child(&self, tasks: &[TaskId]) -> String {
        let dir = self.dir.path().display();
        let tasks: Vec<String> = tasks.iter().map(ToString::to_string).collect();
        format!("{dir} {} {} {} {}", self.node, self.bridge, self.subnet, tasks.join(" "))
    }

    /// The same lab in another process, which leaves it as it is.
    pub fn of_parent(told: &str) -> (Self, Vec<TaskId>) {
        let told: Vec<&str> = told.split(' ').collect();
        let [dir, node, bridge, subnet, tasks @ ..] = &told[..] else { panic!("{told:?}") };
        let lab = Self {
            containerd: Mutex::default(),
            dir: Dir::Parents(dir.into()),
            node: node.parse().unwrap(),
            bridge: (*bridge).to_owned(),
            subnet: (*subnet).to_owned(),
            tasks: Mutex::default(),
        };
        (lab, tasks.iter().map(|task| task.parse().unwrap()).collect())
    }

    /// With the image that most tests run.
    pub async fn with_image() -> Option<(Self, Containerd)> {
        static ARCHIVE: OnceLock<Vec<u8>> = OnceLock::new();
        let lab = Self::start().await?;
        let driver = lab.connect().await;
        let archive =
            ARCHIVE.get_or_init(|| archive::oci(BUSYBOX, &serde_json::json!({ "Cmd": ["sh"] })));
        lab.import(&driver, archive).await;
        Some((lab, driver))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn config(&self) -> Config {
        Config {
            socket: self.path("c.sock"),
            namespace: "warren".to_owned(),
            node: self.node,
            state_dir: self.path("state"),
            log_dir: self.path("log"),
            logger: self.path("logger"),
            cni: Some(CniConfig {
                plugin_dir: PLUGINS.into(),
                bridge: self.bridge.clone(),
                subnet: self.subnet.clone(),
                cache_dir: self.path("cni"),
            }),
            snapshotter: None,
            init: INIT.into(),
        }
    }

    pub async fn connect(&self) -> Containerd {
        Containerd::connect(self.config()).await.unwrap()
    }

    pub async fn import(&self, driver: &Containerd, archive: &[u8]) {
        let path = self.path("image.tar");
        fs::write(&path, archive).unwrap();
        driver.import(path).await.unwrap();
    }

    pub fn kill_containerd(&self) {
        if let Some(mut containerd) = self.containerd.lock().unwrap().take() {
            containerd.kill().unwrap();
            containerd.wait().unwrap();
        }
    }

    pub fn start_containerd(&self) {
        *self.containerd.lock().unwrap() = Some(spawn(self.dir.path()));
    }

    /// All that ends with a machine's power ends.
    pub fn reboot(&self) {
        self.kill_containerd();
        self.end_processes();
        self.unmount();
        drop(fs::remove_dir_all(self.path("run")));
        self.forget_rules();
        self.start_containerd();
    }

    /// The packet filter's rules for this lab's bridge.
    fn forget_rules(&self) {
        let rules = Command::new("iptables-save").args(["-t", "nat"]).output().unwrap().stdout;
        let rules = String::from_utf8(rules).unwrap();
        let ours = |rule: &&str| rule.starts_with("-A POSTROUTING") && rule.contains(&self.bridge);
        for rule in rules.lines().filter(ours) {
            let (_, chain) = rule.rsplit_once("-j ").unwrap();
            let rule = rule.replacen("-A", "-D", 1);
            let delete = format!(
                "iptables -w -t nat {rule}; iptables -w -t nat -F {chain}; \
                 iptables -w -t nat -X {chain}"
            );
            assert!(Command::new("sh").args(["-c", &delete]).status().unwrap().success());
        }
    }

    /// As far as it can be done: what is left of a test that failed is not the next one's matter.
    fn delete_tasks(&self) {
        let config = self.config();
        let tasks = self.tasks.lock().unwrap().clone();
        let work = async move {
            let Ok(driver) = Containerd::connect(config).await else { return };
            for task in tasks {
                drop(driver.delete(task).await);
            }
        };
        // Not within the test's own runtime, which must not be blocked.
        let thread = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(work);
        });
        drop(thread.join());
    }

    fn end_processes(&self) {
        // A shim may be on its way to start another process: until there is none.
        for _ in 0..100 {
            let left = leftover_processes(&self.path("c.sock"));
            if left.is_empty() {
                break;
            }
            // One that has ended meanwhile is as good.
            for pid in left {
                kill(pid, Signal::SIGKILL).unwrap_or_default();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn unmount(&self) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let paths = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        let ours = paths.filter(|path| Path::new(path).starts_with(self.dir.path()));
        for path in ours.collect::<Vec<_>>().into_iter().rev() {
            umount2(path, MntFlags::MNT_DETACH).unwrap_or_default();
        }
    }

    async fn answers(&self) {
        eventually("containerd answers", async || {
            Containerd::connect(self.config()).await.is_ok_and(|_| true)
        })
        .await;
    }

    pub fn launch(&self, change: impl FnOnce(&mut TaskTemplate)) -> Launch {
        let mut template = template();
        change(&mut template);
        let task = TaskId::from_u64(serial());
        self.tasks.lock().unwrap().insert(task);
        Launch {
            task,
            service: ServiceId::from_u64(7),
            service_name: "web".parse().unwrap(),
            slot: 3,
            template: Arc::new(template),
        }
    }

    /// A task that runs.
    pub async fn run(
        &self,
        driver: &Containerd,
        change: impl FnOnce(&mut TaskTemplate),
    ) -> (TaskId, Running) {
        let launch = self.launch(change);
        driver.create(&launch).await.unwrap();
        (launch.task, driver.start(launch.task).await.unwrap())
    }

    /// Runs containerd's own client.
    pub fn ctr(&self, args: &[&str]) -> String {
        let mut ctr = Command::new("ctr");
        ctr.arg("-a").arg(self.path("c.sock")).args(["-n", "warren"]).args(args);
        let output = ctr.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn log(&self, task: TaskId) -> String {
        fs::read_to_string(self.path("log").join(format!("{task}.log"))).unwrap_or_default()
    }
}

/// A shell that waits.
fn template() -> TaskTemplate {
    TaskTemplate {
        args: words("sleep 600"),
        network: Network::None,
        ..TaskTemplate::new(image(BUSYBOX))
    }
}

pub fn image(name: &str) -> Workload {
    Workload::Image { image: name.parse().unwrap(), pull: Pull::Never, command: Vec::new() }
}

pub fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

pub fn script(text: &str) -> Vec<String> {
    ["sh", "-c", text].map(str::to_owned).to_vec()
}

/// To be run beside a task.
pub fn command(text: &str) -> check::Command {
    check::Command::argv(words(text)).unwrap()
}

pub fn shell(text: &str) -> check::Command {
    check::Command::shell(text).unwrap()
}

/// What a command in the task prints.
pub async fn output(driver: &Containerd, task: TaskId, text: &str) -> String {
    let limit = Duration::from_secs(20);
    let end = driver.exec(task, &shell(text), None, limit).await.unwrap();
    let ExecEnd::Exited { code: 0, output } = end else { panic!("{text:?} gave {end:?}") };
    output.shown.trim().to_owned()
}

/// Waits until something is so.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so().await {
        assert!(Instant::now() < deadline, "it never came to be that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn write_config(dir: &Path) {
    let shown = dir.display();
    let text = format!(
        "version = 2\n\
         root = \"{shown}/root\"\n\
         state = \"{shown}/run\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\n\
         address = \"{shown}/c.sock\"\n\
         [ttrpc]\n\
         address = \"{shown}/c.sock.ttrpc\"\n"
    );
    fs::write(dir.join("config.toml"), text).unwrap();
}

/// The least that the shim expects of a logger.
fn write_logger(path: &Path) {
    let script = "#!/bin/busybox sh\n\
        [ \"$1\" = task-logger ] || exit 2\n\
        exec 5>&-\n\
        /bin/busybox cat <&3 >>\"$2\" &\n\
        /bin/busybox cat <&4 >>\"$2\"\n\
        wait\n";
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn spawn(dir: &Path) -> Child {
    let log = fs::File::options().create(true).append(true).open(dir.join("containerd.log"));
    Command::new("containerd")
        .arg("-c")
        .arg(dir.join("config.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.unwrap())
        .spawn()
        .unwrap()
}

impl Drop for Lab {
    fn drop(&mut self) {
        if matches!(self.dir, Dir::Parents(_)) {
            return;
        }
        if std::thread::panicking() && std::env::var_os("LAB_LOG").is_some() {
            eprintln!("{}", fs::read_to_string(self.path("containerd.log")).unwrap_or_default());
        }
        self.delete_tasks();
        self.kill_containerd();
        self.end_processes();
        self.unmount();
        let mut ip = Command::new("ip");
        drop(ip.args(["link", "delete", &self.bridge]).stderr(Stdio::null()).status());
        for task in self.tasks.lock().unwrap().iter() {
            for group in cgroups(*task) {
                drop(fs::remove_dir(group));
            }
        }
    }
}
