//! What a message may not hold, and the sentence that says so.

mod rows;

use std::fmt::Debug;

use proptest::prelude::*;
use prost_reflect::prost::Message;
use warren_core::{
    Invalid,
    bounds::Port,
    check::{Check, HealthConfig, HttpCheck, Role, StatusSet, Timing},
    report::TaskReport,
    spec::{MountKind, Network, Protocol, Pull, ServiceSpec, TaskTemplate, Workload},
    time::Timestamp,
};
use warren_proto::v1::{self as pb, check::Kind, health_config::Source};

use crate::{fixtures, strategies, support::Fixture};

/// The message of the first fixture, changed.
fn changed<D, M: for<'a> From<&'a D>>(fixtures: &[Fixture<D>], change: impl FnOnce(&mut M)) -> M {
    let mut message = M::from(&fixtures[0].1);
    change(&mut message);
    message
}

fn refused<D, M>(message: M) -> String
where
    D: TryFrom<M, Error = Invalid> + Debug,
{
    D::try_from(message).unwrap_err().to_string()
}

fn spec(change: impl FnOnce(&mut pb::ServiceSpec)) -> String {
    refused::<ServiceSpec, _>(changed(&fixtures::service_spec(), change))
}

fn template(change: impl FnOnce(&mut pb::TaskTemplate)) -> String {
    refused::<TaskTemplate, _>(changed(&fixtures::task_template(), change))
}

fn checks_of(spec: &mut pb::ServiceSpec) -> &mut pb::Checks {
    let health = spec.template.as_mut().unwrap().health.as_mut().unwrap();
    match health.source.as_mut().unwrap() {
        Source::Checks(checks) => checks,
        Source::Auto(_) | Source::Preset(_) | Source::Disabled(_) => unreachable!(),
    }
}

fn liveness(change: impl FnOnce(&mut pb::Check)) -> String {
    spec(|spec| change(checks_of(spec).liveness.as_mut().unwrap()))
}

fn liveness_timing(change: impl FnOnce(&mut pb::Timing)) -> String {
    liveness(|check| change(check.timing.as_mut().unwrap()))
}

fn http(change: impl FnOnce(&mut pb::HttpCheck)) -> String {
    spec(|spec| {
        let kind = checks_of(spec).startup.as_mut().unwrap().kind.as_mut().unwrap();
        let Kind::Http(http) = kind else { unreachable!() };
        change(http);
    })
}

fn tcp_port(port: u32) -> pb::TcpCheck {
    pb::TcpCheck { endpoint: Some(pb::tcp_check::Endpoint::Port(port)), ..pb::TcpCheck::default() }
}

fn span(seconds: i64, nanos: i32) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos }
}

const CHECKS: &str = "template.health.checks";

#[test]
fn a_service_spec_names_the_field_that_is_wrong() {
    assert_eq!(spec(|s| s.name.clear()), "name: is required");
    assert!(spec(|s| s.name = "Web".to_owned()).starts_with("name: \"Web\" is not a name: "));
    assert_eq!(spec(|s| s.replicas = 10_001), "replicas: 10001 is not in 0..=10000");
    assert_eq!(spec(|s| s.template = None), "template: is required");
    assert_eq!(
        spec(|s| s.template.as_mut().unwrap().publish[1].host_port = 70_000),
        "template.publish[1].host_port: 70000 is not in 1..=65535"
    );
}

#[test]
fn a_check_is_of_one_kind_and_its_port_is_a_port() {
    assert_eq!(liveness(|c| c.kind = None), format!("{CHECKS}.liveness.kind: is required"));
    assert_eq!(
        liveness(|c| c.kind = Some(Kind::Tcp(tcp_port(70_000)))),
        format!("{CHECKS}.liveness.tcp.port: 70000 is not in 1..=65535")
    );
    assert_eq!(
        liveness(|c| c.kind = Some(Kind::Exec(pb::ExecCheck::default()))),
        format!("{CHECKS}.liveness.exec.argv: names no program")
    );
    assert_eq!(
        http(|h| h.endpoint = Some(pb::http_check::Endpoint::Port(0))),
        format!("{CHECKS}.startup.http.port: 0 is not in 1..=65535")
    );
}

