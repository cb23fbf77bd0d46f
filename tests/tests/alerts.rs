//! The rules and the dashboard of `deploy/`, in Prometheus' own eyes and over a real Warren.

use std::{
    collections::BTreeSet, fs, net::SocketAddr, path::Path, process::Command, time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use warren_tests::{
    Certificates, Daemon, Machine, Warren, eventually, http::get, repository, text,
};

const LIMIT: Duration = Duration::from_mins(1);

fn promtool(arguments: &[&str]) {
    let mut promtool = Command::new("promtool");
    let output =
        promtool.args(arguments).current_dir(repository().join("deploy")).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn the_rules_are_rules_and_fire_when_they_should() {
    promtool(&["check", "rules", "alerts.yml", "recording.yml"]);
    promtool(&["test", "rules", "alerts_test.yml"]);
}

/// A Prometheus with the rules, but without their patience, so that a test need not have it.
fn prometheus(dir: &Path, target: SocketAddr) -> (Daemon, SocketAddr) {
    for name in ["alerts.yml", "recording.yml"] {
        let rules = fs::read_to_string(repository().join("deploy").join(name)).unwrap();
        let line = |line: &str| {
            let patience = line.trim_start().starts_with("for: ");
            if patience { "        for: 1s".to_owned() } else { line.to_owned() }
        };
        let rules: Vec<_> = rules.lines().map(line).collect();
        fs::write(dir.join(name), rules.join("\n")).unwrap();
    }
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         rule_files: [alerts.yml, recording.yml]\n\
         scrape_configs:\n\
         - job_name: warren\n  static_configs: [{{targets: ['{target}']}}]\n"
    );
    fs::write(dir.join("prometheus.yml"), config).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", dir.join("prometheus.yml").display()));
    command.arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()));
    command.arg(format!("--web.listen-address={address}"));
    (Daemon::start(command, dir.join("log")), address)
}

fn query(address: SocketAddr, expression: &str) -> Result<Vec<Value>, String> {
    let encode = |encoded: String, byte: u8| encoded + &format!("%{byte:02x}");
    let encoded = expression.bytes().fold(String::new(), encode);
    let (status, body) = get(address, &format!("/api/v1/query?query={encoded}"));
    if status != 200 {
        return Err(format!("{status} {body}"));
    }
    // A large answer comes in chunks; what is asked for here is small, and the JSON stands whole.
    let json = &body[body.find('{').unwrap()..=body.rfind('}').unwrap()];
    let answer: Value = serde_json::from_str(json).map_err(|error| format!("{error}: {body}"))?;
    Ok(answer["data"]["result"].as_array().unwrap().clone())
}

/// The questions of the dashboard.
fn panels() -> Vec<String> {
    let dashboard = fs::read_to_string(repository().join("deploy/grafana/warren.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// Each series that an alert looks at, by name and labels. An alert about a series that nobody
/// exports never fires, and no tool complains.
fn selectors() -> BTreeSet<String> {
    let rules = fs::read_to_string(repository().join("deploy/alerts.yml")).unwrap();
    let prefixes = ["warren", "health", "up"];
    let mut found = BTreeSet::new();
    // The rest of a rule is for people.
    for rule in rules.split("expr:").skip(1).map(|rest| rest.split("for:").next().unwrap()) {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_:".contains(c);
        let mut rest = rule;
        while let Some(start) = rest.find(is_name) {
            let name: String = rest[start..].chars().take_while(|c| is_name(*c)).collect();
            rest = &rest[start + name.len()..];
            let labels = rest.strip_prefix('{').and_then(|labels| labels.split_once('}'));
            let labels = labels.map(|(labels, _)| format!("{{{labels}}}")).unwrap_or_default();
            if prefixes.iter().any(|p| name == *p || name.starts_with(&format!("{p}_")))
                || name.contains(':')
            {
                found.insert(name + &labels);
            }
        }
    }
    assert!(found.len() > 15, "{found:?}");
    found
}

#[test]
fn a_service_that_breaks_is_alerted_and_every_panel_has_its_data() {
    let machine = Machine::without_containerd();
    let mut arguments = vec!["run", "--no-containerd", "--listen", "127.0.0.1:0"];
    arguments.extend(["--health-listen", "127.0.0.1:0"]);
    let mut arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
    // An alert looks at how long its certificate is valid.
    arguments.extend(Certificates::make(machine.path()).of_manager());
    let warren = Warren::start(&machine.path().join("data"), &arguments);
    let dir = machine.path().join("prometheus");
    fs::create_dir(&dir).unwrap();
    let serve = "exec python3 -u -m http.server --bind \"$WARREN_TASK_IP\" 8080";
    let create = "service create web --readiness-http path=/,port=8080,period=200ms,timeout=300ms,\
                  failures=2 --wait -- /bin/sh -c";
    warren.ok((create, &[serve][..]));
    let (_prometheus, address) = prometheus(&dir, warren.health_address());

    // Something is replaced, and in the end held: else nothing of that could be shown.
    let fail = "service create bad --no-healthcheck --restart-max-attempts 2 --restart-window 10m";
    warren.ok(&*format!("{fail} -- /bin/false"));
    for expression in panels().into_iter().chain(selectors()) {
        eventually(&format!("data for {expression}"), LIMIT, || {
            let found = query(address, &expression)?;
            if found.is_empty() { Err("nothing".to_owned()) } else { Ok(()) }
        });
    }
    let firing = r#"ALERTS{alertname="WarrenServiceDown",alertstate="firing",service="web"}"#;
    assert_eq!(query(address, firing).unwrap(), Vec::<Value>::new());

    let pid = Pid::from_raw(i32::try_from(warren.task_pid("web.1")).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    eventually("the alert", LIMIT, || {
        let found = query(address, firing)?;
        if found.is_empty() { Err(get(address, "/api/v1/alerts").1) } else { Ok(()) }
    });
    kill(pid, Signal::SIGCONT).unwrap();
    eventually("the alert to end", LIMIT, || {
        let found = query(address, firing)?;
        if found.is_empty() { Ok(()) } else { Err(format!("{found:?}")) }
    });
}
