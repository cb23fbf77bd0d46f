//! From create to delete, and what a later worker finds.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use warren_core::{
    id::NodeId,
    spec::{AbsolutePath, EnvVar, Pull, StopSignal, TaskTemplate, User, Workload},
};
use warren_runtime::{
    FoundState, Launch, Runtime, RuntimeError,
    process::{ProcessConfig, ProcessDriver},
};

use crate::support::{
    Bench, command, is_root, kill9, own_program, shell, stat, template, trials, until, words,
};

trials!(
    a_task_goes_from_created_to_running_to_exited_to_gone,
    exit_codes_and_signals_are_told_apart,
    an_exit_is_noticed_at_once,
    what_cannot_run_is_refused_at_once_and_says_why,
    a_task_has_its_own_environment_and_directory,
    a_task_runs_as_its_user,
    a_later_driver_adopts_what_runs,
    tasks_outlive_a_worker_that_is_killed,
    another_nodes_tasks_are_not_listed,
    tasks_on_one_port_are_told_apart_by_their_addresses,
    orphans_of_a_task_are_not_left_as_zombies,
    the_driver_says_what_it_is,
);

async fn a_task_goes_from_created_to_running_to_exited_to_gone() {
    let bench = Bench::new();
    let driver = bench.driver();
    let launch = shell("echo out; echo err >&2; read x < $WAIT; exit 7");
    let pipe = bench.root.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let launch = with(launch, |t| {
        t.env = vec![EnvVar::new("WAIT", pipe.to_str().unwrap()).unwrap()];
    });
    let task = launch.task;
    let state = async || driver.list().await.unwrap().pop().map(|found| found.state);

    assert_eq!(state().await, None);
    driver.create(&launch).await.unwrap();
    driver.create(&launch).await.unwrap();
    assert_eq!(state().await, Some(FoundState::Created));
    let running = driver.start(task).await.unwrap();
    assert_eq!(driver.start(task).await.unwrap(), running);
    assert_eq!(state().await, Some(FoundState::Running(running.clone())));
    fs::write(&pipe, "go\n").unwrap();
    let exit = driver.wait(task).await.unwrap();
    assert_eq!((exit.code, exit.oom_killed), (Some(7), false));
    assert!(exit.at >= running.started_at);
    assert_eq!(driver.wait(task).await.unwrap(), exit);
    assert_eq!(driver.start(task).await.unwrap(), running);
    assert_eq!(state().await, Some(FoundState::Exited(exit)));
    driver.signal(task, StopSignal::TERM).await.unwrap();
    let mut log = bench.log(task).await;
    log.sort();
    assert_eq!(log, ["stderr err", "stdout out"]);

    driver.delete(task).await.unwrap();
    driver.delete(task).await.unwrap();
    assert_eq!(state().await, None);
    assert_eq!(fs::read_dir(&bench.config.dir).unwrap().count(), 0);
    assert!(matches!(driver.wait(task).await, Err(RuntimeError::NoSuchTask(t)) if t == task));
    assert_eq!(bench.log(task).await.len(), 2);
    warren_runtime::logs::remove(&bench.config.log_dir, task).await.unwrap();
    assert_eq!(fs::read_dir(&bench.config.log_dir).unwrap().count(), 0);
}

