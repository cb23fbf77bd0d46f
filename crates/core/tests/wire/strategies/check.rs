//! Arbitrary checks.

use std::sync::Arc;

use proptest::{collection::vec, option, prelude::*, sample::select};
use warren_core::{
    bounds::{Port, Threshold},
    check::{
        ByRole, Ca, Check, CheckKind, Checks, Command, Endpoint, ExecCheck, ExitCodes, FileCheck,
        Flapping, GrpcCheck, GrpcHost, GrpcService, HealthConfig, HttpCheck, HttpHeader,
        HttpMethod, HttpPath, HttpVersion, NamedPort, Parts, Payload, PortRef, Preset, PresetCheck,
        Role, ServerName, StatusSet, TcpCheck, TextMatch, Timing, Tls, Trust,
    },
};

use super::{
    program, span,
    spec::{absolute_path, user},
};

pub fn port() -> impl Strategy<Value = Port> {
    (1..=65_535_u32).prop_map(|number| Port::new(number).unwrap())
}

fn threshold() -> impl Strategy<Value = Threshold> {
    (1..=1000_u32).prop_map(|count| Threshold::new(count).unwrap())
}

fn timing(role: Role) -> impl Strategy<Value = Timing> {
    let flapping =
        (2..=64_u32, 2..=64_u32).prop_map(|(a, b)| Flapping::new(a.min(b), a.max(b)).unwrap());
    let spans = (span(), span(), span(), span(), span(), span(), span());
    let last = (option::of(flapping), option::of(span()));
    (spans, threshold(), threshold(), last).prop_map(
        move |(spans, failures, successes, (flapping, stop_grace_period))| {
            let (period, timeout, delay, start_period, start_interval, confirm, min_failing) =
                spans;
            let timing = Timing {
                period,
                timeout,
                delay,
                start_period,
                start_interval,
                confirm_interval: confirm,
                failures,
                successes,
                min_failing,
                flapping,
                stop_grace_period,
            };
            timing.kept_by(role)
        },
    )
}

fn http_check() -> impl Strategy<Value = HttpCheck> {
    let method = "[A-Z][A-Z-]{0,9}"
        .prop_filter("CONNECT is none", |method| method != "CONNECT")
        .prop_map(|method| HttpMethod::new(method).unwrap());
    let header = ("[A-Za-z0-9!$%&'*+.^_`|~-]{1,12}", "[ -~\t]{0,20}")
        .prop_map(|(name, value)| HttpHeader::new(name, value).unwrap());
    let range = (100..=599_u16, 100..=599_u16).prop_map(|(a, b)| (a.min(b), a.max(b)));
    (
        option::of(tls()),
        endpoint(),
        select(vec![HttpVersion::Http1, HttpVersion::Http2]),
        "/[!-\"$-~]{0,30}".prop_map(|path| HttpPath::new(path).unwrap()),
        method,
        vec(header, 0..4),
        vec(range, 1..5).prop_map(|ranges| StatusSet::new(ranges).unwrap()),
        (option::of(text_match()), option::of(text_match()), any::<bool>(), payload()),
    )
        .prop_map(|(tls, endpoint, version, path, method, headers, expect, rest)| {
            let (body, body_not, kept, send) = rest;
            let check = HttpCheck {
                tls,
                endpoint,
                version,
                path,
                method,
                headers,
                expect,
                body,
                body_not,
                keep_alive: false,
                send,
            };
            let check = check.clone().consistent().unwrap_or_else(|_| HttpCheck {
                method: HttpMethod::new("POST").unwrap(),
                ..check
            });
            // Where it can be.
            if kept { check.clone().kept().unwrap_or(check) } else { check }
        })
}

/// What a template of [`ports`] takes: its names, and numbers.
fn port_ref() -> impl Strategy<Value = PortRef> {
    prop_oneof![
        port().prop_map(PortRef::Number),
        select(NAMES.to_vec()).prop_map(|name| PortRef::Name(name.parse().unwrap())),
    ]
}

const NAMES: [&str; 2] = ["admin", "http-2"];

/// All the names that checks may call for.
pub fn ports() -> impl Strategy<Value = Vec<NamedPort>> {
    [port(), port()].prop_map(|numbers| {
        let named = |(name, port): (&str, Port)| NamedPort { name: name.parse().unwrap(), port };
        NAMES.into_iter().zip(numbers).map(named).collect()
    })
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    prop_oneof![port_ref().prop_map(Endpoint::Port), absolute_path().prop_map(Endpoint::Socket)]
}

fn text_match() -> impl Strategy<Value = TextMatch> {
    prop_oneof![
        ".{1,20}".prop_map(|text| TextMatch::contains(text).unwrap()),
        "[a-z]{1,5}[*+?]\\(x\\|[0-9]\\)".prop_map(|regex| TextMatch::regex(regex).unwrap()),
    ]
}

