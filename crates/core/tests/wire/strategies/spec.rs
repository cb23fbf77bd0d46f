//! Arbitrary specs and templates.

use std::sync::Arc;

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};
use warren_core::{
    bounds::Attempts,
    service::{ChecksPause, Service},
    spec::{
        AbsolutePath, CpuMillis, EnvVar, Hostname, ImageRef, MemoryBytes, Mount, MountKind,
        Network, PlacementRules, Protocol, Publish, Pull, Replicas, RestartPolicy, ServiceName,
        ServiceSpec, StopSignal, TaskTemplate, User, Workload,
    },
};

use super::{
    check::{port, ports},
    health_config, program, service_id, span, timestamp, word,
};

pub fn service_name() -> impl Strategy<Value = ServiceName> {
    "[a-z]([a-z0-9-]{0,61}[a-z0-9])?".prop_map(|name| name.parse().unwrap())
}

pub fn absolute_path() -> impl Strategy<Value = AbsolutePath> {
    "(/[a-zA-Z0-9_ -]{1,8}){1,3}".prop_map(|path| AbsolutePath::new(path).unwrap())
}

pub fn user() -> impl Strategy<Value = User> {
    "[a-z0-9]{1,6}(:[a-z0-9]{1,6})?".prop_map(|user| User::new(user).unwrap())
}

fn image() -> impl Strategy<Value = ImageRef> {
    let names = ["nginx", "team/web:1.2", "127.0.0.1:5000/app", "ghcr.io/a/b/c:x"];
    select(names.to_vec()).prop_map(|name| name.parse().unwrap())
}

fn mounts() -> impl Strategy<Value = Vec<Mount>> {
    let kind = prop_oneof![
        absolute_path().prop_map(|source| MountKind::Bind { source }),
        Just(MountKind::Tmpfs),
    ];
    btree_map(absolute_path(), (any::<bool>(), kind), 0..4).prop_map(|mounts| {
        mounts
            .into_iter()
            .map(|(target, (read_only, kind))| Mount { target, read_only, kind })
            .collect()
    })
}

fn publish() -> impl Strategy<Value = Vec<Publish>> {
    let protocol = select(vec![Protocol::Tcp, Protocol::Udp]);
    btree_map((port(), protocol), port(), 0..4).prop_map(|published| {
        published
            .into_iter()
            .map(|((host_port, protocol), task_port)| Publish { host_port, task_port, protocol })
            .collect()
    })
}

fn env() -> impl Strategy<Value = Vec<EnvVar>> {
    btree_map("[A-Za-z_.]{1,8}", word(), 0..4).prop_map(|vars| {
        vars.into_iter().map(|(name, value)| EnvVar::new(name, value).unwrap()).collect()
    })
}

/// What the process driver runs, or the part of any template that both drivers know.
fn process_template() -> impl Strategy<Value = TaskTemplate> {
    let signal = (1..=64_u8).prop_map(|number| number.to_string().parse::<StopSignal>().unwrap());
    (
        program(),
        vec(word(), 0..4),
        env(),
        option::of(user()),
        option::of(absolute_path()),
        option::of(signal),
        span(),
        (health_config(), ports()),
    )
        .prop_map(
            |(command, args, env, user, workdir, stop_signal, stop_grace_period, health)| {
                let (health, ports) = health;
                TaskTemplate {
                    workload: Workload::Process { command },
                    args,
                    env,
                    user,
                    workdir,
                    hostname: None,
                    mounts: Vec::new(),
                    cpu_millis: None,
                    memory_bytes: None,
                    stop_signal,
                    stop_grace_period,
                    network: Network::Host,
                    publish: Vec::new(),
                    health,
                    ports,
                    init: false,
                }
            },
        )
}

fn image_template() -> impl Strategy<Value = TaskTemplate> {
    let workload =
        (image(), select(vec![Pull::Missing, Pull::Always, Pull::Never]), vec(word(), 0..3))
            .prop_map(|(image, pull, command)| Workload::Image { image, pull, command });
    let hostname = "[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?";
    let network = prop_oneof![
        publish().prop_map(|publish| (Network::Bridge, publish)),
        Just((Network::Host, Vec::new())),
        Just((Network::None, Vec::new())),
    ];
    (
        process_template(),
        workload,
        option::of(hostname.prop_map(|name| Hostname::new(name).unwrap())),
        mounts(),
        option::of((10..=1_000_000_u32).prop_map(|millis| CpuMillis::new(millis).unwrap())),
        option::of((4 << 20..=1_u64 << 50).prop_map(|bytes| MemoryBytes::new(bytes).unwrap())),
        (network, any::<bool>()),
    )
        .prop_map(|(common, workload, hostname, mounts, cpu_millis, memory_bytes, rest)| {
            let ((network, publish), init) = rest;
            TaskTemplate {
                workload,
                hostname,
                mounts,
                cpu_millis,
                memory_bytes,
                network,
                publish,
                init,
                ..common
            }
        })
}

pub fn task_template() -> impl Strategy<Value = TaskTemplate> {
    prop_oneof![process_template(), image_template()]
}

pub fn service_spec() -> impl Strategy<Value = ServiceSpec> {
    (service_name(), 0..=10_000_u32, task_template(), restart(), placement()).prop_map(
        |(name, replicas, template, restart, placement)| ServiceSpec {
            name,
            replicas: Replicas::new(replicas).unwrap(),
            template: Arc::new(template),
            restart,
            placement,
        },
    )
}

fn restart() -> impl Strategy<Value = RestartPolicy> {
    option::of((1..=100_u32, option::of(span()))).prop_map(|limited| {
        limited.map_or_else(RestartPolicy::default, |(most, window)| RestartPolicy {
            max_attempts: Some(Attempts::new(most).unwrap()),
            window,
        })
    })
}

fn placement() -> impl Strategy<Value = PlacementRules> {
    let constraint = "node\\.(id|name|labels\\.[a-z]{1,8})(==|!=)[a-z0-9]{1,9}";
    let constraint = constraint.prop_map(|text| text.parse().unwrap());
    let spread = "node\\.(id|name|labels\\.[a-z]{1,8})".prop_map(|text| text.parse().unwrap());
    (vec(constraint, 0..4), option::of(spread))
        .prop_map(|(constraints, spread)| PlacementRules { constraints, spread })
}

pub fn service() -> impl Strategy<Value = Service> {
    (
        service_id(),
        service_spec(),
        any::<(u64, u64)>(),
        (timestamp(), timestamp(), option::of(timestamp()), option::of(timestamp())),
        btree_map(any::<u64>(), task_template().prop_map(Arc::new), 0..3),
        option::of((timestamp(), timestamp(), option::of("[a-z ]{1,9}"))),
    )
        .prop_map(|(id, spec, revisions, times, older_templates, paused)| Service {
            id,
            spec,
            revision: revisions.0,
            template_revision: revisions.1,
            created_at: times.0,
            updated_at: times.1,
            removed_at: times.2,
            released_at: times.3,
            older_templates,
            checks_paused: paused.map(|(since, until, by)| ChecksPause { since, until, by }),
        })
}