#[test]
fn an_http_check_names_the_field_that_is_wrong() {
    let startup = format!("{CHECKS}.startup.http");
    assert_eq!(http(|h| h.scheme = 9), format!("{startup}.scheme: 9 is not known here"));
    assert_eq!(
        http(|h| h.path = "health".to_owned()),
        format!("{startup}.path: \"health\" does not begin with '/'")
    );
    assert_eq!(
        http(|h| h.method = "get".to_owned()),
        format!("{startup}.method: \"get\" is not a method such as GET, HEAD or POST")
    );
    assert_eq!(
        http(|h| h.headers[1].name = "a b".to_owned()),
        format!("{startup}.headers[1].name: \"a b\" is not a header name")
    );
    for (first, last) in [(99, 200), (200, 600), (300, 200), (70_000, 70_001)] {
        let wrong = http(|h| h.expect[1] = pb::StatusRange { first, last });
        assert!(wrong.starts_with(&format!("{startup}.expect[1]: ")), "{wrong}");
    }
}

fn kind(kind: Kind) -> String {
    let wrong = liveness(|check| check.kind = Some(kind));
    wrong.strip_prefix(&format!("{CHECKS}.liveness.")).unwrap().to_owned()
}

fn regex(regex: &str) -> pb::TextMatch {
    pb::TextMatch { pattern: Some(pb::text_match::Pattern::Regex(regex.to_owned())) }
}

fn with_name(name: &str) -> Kind {
    let endpoint = Some(pb::grpc_check::Endpoint::PortName(name.to_owned()));
    Kind::Grpc(pb::GrpcCheck { endpoint, ..pb::GrpcCheck::default() })
}

#[test]
fn an_option_of_a_check_names_the_field_that_is_wrong() {
    let startup = format!("{CHECKS}.startup.http");
    let tls = |tls| pb::Tls { trust: Some(tls), ..pb::Tls::default() };
    assert_eq!(
        http(|h| h.tls = Some(tls(pb::tls::Trust::Ca("x".to_owned())))),
        format!("{startup}.tls.ca: has no certificate in PEM (-----BEGIN CERTIFICATE-----)")
    );
    assert_eq!(
        http(|h| h.scheme = pb::Scheme::Http.into()),
        format!("{startup}.tls: needs the scheme HTTPS")
    );
    assert_eq!(
        http(|h| {
            h.version = pb::HttpVersion::Http2.into();
            h.keep_alive = true;
        }),
        format!("{startup}.keep_alive: is for HTTP/1.1 alone; leave it out, or the version")
    );
    assert_eq!(
        http(|h| {
            h.version = pb::HttpVersion::Http1.into();
            h.headers = vec![pb::Header { name: "CONNECTION".to_owned(), value: String::new() }];
            h.keep_alive = true;
        }),
        format!("{startup}.keep_alive: contradicts a header Connection; leave one of them out")
    );
    assert_eq!(http(|h| h.endpoint = None), format!("{startup}.port: is required"));
    let wrong = http(|h| h.body_not = Some(regex("(")));
    assert!(wrong.starts_with(&format!("{startup}.body_not.regex: \"(\" is not a ")), "{wrong}");
    let tcp = pb::TcpCheck { send: vec![0; 4097], ..tcp_port(1) };
    assert_eq!(kind(Kind::Tcp(tcp)), "tcp.send: is longer than 4 KiB");
    let tcp = pb::TcpCheck { expect: Some(pb::TextMatch::default()), ..tcp_port(1) };
    assert_eq!(kind(Kind::Tcp(tcp)), "tcp.expect.pattern: is required");
    assert!(kind(with_name("A")).starts_with("grpc.port_name: \"A\" is not a port's name: "));
    let grpc = pb::GrpcCheck {
        endpoint: Some(pb::grpc_check::Endpoint::Port(1)),
        host: "a b".to_owned(),
        ..pb::GrpcCheck::default()
    };
    assert!(kind(Kind::Grpc(grpc)).starts_with("grpc.host: \"a b\" is not NAME or NAME:PORT"));
    let file = pb::FileCheck { path: "x".to_owned(), max_age: None };
    let why = "file.path: \"x\" is not an absolute path without '..'";
    assert_eq!(kind(Kind::File(file)), why);
}

