//! Images from a registry that the test starts on loopback.

use std::{fs, net::TcpListener, process::Command, time::Duration};

use warren_tests::{Daemon, Machine, eventually, have_root, image, text};

const LIMIT: Duration = Duration::from_secs(90);

/// A docker-registry on a port of its own, with the `web` image in it.
fn registry(machine: &Machine) -> (Daemon, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let directory = machine.path().join("registry");
    fs::create_dir_all(&directory).unwrap();
    let config = format!(
        "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n\
         http: {{addr: \"{address}\"}}\n",
        directory.join("data").display()
    );
    fs::write(directory.join("config.yml"), config).unwrap();
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(directory.join("config.yml"));
    let daemon = Daemon::start(command, directory.join("log"));
    eventually("the registry", LIMIT, || {
        std::net::TcpStream::connect(&address).map(drop).map_err(|e| e.to_string())
    });
    let reference = format!("{address}/test/web:1");
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "--insecure-policy", "--dest-tls-verify=false"]);
    skopeo.arg(format!("oci-archive:{}", image("web").display()));
    let copied = skopeo.arg(format!("docker://{reference}")).output().unwrap();
    assert!(copied.status.success(), "{}", text(&copied));
    (daemon, reference)
}

#[test]
fn an_image_is_pulled_when_it_is_missing_and_not_again() {
    if !have_root("pull") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    let (registry, reference) = registry(&machine);
    let create = |name: &str, flags: &str| {
        let health = "--health-http /health:8080 --health-interval 500ms";
        warren.ok(&format!("service create {name} --image {reference} {health} {flags}"));
    };

    create("never", "--pull never");
    eventually("the refusal", LIMIT, || {
        let all = warren.json("task ls never --all").to_string();
        if all.contains("END_KIND_NOT_STARTED") && all.contains("is not on this node") {
            Ok(())
        } else {
            Err(all)
        }
    });
    warren.ok("service rm never --wait");

    create("web", "--replicas 2");
    warren.shows("web", "Health: 2/2 healthy", LIMIT);
    let listed = warren.ok("image ls");
    assert!(listed.contains(&reference), "{listed}");

    // With the registry gone, what is present still runs, and `always` says what it lacks.
    registry.kill();
    warren.ok("service scale web=3");
    warren.shows("web", "Health: 3/3 healthy", LIMIT);
    create("always", "--pull always");
    eventually("the failure to reach the registry", LIMIT, || {
        let all = warren.json("task ls always --all").to_string();
        if all.contains("END_KIND_NOT_STARTED") { Ok(()) } else { Err(all) }
    });
}