fn tls() -> impl Strategy<Value = Tls> {
    let ca = Ca::new(include_str!("../ca.pem")).unwrap();
    let trust = select(vec![Trust::Anyone, Trust::Node, Trust::Ca(ca)]);
    let name = "[a-z]{1,8}\\.example|127\\.0\\.0\\.1|::1";
    let server_name = name.prop_map(|name| ServerName::new(name).unwrap());
    (trust, option::of(server_name)).prop_map(|(trust, server_name)| Tls { trust, server_name })
}

fn payload() -> impl Strategy<Value = Payload> {
    vec(any::<u8>(), 0..20).prop_map(|bytes| Payload::new(bytes).unwrap())
}

fn tcp_check() -> impl Strategy<Value = TcpCheck> {
    (endpoint(), option::of(tls()), payload(), option::of(text_match()))
        .prop_map(|(endpoint, tls, send, expect)| TcpCheck { endpoint, tls, send, expect })
}

fn exec_check() -> impl Strategy<Value = ExecCheck> {
    let command = prop_oneof![
        program().prop_map(|argv| Command::argv(argv).unwrap()),
        "[!-~]{1,20}".prop_map(|line| Command::shell(line).unwrap()),
    ];
    let exits = (vec(0..100_u32, 0..3), vec(100..256_u32, 0..3))
        .prop_map(|(pass, inconclusive)| ExitCodes::new(&pass, &inconclusive).unwrap());
    (command, option::of(user()), exits, option::of(text_match()))
        .prop_map(|(command, user, exits, expect)| ExecCheck { command, user, exits, expect })
}

fn grpc_check() -> impl Strategy<Value = GrpcCheck> {
    let service = "[ -~]{0,20}".prop_map(|name| GrpcService::new(name).unwrap());
    let host = "[a-z]{1,8}\\.example(:80)?|127\\.0\\.0\\.1|\\[::1\\]:443";
    let host = host.prop_map(|host| GrpcHost::new(host).unwrap());
    (endpoint(), service, option::of(tls()), option::of(host))
        .prop_map(|(endpoint, service, tls, host)| GrpcCheck { endpoint, service, tls, host })
}

fn file_check() -> impl Strategy<Value = FileCheck> {
    (absolute_path(), option::of(span())).prop_map(|(path, max_age)| FileCheck { path, max_age })
}

fn single_kind() -> impl Strategy<Value = CheckKind> {
    prop_oneof![
        http_check().prop_map(CheckKind::Http).boxed(),
        tcp_check().prop_map(CheckKind::Tcp).boxed(),
        exec_check().prop_map(CheckKind::Exec).boxed(),
        grpc_check().prop_map(CheckKind::Grpc).boxed(),
        file_check().prop_map(CheckKind::File).boxed(),
    ]
    .boxed()
}

fn check(role: Role) -> impl Strategy<Value = Option<Check>> {
    option::of(a_check(role)).boxed()
}

pub fn a_check(role: Role) -> impl Strategy<Value = Check> {
    let parts = || vec(single_kind(), 2..5).prop_map(|kinds| Parts::new(kinds).unwrap());
    let kind = prop_oneof![
        8 => single_kind(),
        1 => parts().prop_map(CheckKind::All).boxed(),
        1 => parts().prop_map(CheckKind::Any).boxed(),
    ]
    // Its parts by value would not fit a test's stack.
    .boxed();
    (kind, timing(role)).prop_map(|(kind, timing)| Check { kind, timing }).boxed()
}

pub fn checks() -> impl Strategy<Value = Checks> {
    (check(Role::Startup), check(Role::Liveness), check(Role::Readiness))
        .prop_map(|(startup, liveness, readiness)| ByRole { startup, liveness, readiness })
}

pub fn health_config() -> impl Strategy<Value = HealthConfig> {
    prop_oneof![
        Just(HealthConfig::Auto),
        checks().prop_map(|checks| HealthConfig::Checks(Arc::new(checks))),
        preset_check().prop_map(HealthConfig::Preset),
        Just(HealthConfig::Disabled),
    ]
}

fn preset_check() -> impl Strategy<Value = PresetCheck> {
    let fields = (
        // Without one it depends on the image whether a template is valid.
        select(Preset::ALL.to_vec()).prop_map(Some),
        option::of(port()),
        option::of(span()),
        option::of(span()),
        option::of(span()),
        option::of(threshold()),
    );
    fields.prop_map(|(preset, port, period, timeout, start_period, failures)| PresetCheck {
        preset,
        port,
        period,
        timeout,
        start_period,
        failures,
    })
}