/// C-50, C-59.
#[test]
fn a_body_that_means_nothing_is_refused() {
    let startup = format!("{CHECKS}.startup.http");
    assert_eq!(http(|h| h.send = vec![0; 4097]), format!("{startup}.send: is longer than 4 KiB"));
    for method in ["GET", "HEAD", "TRACE", ""] {
        let told = http(|h| h.method = method.to_owned());
        let method = if method.is_empty() { "GET" } else { method };
        let why = format!("means nothing with {method}; say another method, as POST");
        assert_eq!(told, format!("{startup}.send: {why}"));
    }
    let own = pb::Header { name: "Content-Length".to_owned(), value: "3".to_owned() };
    assert_eq!(
        http(|h| h.headers = vec![own.clone()]),
        format!("{startup}.send: has its own length; leave the header Content-Length out")
    );
    let nothing = "can match nothing: HEAD is answered without a body; say another method";
    assert_eq!(
        http(|h| {
            h.send = Vec::new();
            h.method = "HEAD".to_owned();
        }),
        format!("{startup}.body: {nothing}")
    );
}

#[test]
fn a_command_names_the_field_that_is_wrong() {
    let exec = |change: fn(&mut pb::ExecCheck)| {
        let argv = vec!["x".to_owned(), "y".to_owned()];
        let mut exec = pb::ExecCheck { argv, ..pb::ExecCheck::default() };
        change(&mut exec);
        kind(Kind::Exec(exec))
    };
    for (wrong, why) in [
        (exec(|e| e.form = 2), "exec.argv: is 2 words, not one line"),
        (
            exec(|e| e.user = "a b".to_owned()),
            "exec.user: \"a b\" is not user, user:group, uid or uid:gid",
        ),
        (exec(|e| e.pass = vec![0, 256]), "exec.pass[1]: 256 is not in 0..=255"),
        (exec(|e| e.inconclusive = vec![0]), "exec.inconclusive: 0 is a command that could look"),
    ] {
        assert_eq!(wrong, why);
    }
}

/// C-125.
#[test]
fn parts_are_two_to_eight_simple_checks_without_a_timing() {
    let part = || pb::Check { kind: Some(Kind::Tcp(tcp_port(80))), timing: None };
    let all = |checks: Vec<pb::Check>| Kind::All(pb::CheckParts { checks });
    let nested = pb::Check { kind: Some(all(vec![part(), part()])), timing: None };
    let timed = pb::Check { timing: Some(pb::Timing::default()), ..part() };
    for (checks, why) in [
        (vec![part()], "all.checks: has 1 parts, not 2-8"),
        (vec![part(); 9], "all.checks: has 9 parts, not 2-8"),
        (vec![part(), nested], "all.checks[1]: is made of parts itself"),
        (vec![part(), timed], "all.checks[1].timing: belongs to the whole check"),
        (vec![part(), pb::Check::default()], "all.checks[1].kind: is required"),
    ] {
        assert_eq!(kind(all(checks)), why);
    }
}

/// C-102.
#[test]
fn a_port_is_called_by_a_name_that_the_service_has() {
    let named = liveness(|check| check.kind = Some(with_name("metrics")));
    let why = "no port is called metrics; there are admin";
    assert_eq!(named, format!("{CHECKS}.liveness.grpc.port_name: {why}"));
    let twice = template(|t| t.ports.push(t.ports[0].clone()));
    assert_eq!(twice, "ports[1]: admin is there twice");

    let mut message: pb::TaskTemplate = changed(&fixtures::task_template(), |_| {});
    let check = pb::Check { kind: Some(with_name("admin")), timing: None };
    let parts = pb::CheckParts { checks: vec![check.clone(), check.clone()] };
    let any = pb::Check { kind: Some(Kind::Any(parts)), timing: None };
    let checks = pb::Checks { startup: None, liveness: Some(check), readiness: Some(any) };
    message.health = Some(pb::HealthConfig { source: Some(Source::Checks(checks)) });
    let own = TaskTemplate::try_from(message).unwrap().checks(None);
    let own = format!("{own:?}");
    assert_eq!(own.matches("Number(Port(9090))").count(), 3, "{own}");
}

