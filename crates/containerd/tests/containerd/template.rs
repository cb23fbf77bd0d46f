//! Every field of a template is found in the running task.

use std::{fs, path::Path, time::Duration};

use warren_core::bounds::Port;
use warren_core::{
    check::HealthConfig,
    spec::{
        AbsolutePath, CpuMillis, EnvVar, Hostname, MemoryBytes, Mount, MountKind, Network,
        Protocol, Publish, StopSignal, TaskTemplate, User, Workload,
    },
};
use warren_runtime::{Launch, Runtime, RuntimeError};

use crate::lab::{BUSYBOX, Lab, archive, cgroups, eventually, free_port, output, script, words};

fn path(text: &str) -> AbsolutePath {
    AbsolutePath::new(text).unwrap()
}

fn bind(lab: &Lab, name: &str, read_only: bool) -> Mount {
    let source = lab.path(name);
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("file"), name).unwrap();
    let kind = MountKind::Bind { source: path(source.to_str().unwrap()) };
    Mount { target: path(&format!("/mnt/{name}")), read_only, kind }
}

fn everything(lab: &Lab, host_port: u16) -> Launch {
    let mounts = vec![
        Mount { target: path("/mnt/scratch"), read_only: false, kind: MountKind::Tmpfs },
        bind(lab, "readable", true),
        bind(lab, "writable", false),
    ];
    let everything = TaskTemplate {
        workload: Workload::Image {
            image: BUSYBOX.parse().unwrap(),
            pull: warren_core::spec::Pull::Never,
            command: words("sh -c"),
        },
        args: vec!["echo \"$0 in $(pwd)\"; exec httpd -f -p 8080".to_owned(), "zero".to_owned()],
        env: vec![EnvVar::new("COLOUR", "deep = blue").unwrap(), EnvVar::new("EMPTY", "").unwrap()],
        user: Some(User::new("app").unwrap()),
        workdir: Some(path("/srv/made/for/it")),
        hostname: Some(Hostname::new("hal.example").unwrap()),
        mounts,
        cpu_millis: Some(CpuMillis::new(250).unwrap()),
        memory_bytes: Some(MemoryBytes::new(64 << 20).unwrap()),
        stop_signal: Some("SIGUSR1".parse().unwrap()),
        stop_grace_period: TaskTemplate::DEFAULT_STOP_GRACE,
        network: Network::Bridge,
        publish: vec![Publish {
            host_port: Port::new(host_port.into()).unwrap(),
            task_port: Port::new(8080).unwrap(),
            protocol: Protocol::Tcp,
        }],
        health: HealthConfig::Disabled,
        ports: Vec::new(),
        init: true,
    };
    lab.launch(|template| *template = everything)
}

/// Taken apart totally: a new field does not compile until it is looked for here.
#[tokio::test(flavor = "multi_thread")]
async fn a_template_reaches_its_task_in_full() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let host_port = free_port();
    let launch = everything(&lab, host_port);
    let task = launch.task;
    driver.create(&launch).await.unwrap();
    let init = driver.start(task).await.unwrap().pid;
    let TaskTemplate {
        workload: _,
        args: _,
        env: _,
        user: _,
        workdir: _,
        hostname: _,
        mounts: _,
        cpu_millis: _,
        memory_bytes: _,
        // The worker signals and waits.
        stop_signal: _,
        stop_grace_period: _,
        network: _,
        publish: _,
        // The worker looks.
        health: _,
        // And for the checks alone.
        ports: _,
        init: _,
    } = &*launch.template;
    let text = async |command: &str| output(&driver, task, command).await;

    eventually("it logs", async || lab.log(task) == "zero in /srv/made/for/it\n").await;
    processes(init, text).await;
    let env = text("tr '\\0' '\\n' </proc/1/environ").await;
    for variable in ["COLOUR=deep = blue", "EMPTY=", "HOSTNAME=hal.example"] {
        assert!(env.lines().any(|line| line == variable), "{variable} is not in\n{env}");
    }
    assert!(env.lines().any(|line| line.starts_with("PATH=/usr/local/sbin:")), "{env}");
    assert_eq!(text("id -u; id -g; id -G").await, "1000\n1001\n1001 50 51");
    assert_eq!(text("pwd; readlink /proc/1/cwd").await, "/srv/made/for/it\n/srv/made/for/it");
    assert_eq!(text("hostname; cat /etc/hostname").await, "hal.example\nhal.example");
    mounts(&lab, text).await;
    limits(task);
    security(text).await;
    let url = format!("http://127.0.0.1:{host_port}/");
    let response = tokio::process::Command::new("/bin/busybox")
        .args(["wget", "-S", "-O", "-", &url])
        .output()
        .await
        .unwrap();
    let response = String::from_utf8_lossy(&response.stderr).into_owned();
    assert!(response.contains("HTTP/1.0 404") || response.contains("HTTP/1.1 404"), "{response}");
}

async fn processes(init: u32, text: impl AsyncFn(&str) -> String) {
    let first = text("tr '\\0' ' ' </proc/1/cmdline").await;
    assert!(first.starts_with("/dev/warren-init -- sh -c echo "), "{first}");
    eventually("it has become what it runs", async || {
        let children = fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap();
        let program = fs::read(format!("/proc/{}/cmdline", children.trim())).unwrap_or_default();
        program == b"httpd\0-f\0-p\08080\0"
    })
    .await;
}

