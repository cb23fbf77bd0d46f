//! Arbitrary checks.

use proptest::{collection::vec, option, prelude::*, sample::select};
use warren_core::{
    bounds::{Delay, Port, Threshold},
    check::{
        ByRole, Check, CheckKind, Checks, ExecCheck, HealthConfig, HttpCheck, HttpHeader,
        HttpMethod, HttpPath, Role, Scheme, StatusSet, TcpCheck, Timing,
    },
};

use super::{program, span};

pub fn port() -> impl Strategy<Value = Port> {
    (1..=65_535_u32).prop_map(|number| Port::new(number).unwrap())
}

fn threshold() -> impl Strategy<Value = Threshold> {
    (1..=1000_u32).prop_map(|count| Threshold::new(count).unwrap())
}

fn timing(role: Role) -> impl Strategy<Value = Timing> {
    let start_period = match role {
        Role::Startup => span().boxed(),
        Role::Liveness | Role::Readiness => Just(Delay::MIN).boxed(),
    };
    (span(), span(), span(), start_period, span(), threshold(), threshold()).prop_map(
        |(period, timeout, delay, start_period, confirm_interval, failures, successes)| Timing {
            period,
            timeout,
            delay,
            start_period,
            confirm_interval,
            failures,
            successes,
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
        select(vec![Scheme::Http, Scheme::Https]),
        port(),
        "/[!-\"$-~]{0,30}".prop_map(|path| HttpPath::new(path).unwrap()),
        method,
        vec(header, 0..4),
        vec(range, 1..5).prop_map(|ranges| StatusSet::new(ranges).unwrap()),
    )
        .prop_map(|(scheme, port, path, method, headers, expect)| HttpCheck {
            scheme,
            port,
            path,
            method,
            headers,
            expect,
        })
}

fn check(role: Role) -> impl Strategy<Value = Option<Check>> {
    option::of(a_check(role))
}

pub fn a_check(role: Role) -> impl Strategy<Value = Check> {
    let kind = prop_oneof![
        http_check().prop_map(CheckKind::Http),
        port().prop_map(|port| CheckKind::Tcp(TcpCheck { port })),
        program().prop_map(|argv| CheckKind::Exec(ExecCheck::new(argv).unwrap())),
    ];
    (kind, timing(role)).prop_map(|(kind, timing)| Check { kind, timing })
}

pub fn checks() -> impl Strategy<Value = Checks> {
    (check(Role::Startup), check(Role::Liveness), check(Role::Readiness))
        .prop_map(|(startup, liveness, readiness)| ByRole { startup, liveness, readiness })
}

pub fn health_config() -> impl Strategy<Value = HealthConfig> {
    prop_oneof![
        Just(HealthConfig::Auto),
        checks().prop_map(|checks| HealthConfig::Checks(Box::new(checks))),
        Just(HealthConfig::Disabled),
    ]
}