/// C-1.
#[test]
fn timings_are_positive_bounded_and_whole_milliseconds() {
    let timing = format!("{CHECKS}.liveness.timing");
    for (refusal, expected) in [
        (liveness_timing(|t| t.period = Some(span(0, 0))), "period: 0ns is not in 10ms..=86400s"),
        (liveness_timing(|t| t.period = Some(span(-5, 0))), "period: -5 s and 0 ns are negative"),
        (liveness_timing(|t| t.delay = Some(span(0, -1))), "delay: 0 s and -1 ns are negative"),
        (
            liveness_timing(|t| t.timeout = Some(span(0, 1_500_000))),
            "timeout: 1.5ms is finer than a millisecond",
        ),
        (
            liveness_timing(|t| t.timeout = Some(span(86_401, 0))),
            "timeout: 86401s is not in 1ms..=86400s",
        ),
        (
            liveness_timing(|t| t.confirm_interval = Some(span(1, 1_000_000_000))),
            "confirm_interval: 1 s and 1000000000 ns are not a duration",
        ),
        (
            liveness_timing(|t| t.confirm_interval = Some(span(i64::MAX, 0))),
            "confirm_interval: 9223372036854775807 s and 0 ns are not a duration",
        ),
        (liveness_timing(|t| t.failures = Some(0)), "failures: 0 is not in 1..=1000"),
        (liveness_timing(|t| t.successes = Some(1001)), "successes: 1001 is not in 1..=1000"),
        (
            liveness_timing(|t| t.start_period = Some(span(1, 0))),
            "start_period: only the startup check has one",
        ),
    ] {
        assert_eq!(refusal, format!("{timing}.{expected}"));
    }
}

#[test]
fn a_template_without_an_image_is_a_command_for_the_process_driver() {
    assert_eq!(
        template(|t| {
            t.image.clear();
            t.command.clear();
        }),
        "image: is required, or a command for the process driver"
    );
    assert_eq!(template(|t| t.image.clear()), "pull: needs an image");
    let process = |change: fn(&mut pb::TaskTemplate)| {
        let mut message = pb::TaskTemplate::from(&fixtures::task_template()[1].1);
        change(&mut message);
        refused::<TaskTemplate, _>(message)
    };
    assert_eq!(process(|t| t.cpu_millis = 100), "cpu_millis: needs an image");
    assert_eq!(process(|t| t.network = 1), "network: needs an image");
    assert_eq!(process(|t| t.init = true), "init: needs an image");
    assert_eq!(process(|t| t.command[0].clear()), "command: names no program");
}

#[test]
fn a_template_names_the_field_that_is_wrong() {
    for (refusal, expected) in [
        (template(|t| t.pull = 17), "pull: 17 is not known here"),
        (template(|t| t.pull = -1), "pull: -1 is not known here"),
        (template(|t| t.network = 4), "network: 4 is not known here"),
        (template(|t| t.args[1].push('\0')), "args[1]: has a NUL byte"),
        (template(|t| t.command[1].push('\0')), "command[1]: has a NUL byte"),
        (template(|t| t.env[1].name.clear()), "env[1].name: \"\" is not a variable's name"),
        (template(|t| t.env[1].name = "A".to_owned()), "env[1]: A is there twice"),
        (
            template(|t| t.workdir = "srv".to_owned()),
            "workdir: \"srv\" is not an absolute path without '..'",
        ),
        (template(|t| t.hostname = "-".to_owned()), "hostname: \"-\" is not a hostname"),
        (template(|t| t.cpu_millis = 1), "cpu_millis: 1 is not in 10..=1000000"),
        (template(|t| t.memory_bytes = 1), "memory_bytes: 1 bytes are not within 4 MiB - 1 PiB"),
        (
            template(|t| t.stop_signal = "NOPE".to_owned()),
            "stop_signal: \"NOPE\" is not a signal such as SIGTERM or 15",
        ),
        (
            template(|t| t.stop_grace_period = Some(span(3_601, 0))),
            "stop_grace_period: 3601s is not in 0ns..=3600s",
        ),
        (template(|t| t.mounts[0].kind = 3), "mounts[0].kind: 3 is not known here"),
        (
            template(|t| t.mounts[0].source.clear()),
            "mounts[0].source: \"\" is not an absolute path without '..'",
        ),
        (template(|t| t.mounts[1].source.push('/')), "mounts[1].source: a tmpfs has none"),
        (template(|t| t.publish[0].protocol = 3), "publish[0].protocol: 3 is not known here"),
        (template(|t| t.network = 2), "publish: needs the bridge network"),
    ] {
        assert_eq!(refusal, expected);
    }
}