async fn mounts(lab: &Lab, text: impl AsyncFn(&str) -> String) {
    assert_eq!(text("cat /mnt/readable/file /mnt/writable/file").await, "readablewritable");
    let refused = text("touch /mnt/readable/new 2>&1 || echo no").await;
    assert!(refused.contains("Read-only file system"), "{refused}");
    fs::set_permissions(lab.path("writable"), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .unwrap();
    text("echo mine >/mnt/writable/new").await;
    assert_eq!(fs::read_to_string(lab.path("writable/new")).unwrap(), "mine\n");
    text("echo soon gone >/mnt/scratch/new").await;
    let scratch = text("grep ' /mnt/scratch ' /proc/mounts").await;
    assert!(scratch.starts_with("tmpfs ") && scratch.contains("noexec"), "{scratch}");
    let shm = text("grep ' /dev/shm ' /proc/mounts").await;
    assert!(shm.contains("size=65536k"), "{shm}");
    assert_eq!(text("ls /dev/null /dev/pts/ptmx /dev/mqueue >/dev/null; echo $?").await, "0");
    assert!(text("touch /sys/x 2>&1 || :").await.contains("Read-only"));
}

fn limits(task: warren_core::id::TaskId) {
    let groups = cgroups(task);
    let limit = |file: &str| {
        let file = groups.iter().map(|group| group.join(file)).find(|path| path.exists());
        file.map(|path| fs::read_to_string(path).unwrap().trim().to_owned())
    };
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        assert_eq!(limit("cpu.max").as_deref(), Some("25000 100000"));
        assert_eq!(limit("memory.max").as_deref(), Some("67108864"));
        assert!(limit("memory.swap.max").is_none_or(|limit| limit == "0"));
    } else {
        assert_eq!(limit("cpu.cfs_quota_us").as_deref(), Some("25000"));
        assert_eq!(limit("cpu.cfs_period_us").as_deref(), Some("100000"));
        assert_eq!(limit("memory.limit_in_bytes").as_deref(), Some("67108864"));
        assert!(limit("memory.memsw.limit_in_bytes").is_none_or(|limit| limit == "67108864"));
    }
    assert_eq!(limit("pids.max").as_deref(), Some("16384"));
}

async fn security(text: impl AsyncFn(&str) -> String) {
    let status = text("cat /proc/1/status").await;
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    // docker's fourteen.
    assert!(status.contains("CapBnd:\t00000000a80425fb"), "{status}");
    assert!(status.contains("CapEff:\t0000000000000000"), "not root's\n{status}");
    let masked = text("grep -c -e ' /proc/keys ' -e ' /sys/firmware ' /proc/mounts").await;
    assert_ne!(masked, "0");
    assert!(text("echo 1 2>&1 >/proc/sys/kernel/domainname || :").await.contains("Read-only"));
    assert_eq!(text("cat /proc/1/oom_score_adj").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_word_from_the_template_the_images_counts() {
    let Some(lab) = Lab::start().await else { return };
    let driver = lab.connect().await;
    let config = serde_json::json!({
        "Entrypoint": ["sh", "-c"],
        "Cmd": ["exec sleep 600"],
        "Env": ["PATH=/bin", "FROM=image", "BOTH=image"],
        "User": "app:data",
        "WorkingDir": "/tmp/work",
    });
    lab.import(&driver, &archive::oci(BUSYBOX, &config)).await;
    let (task, _) = lab
        .run(&driver, |template| {
            template.args = Vec::new();
            template.env = vec![EnvVar::new("BOTH", "template").unwrap()];
        })
        .await;
    let text = async |command: &str| output(&driver, task, command).await;
    assert_eq!(text("tr '\\0' ' ' </proc/1/cmdline").await, "sleep 600");
    let env = text("tr '\\0' '\\n' </proc/1/environ").await;
    // The rest is the shell's and runc's.
    let ours = |line: &&str| {
        ["BOTH", "FROM", "HOSTNAME", "PATH"].contains(&line.split_once('=').unwrap().0)
    };
    let mut env: Vec<&str> = env.lines().filter(ours).collect();
    env.sort_unstable();
    assert_eq!(env, ["BOTH=template", "FROM=image", "HOSTNAME=web-3", "PATH=/bin"]);
    assert_eq!(text("id -u; id -G; pwd").await, "1000\n50\n/tmp/work");
    assert_eq!(text("hostname; grep web-3 /etc/hosts").await, "web-3\n127.0.0.1\tweb-3");
}

#[tokio::test(flavor = "multi_thread")]
async fn root_has_dockers_capabilities() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, _) = lab.run(&driver, |_| {}).await;
    let status = output(&driver, task, "cat /proc/1/status").await;
    assert!(status.contains("CapEff:\t00000000a80425fb"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounts_source_must_be_there() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let launch = lab.launch(|template| {
        let kind = MountKind::Bind { source: path("/no/such/place") };
        template.mounts = vec![Mount { target: path("/mnt"), read_only: true, kind }];
    });
    let error = driver.create(&launch).await.unwrap_err();
    let RuntimeError::Refused(reason) = error else { panic!("{error}") };
    assert!(reason.contains("/no/such/place"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_reaches_all_processes_and_other_signals_the_first() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, _) = lab
        .run(&driver, |template| {
            template.args =
                script("trap 'echo got it' USR1; echo ready; sleep 600 & while :; do wait; done");
        })
        .await;
    eventually("it is ready", async || lab.log(task).contains("ready")).await;
    driver.signal(task, "USR1".parse().unwrap()).await.unwrap();
    eventually("it has seen the signal", async || lab.log(task).contains("got it")).await;
    driver.signal(task, StopSignal::KILL).await.unwrap();
    let exit = tokio::time::timeout(Duration::from_secs(10), driver.wait(task)).await.unwrap();
    assert_eq!(exit.unwrap().code, Some(137));
}