async fn exit_codes_and_signals_are_told_apart() {
    let bench = Bench::new();
    for (script, code) in [("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137)] {
        let task = bench.start(script).await;
        assert_eq!(bench.driver().wait(task).await.unwrap().code, Some(code), "{script}");
    }
    // By the driver: a named signal, and one that has no name.
    for (signal, code) in [("TERM", 143), ("RTMIN+3", 165)] {
        let task = bench.start("exec sleep 300").await;
        bench.driver().signal(task, signal.parse().unwrap()).await.unwrap();
        assert_eq!(bench.driver().wait(task).await.unwrap().code, Some(code), "{signal}");
    }
}

async fn an_exit_is_noticed_at_once() {
    let bench = Bench::new();
    let begun = Instant::now();
    let task = bench.start("exec sleep 300").await;
    println!("created and started in {:?}", begun.elapsed());
    let waiting = bench.driver().wait(task);
    let kill = async {
        bench.driver().signal(task, StopSignal::TERM).await.unwrap();
        Instant::now()
    };
    let (exit, signalled) = tokio::join!(waiting, kill);
    println!("noticed {:?} after the signal", signalled.elapsed());
    assert_eq!(exit.unwrap().code, Some(143));
    assert!(signalled.elapsed() < Duration::from_secs(1));
}

async fn what_cannot_run_is_refused_at_once_and_says_why() {
    let bench = Bench::new();
    let plain = bench.root.path().join("plain");
    fs::write(&plain, "no program").unwrap();
    let interpreter = bench.root.path().join("script");
    fs::write(&interpreter, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&interpreter, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();

    for (program, why) in [
        ("no-such-program", "cannot run \"no-such-program\": not found in PATH"),
        ("/no/such/program", "is not found"),
        (plain.to_str().unwrap(), "is not executable"),
        ("/", "is not a file"),
        (interpreter.to_str().unwrap(), "interpreter"),
    ] {
        let launch = command(&[program]);
        bench.driver().create(&launch).await.unwrap();
        for _ in 0..2 {
            let begun = Instant::now();
            let refused = bench.driver().start(launch.task).await.unwrap_err();
            assert!(matches!(refused, RuntimeError::Refused(_)), "{refused:?}");
            assert!(refused.to_string().contains(why), "{refused}");
            assert!(begun.elapsed() < Duration::from_secs(2));
        }
        bench.driver().delete(launch.task).await.unwrap();
    }

    let image = Workload::Image {
        image: "nginx".parse().unwrap(),
        pull: Pull::Missing,
        command: Vec::new(),
    };
    let workdir = AbsolutePath::new("/no/such/dir").unwrap();
    let user = User::new("no-such-user").unwrap();
    for (launch, why) in [
        (with(shell(""), |t| *t = template(image)), "images"),
        (with(shell(""), |t| t.workdir = Some(workdir)), "/no/such/dir"),
        (with(shell(""), |t| t.user = Some(user)), "no user \"no-such-user\""),
    ] {
        let refused = bench.driver().create(&launch).await.unwrap_err();
        assert!(matches!(refused, RuntimeError::Refused(_)), "{refused:?}");
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let refused = bench.driver().images().await.unwrap_err();
    assert_eq!(refused.to_string(), "the process driver has no images");
}

async fn a_task_has_its_own_environment_and_directory() {
    let bench = Bench::new();
    let launch = with(command(&["sh", "-c"]), |t| {
        t.args = words(&["pwd; env | sort"]);
        t.workdir = Some(AbsolutePath::new("/usr/lib").unwrap());
        t.env = [("GREETING", "two words"), ("LANG", "xx"), ("WARREN_TASK_ID", "false")]
            .map(|(name, value)| EnvVar::new(name, value).unwrap())
            .to_vec();
    });
    bench.driver().create(&launch).await.unwrap();
    let running = bench.driver().start(launch.task).await.unwrap();
    bench.driver().wait(launch.task).await.unwrap();
    let log = bench.log(launch.task).await;
    let ours = ["HOME=", "PATH="].map(|name| format!("stdout {name}"));
    let expected = [
        "/usr/lib".to_owned(),
        "GREETING=two words".to_owned(),
        "LANG=xx".to_owned(),
        "PWD=/usr/lib".to_owned(),
        "WARREN_SERVICE=web".to_owned(),
        "WARREN_SLOT=3".to_owned(),
        format!("WARREN_TASK_ID={}", launch.task),
        format!("WARREN_TASK_IP={}", running.reach.address),
    ];
    let rest = log.iter().filter(|line| !ours.iter().any(|name| line.starts_with(name)));
    assert_eq!(rest.collect::<Vec<_>>(), expected.map(|line| format!("stdout {line}")).each_ref());
    assert_eq!(running.reach.netns, None);
    assert!(running.reach.address.to_string().starts_with("127.77."));
}

async fn a_task_runs_as_its_user() {
    if !is_root() {
        println!("skipped: needs root");
        return;
    }
    let bench = Bench::new();
    let uid = "12345:4321";
    for (user, ids) in [("nobody", "65534 65534 65534"), (uid, "12345 4321 4321")] {
        let launch = with(shell("echo $(id -u) $(id -g) $(id -G)"), |t| {
            t.user = Some(User::new(user).unwrap());
        });
        bench.driver().create(&launch).await.unwrap();
        bench.driver().start(launch.task).await.unwrap();
        bench.driver().wait(launch.task).await.unwrap();
        assert_eq!(bench.log(launch.task).await, [format!("stdout {ids}")]);
    }
}

async fn a_later_driver_adopts_what_runs() {
    let mut bench = Bench::new();
    let task = bench.start("trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done").await;
    let before = bench.driver().list().await.unwrap();
    bench.replace_driver();
    assert_eq!(bench.driver().list().await.unwrap(), before);
    bench.until_log_has(task, "ready").await;
    bench.driver().signal(task, StopSignal::TERM).await.unwrap();
    assert_eq!(bench.driver().wait(task).await.unwrap().code, Some(9));
    let other = shell("true");
    bench.driver().create(&other).await.unwrap();
    bench.driver().delete(task).await.unwrap();
}

async fn tasks_outlive_a_worker_that_is_killed() {
    let bench = Bench::new();
    let mut worker = Command::new(own_program())
        .args(["worker".as_ref(), bench.root.path()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(worker.stdout.take().unwrap()).read_line(&mut said).unwrap();
    kill9(worker.id());
    worker.wait().unwrap();
    let found = bench.driver().list().await.unwrap().pop().unwrap();
    let FoundState::Running(running) = found.state else { panic!("{found:?}") };
    let now = format!("{} {} {}", found.task, running.pid, running.started_at.as_millis());
    assert_eq!(said.trim(), now);
    // It still writes, and nothing broke its pipes.
    let size = || fs::metadata(bench.log_path(found.task)).map_or(0, |meta| meta.len());
    let then = size();
    until(|| size() > then + 200).await;
    bench.driver().signal(found.task, StopSignal::KILL).await.unwrap();
    assert_eq!(bench.driver().wait(found.task).await.unwrap().code, Some(137));
}

async fn another_nodes_tasks_are_not_listed() {
    let bench = Bench::new();
    bench.driver().create(&shell("true")).await.unwrap();
    let config = ProcessConfig { node: NodeId::from_u64(2), ..bench.config.clone() };
    let other = ProcessDriver::new(config).unwrap();
    assert_eq!(other.list().await.unwrap(), []);
    assert_eq!(bench.driver().list().await.unwrap().len(), 1);
}

async fn tasks_on_one_port_are_told_apart_by_their_addresses() {
    let bench = Bench::new();
    let mut addresses = Vec::new();
    for name in ["one", "two"] {
        let dir = bench.root.path().join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("index.html"), name).unwrap();
        let launch = with(shell("exec python3 -m http.server --bind $WARREN_TASK_IP 18080"), |t| {
            t.workdir = Some(AbsolutePath::new(dir.to_str().unwrap()).unwrap());
        });
        bench.driver().create(&launch).await.unwrap();
        addresses.push(bench.driver().start(launch.task).await.unwrap().reach.address);
    }
    for (address, name) in addresses.into_iter().zip(["one", "two"]) {
        let mut answer = String::new();
        until(|| {
            answer = get(&format!("{address}:18080")).unwrap_or_default();
            !answer.is_empty()
        })
        .await;
        assert!(answer.ends_with(name), "{answer}");
    }
}

fn get(address: &str) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

async fn orphans_of_a_task_are_not_left_as_zombies() {
    let bench = Bench::new();
    let script = "i=0; while [ $i -lt 50 ]; do (setsid true &); i=$((i+1)); done; echo done; \
                  exec sleep 300";
    let task = bench.start(script).await;
    bench.until_log_has(task, "done").await;
    let FoundState::Running(running) = bench.driver().list().await.unwrap().pop().unwrap().state
    else {
        panic!("the task has ended")
    };
    let (_, supervisor) = stat(running.pid).unwrap();
    let children = || fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"));
    until(|| children().unwrap().trim() == running.pid.to_string()).await;
    let status = fs::read_to_string(format!("/proc/{supervisor}/status")).unwrap();
    let memory = status.lines().filter(|l| l.starts_with("VmRSS") || l.starts_with("RssAnon"));
    println!("the supervisor has {:?}", memory.collect::<Vec<_>>());
}

async fn the_driver_says_what_it_is() {
    let bench = Bench::new();
    let version = bench.driver().ping().await.unwrap();
    assert!(version.starts_with("process driver (Linux "), "{version}");
}

fn with(launch: Launch, change: impl FnOnce(&mut TaskTemplate)) -> Launch {
    let mut template = TaskTemplate::clone(&launch.template);
    change(&mut template);
    Launch { template: Arc::new(template), ..launch }
}
