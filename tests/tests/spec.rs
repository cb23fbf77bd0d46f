//! Every field that a user can set is found again in the running container.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    time::Duration,
};

use warren_tests::{Machine, eventually, have_root, text};

const LIMIT: Duration = Duration::from_secs(90);

/// Runs a script in a task's container, as the container's own user.
fn inside(machine: &Machine, id: &str, script: &str) -> String {
    let output = machine.ctr(&["tasks", "exec", "--exec-id", "look", id, "/bin/sh", "-c", script]);
    assert!(output.status.success(), "{script}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The file of a task's cgroup, on version 1 or 2.
fn cgroup_file(pid: u64, controller: &str, v1: &str, v2: &str) -> String {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = |wanted: &dyn Fn(&str) -> bool| {
        groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            wanted(controllers).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let has = |list: &str| list.split(',').any(|name| name == controller);
    let file = match path(&has) {
        Some(group) => PathBuf::from("/sys/fs/cgroup").join(controller).join(group).join(v1),
        None => PathBuf::from("/sys/fs/cgroup").join(path(&str::is_empty).unwrap()).join(v2),
    };
    fs::read_to_string(file).unwrap().trim().to_owned()
}

#[test]
fn every_field_of_a_spec_reaches_the_container() {
    if !have_root("spec") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    warren.import("busybox");
    let (data, fixed) = (machine.path().join("data-rw"), machine.path().join("data-ro"));
    fs::create_dir_all(&data).unwrap();
    fs::create_dir_all(&fixed).unwrap();
    std::os::unix::fs::chown(&data, Some(1000), Some(1000)).unwrap();
    fs::write(fixed.join("fixed"), "fixed").unwrap();
    let script = "trap 'echo stopped by USR1 >/data/stopped; exit 0' USR1; \
                  echo started; while :; do sleep 0.1; done";
    let create = format!(
        "service create full --image warren-test/busybox:1 --pull never \
         --entrypoint '/bin/sh -c' --env FIRST=1 --env 'SECOND=two words' --user app \
         --workdir /made/for/it --hostname full-host --init \
         --mount type=bind,source={},target=/data --mount {}:/fixed:ro \
         --mount type=tmpfs,target=/scratch --cpus 0.5 --memory 64M \
         --stop-signal USR1 --stop-grace-period 20s --network bridge \
         --publish {}:8080 --no-healthcheck --",
        data.display(),
        fixed.display(),
        free_port()
    );
    warren.ok((&*create, &[script][..]));
    warren.shows("full", "Health: 1/1 healthy", LIMIT);
    let (id, pid) = (warren.task_id("full.1"), warren.task_pid("full.1"));
    let look = |script: &str| inside(&machine, &id, script);

    the_process_is_as_asked(&look);
    the_limits_are_as_asked(pid);
    let log = warren.ok("task logs full.1");
    assert_eq!(log, "started\n");
    look("touch /data/from-inside");
    assert!(data.join("from-inside").exists(), "--mount type=bind");
    warren.ok("service rm full --wait");
    assert_eq!(fs::read_to_string(data.join("stopped")).unwrap(), "stopped by USR1\n");
}

fn the_process_is_as_asked(look: &dyn Fn(&str) -> String) {
    assert_eq!(look("id -u; id -g; id -G"), "1000\n1000\n1000 2000\n", "--user");
    assert_eq!(look("pwd"), "/made/for/it\n", "--workdir");
    assert_eq!(look("hostname; cat /etc/hostname"), "full-host\nfull-host\n", "--hostname");
    assert_eq!(look("echo \"$FIRST/$SECOND\""), "1/two words\n", "--env");
    assert!(look("echo $PATH").contains("/bin"), "the image's own environment");
    assert_eq!(
        look("cat /fixed/fixed; touch /fixed/x 2>/dev/null || echo refused"),
        "fixedrefused\n"
    );
    assert!(look("grep ' /scratch ' /proc/mounts").starts_with("tmpfs"), "--mount type=tmpfs");
    let arguments = look("tr '\\0' '\\n' </proc/1/cmdline");
    let program = ["/dev/warren-init", "--", "/bin/sh", "-c"];
    assert_eq!(arguments.lines().take(4).collect::<Vec<_>>(), program, "--init, --entrypoint");
    assert!(arguments.contains("stopped by USR1"), "the arguments");

    let status = look("cat /proc/1/status");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    // Docker's default set of fourteen is the bound; a user other than root holds none of them.
    assert!(status.contains("CapBnd:\t00000000a80425fb"), "{status}");
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
}

fn the_limits_are_as_asked(pid: u64) {
    let quota = cgroup_file(pid, "cpu", "cpu.cfs_quota_us", "cpu.max");
    let period = cgroup_file(pid, "cpu", "cpu.cfs_period_us", "cpu.max");
    let number = |text: &str, at: usize| text.split(' ').nth(at).unwrap().parse::<f64>().unwrap();
    let last = usize::from(period.contains(' '));
    assert!((number(&quota, 0) / number(&period, last) - 0.5).abs() < 0.001, "{quota}/{period}");
    let memory = cgroup_file(pid, "memory", "memory.limit_in_bytes", "memory.max");
    assert_eq!(memory, (64 << 20).to_string(), "--memory");
}

#[test]
fn a_published_port_leads_to_the_task_and_brings_a_check_of_its_own() {
    if !have_root("publish") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    warren.import("web");
    let port = free_port();
    warren.ok(&format!("service create web --image warren-test/web:1 --publish {port}:8080"));
    warren.shows("web", "Health: 1/1 healthy", LIMIT);
    let inspected = warren.ok("task inspect web.1");
    assert!(inspected.contains("TCP connect to :8080"), "{inspected}");
    let answer = eventually("an answer on the published port", LIMIT, || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(|e| e.to_string())?;
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").map_err(|e| e.to_string())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(|e| e.to_string())?;
        Ok(answer)
    });
    assert!(answer.contains("200 OK") && answer.ends_with("ok\n"), "{answer}");

    // The port is one of the node's: a second replica waits, and says why.
    warren.ok("service scale web=2");
    eventually("the second replica to say why it waits", LIMIT, || {
        let waits = warren.ok("task inspect web.2");
        if waits.contains(&format!("{port}/tcp")) { Ok(()) } else { Err(waits) }
    });
}

#[test]
fn the_other_networks_are_what_they_say() {
    if !have_root("networks") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    warren.import("busybox");
    for network in ["none", "host"] {
        warren.ok(&format!(
            "service create {network} --image warren-test/busybox:1 --network {network} \
             --no-healthcheck -- /bin/foreground sleep infinity"
        ));
        warren.shows(network, "Health: 1/1 healthy", LIMIT);
    }
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    let of = |slot: &str| namespace(&warren.task_pid(slot).to_string());
    assert_eq!(of("host.1"), namespace("self"));
    assert_ne!(of("none.1"), namespace("self"));
    let links = inside(&machine, &warren.task_id("none.1"), "ls /sys/class/net");
    assert_eq!(links, "lo\n");
}

#[test]
fn what_cannot_be_run_says_why() {
    if !have_root("refusals") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    warren.import("busybox");
    for (name, flags, why) in [
        ("user", "--user nobody-knows", "nobody-knows"),
        ("mount", "--mount /nonexistent/source:/x", "/nonexistent/source"),
        ("command", "--entrypoint /nonexistent/program", "/nonexistent/program"),
    ] {
        let image = "--image warren-test/busybox:1 --no-healthcheck";
        warren.ok(&format!("service create {name} {image} {flags}"));
        eventually(&format!("{name} to say why"), LIMIT, || {
            let all = warren.json(&format!("task ls {name} --all"));
            let ended = all["tasks"].as_array().unwrap().iter().any(|task| {
                let reason = task["task"]["status"]["end"]["reason"].as_str();
                reason.is_some_and(|reason| reason.contains(why))
            });
            if ended { Ok(()) } else { Err(format!("{all:#}")) }
        });
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
