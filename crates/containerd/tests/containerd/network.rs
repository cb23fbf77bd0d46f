//! Where tasks are reached, and where not.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::Stdio,
};

use tokio::{net::TcpStream, process::Command};
use warren_containerd::Containerd;
use warren_core::{
    bounds::Port,
    id::TaskId,
    spec::{Network, Protocol, Publish, TaskTemplate},
};
use warren_runtime::{Running, Runtime, RuntimeError};

use crate::lab::{Lab, eventually, free_port, output, words};

fn serve(network: Network) -> impl FnOnce(&mut TaskTemplate) {
    move |template| {
        template.network = network;
        template.args = words("httpd -f -p 127.0.0.1:8080");
        if network == Network::Bridge {
            template.args = words("httpd -f -p 8080");
        }
    }
}

fn publish(host_port: u16) -> Publish {
    Publish {
        host_port: Port::new(host_port.into()).unwrap(),
        task_port: Port::new(8080).unwrap(),
        protocol: Protocol::Tcp,
    }
}

async fn connects(address: IpAddr, port: u16) -> bool {
    TcpStream::connect((address, port)).await.is_ok()
}

/// From within the namespace, as a check does.
async fn connects_within(running: &Running, port: u16) -> bool {
    let mut nsenter = Command::new("nsenter");
    let netns = running.reach.netns.as_ref().unwrap();
    nsenter.arg(format!("--net={}", netns.display())).args(["/bin/busybox", "nc"]);
    let address = running.reach.address.to_string();
    nsenter
        .arg(address)
        .arg(port.to_string())
        .stdin(Stdio::null())
        .status()
        .await
        .unwrap()
        .success()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_bridge_each_task_has_an_address_of_its_own() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (one, first) = lab.run(&driver, serve(Network::Bridge)).await;
    let (_, second) = lab.run(&driver, serve(Network::Bridge)).await;
    assert_ne!(first.reach.address, second.reach.address);
    for running in [&first, &second] {
        eventually("it is reached from the node", async || {
            connects(running.reach.address, 8080).await
        })
        .await;
        eventually("and from within", async || connects_within(running, 8080).await).await;
    }
    let hosts = output(&driver, one, "cat /etc/hosts").await;
    assert!(hosts.contains(&format!("{}\tweb-3", first.reach.address)), "{hosts}");
    let other = format!("nc {} 8080 </dev/null && echo reached", second.reach.address);
    assert_eq!(output(&driver, one, &other).await, "reached");
    let route = output(&driver, one, "ip route").await;
    assert!(route.contains("default via"), "{route}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_are_created_at_once_do_not_get_in_each_others_way() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let launches: Vec<_> = (0..4).map(|_| lab.launch(serve(Network::Bridge))).collect();
    let up = launches.iter().map(async |launch| {
        driver.create(launch).await.unwrap();
        driver.start(launch.task).await.unwrap().reach.address
    });
    let addresses: BTreeSet<_> = futures::future::join_all(up).await.into_iter().collect();
    assert_eq!(addresses.len(), launches.len());
    for address in &addresses {
        assert!(is_let_through(*address), "{address}");
    }
    let down = launches.iter().map(|launch| driver.delete(launch.task));
    futures::future::try_join_all(down).await.unwrap();
    assert_eq!(driver.list().await.unwrap(), []);
    assert_eq!(addresses.iter().find(|address| is_let_through(**address)), None);
}

/// Whether the node forwards to and from it, though it may forward nothing else.
fn is_let_through(address: IpAddr) -> bool {
    let rules = std::process::Command::new("iptables-save").output().unwrap().stdout;
    let rules = String::from_utf8(rules).unwrap();
    rules.contains(&format!("-A CNI-FORWARD -s {address}/32"))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_network_there_is_loopback_and_nothing_else() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, running) = lab.run(&driver, serve(Network::None)).await;
    assert_eq!(running.reach.address, IpAddr::V4(Ipv4Addr::LOCALHOST));
    eventually("it is reached from within", async || connects_within(&running, 8080).await).await;
    assert!(!connects_within(&running, 8081).await);
    let interfaces = output(&driver, task, "ls /sys/class/net").await;
    assert!(!interfaces.contains("eth0") && interfaces.contains("lo"), "{interfaces}");
    // runc finds the namespace where checks do.
    let inside = fs::read_link(format!("/proc/{}/ns/net", running.pid)).unwrap();
    let mut stat = Command::new("stat");
    let file = stat.args(["-L", "-c", "%i"]).arg(running.reach.netns.unwrap()).output();
    let inode = String::from_utf8(file.await.unwrap().stdout).unwrap();
    assert_eq!(inside.to_str().unwrap(), format!("net:[{}]", inode.trim()));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_nodes_network_there_is_no_namespace() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (_, running) = lab.run(&driver, |template| template.network = Network::Host).await;
    assert_eq!(running.reach.netns, None);
    let inside = fs::read_link(format!("/proc/{}/ns/net", running.pid)).unwrap();
    assert_eq!(inside, fs::read_link("/proc/self/ns/net").unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_port_is_the_tasks_until_it_is_deleted() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let port = free_port();
    let with_port = |template: &mut TaskTemplate| {
        serve(Network::Bridge)(template);
        template.publish = vec![publish(port)];
    };
    let (task, running) = lab.run(&driver, with_port).await;
    reached_from_everywhere(&lab, &driver, task, &running, port).await;

    let second = lab.launch(with_port);
    let error = driver.create(&second).await.unwrap_err();
    let RuntimeError::Refused(reason) = error else { panic!("{error}") };
    assert!(reason.contains(&format!("port {port} of this node is published")), "{reason}");
    driver.delete(task).await.unwrap();
    assert!(!connects(IpAddr::V4(Ipv4Addr::LOCALHOST), port).await);
    driver.create(&second).await.unwrap();
    let running = driver.start(second.task).await.unwrap();
    reached_from_everywhere(&lab, &driver, second.task, &running, port).await;
}

async fn reached_from_everywhere(
    lab: &Lab,
    driver: &Containerd,
    task: TaskId,
    running: &Running,
    port: u16,
) {
    eventually("it listens", async || connects(running.reach.address, 8080).await).await;
    assert!(connects(IpAddr::V4(Ipv4Addr::LOCALHOST), port).await, "loopback");
    let route = output(driver, task, "ip route").await;
    let gateway = route.split(' ').nth(2).unwrap().parse().unwrap();
    assert!(connects(gateway, port).await, "{} through {}", lab.bridge, gateway);
    let own = format!("nc {gateway} {port} </dev/null && echo reached");
    assert_eq!(output(driver, task, &own).await, "reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_plugins_the_sentence_names_their_package() {
    let Some((lab, _)) = Lab::with_image().await else { return };
    let mut without = lab.config();
    without.cni = None;
    let mut empty = lab.config();
    empty.cni.as_mut().unwrap().plugin_dir = Path::new("/nowhere").to_owned();
    for config in [without, empty] {
        let driver = Containerd::connect(config).await.unwrap();
        let launch = lab.launch(|template| template.network = Network::Bridge);
        let error = driver.create(&launch).await.unwrap_err();
        let RuntimeError::Refused(reason) = error else { panic!("{error}") };
        assert!(reason.contains("containernetworking-plugins"), "{reason}");
        assert!(reason.contains("--network none"), "{reason}");
        driver.delete(launch.task).await.unwrap();
    }
}