#[test]
fn what_is_absent_takes_the_documented_default() {
    let message = pb::TaskTemplate { image: "nginx".to_owned(), ..pb::TaskTemplate::default() };
    let template = TaskTemplate::try_from(message).unwrap();
    assert!(matches!(template.workload, Workload::Image { pull: Pull::Missing, .. }));
    assert_eq!(template.network, Network::Bridge);
    assert_eq!(template.stop_grace_period, TaskTemplate::DEFAULT_STOP_GRACE);
    assert_eq!(template.health, HealthConfig::Auto);
    assert_eq!(HealthConfig::try_from(pb::HealthConfig::default()), Ok(HealthConfig::Auto));

    let process =
        pb::TaskTemplate { command: vec!["true".to_owned()], ..pb::TaskTemplate::default() };
    assert_eq!(TaskTemplate::try_from(process).unwrap().network, Network::Host);

    let message = changed(&fixtures::task_template(), |t: &mut pb::TaskTemplate| {
        t.mounts[0].kind = 0;
        t.publish[1].protocol = 0;
    });
    let template = TaskTemplate::try_from(message).unwrap();
    assert!(matches!(template.mounts[0].kind, MountKind::Bind { .. }));
    assert_eq!(template.publish[1].protocol, Protocol::Tcp);
}

#[test]
fn an_absent_timing_takes_the_defaults_of_the_role() {
    let tcp = || Some(Kind::Tcp(tcp_port(80)));
    for role in Role::ALL {
        let bare = pb::Check { kind: tcp(), timing: None };
        let empty = pb::Check { kind: tcp(), timing: Some(pb::Timing::default()) };
        let expected = Timing::default_for(role);
        assert_eq!(Check::from_wire(role, bare).unwrap().timing, expected);
        assert_eq!(Check::from_wire(role, empty).unwrap().timing, expected);
    }
    let quick = pb::Timing { period: Some(span(0, 200_000_000)), ..pb::Timing::default() };
    let timing = Timing::from_wire(Role::Liveness, quick).unwrap();
    assert_eq!(timing.confirm_interval, timing.period);
    assert_eq!(timing.start_interval, timing.period);

    let http = pb::HttpCheck {
        endpoint: Some(pb::http_check::Endpoint::Port(80)),
        ..pb::HttpCheck::default()
    };
    let expected = HttpCheck::new(Port::new(80).unwrap());
    assert_eq!(expected.expect, StatusSet::default());
    assert_eq!(HttpCheck::try_from(http), Ok(expected));
}

#[test]
fn times_are_whole_milliseconds_of_four_digit_years() {
    let last = Timestamp::MAX;
    assert_eq!(Timestamp::try_from(prost_types::Timestamp::from(last)), Ok(last));
    for (seconds, nanos) in
        [(-1, 0), (0, -1), (0, 1), (0, 1_000_000_000), (253_402_300_800, 0), (i64::MAX, 0)]
    {
        let wire = prost_types::Timestamp { seconds, nanos };
        assert!(Timestamp::try_from(wire).is_err(), "{seconds} {nanos}");
    }
}

proptest! {
    /// Half-written and foreign bytes are refused; nothing of them brings the manager down.
    #[test]
    fn bytes_with_a_flaw_never_panic(
        report in strategies::task_report(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = pb::TaskReport::from(&report).encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(message) = pb::TaskReport::decode(bytes.as_slice())
            && let Ok(read) = TaskReport::try_from(message)
        {
            // Whatever was taken is valid, so it can be written and read again.
            let again = TaskReport::try_from(pb::TaskReport::from(&read));
            prop_assert_eq!(again.as_ref(), Ok(&read));
        }
    }
}
