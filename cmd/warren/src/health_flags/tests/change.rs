//! What the flags of `service update` change of the checks that there are.

use clap::Parser;
use warren_core::spec::{TaskTemplate, Workload};

use super::{super::*, Flags, checks, named_ports, read, refused, secs};

fn template(health: HealthConfig) -> TaskTemplate {
    TaskTemplate {
        health,
        ports: named_ports(),
        ..TaskTemplate::new(Workload::Process { command: vec!["/bin/true".to_owned()] })
    }
}

fn update(known: &HealthConfig, words: &[&str]) -> Result<HealthConfig, String> {
    without(known, &[], words)
}

fn without(known: &HealthConfig, gone: &[Role], words: &[&str]) -> Result<HealthConfig, String> {
    let flags = Flags::try_parse_from([&["x"], words].concat()).unwrap().flags;
    let change = Change { flags: &flags, gone };
    assert_eq!(change.is_any(), !(words.is_empty() && gone.is_empty()));
    change.of(&template(known.clone())).map_err(|failure| failure.to_string())
}

fn known() -> HealthConfig {
    read(&[
        "--startup-tcp",
        "1",
        "--liveness-http",
        "/a:1,period=20s,failures=7",
        "--readiness-cmd",
        "true",
    ])
    .unwrap()
}

fn of(health: Result<HealthConfig, String>) -> Checks {
    match health.unwrap() {
        HealthConfig::Checks(checks) => Checks::clone(&checks),
        other @ (HealthConfig::Auto | HealthConfig::Preset(_) | HealthConfig::Disabled) => {
            panic!("{other:?}")
        }
    }
}

// C-92
#[test]
fn the_timing_alone_keeps_the_checks_and_all_else_of_their_timing() {
    let (before, after) = (of(Ok(known())), of(update(&known(), &["--health-interval", "5s"])));
    for role in Role::ALL {
        let (was, is) = (before.get(role).clone().unwrap(), after.get(role).clone().unwrap());
        assert_eq!(is.kind, was.kind);
        let timing = Timing { period: Period::new(secs(5)).unwrap(), ..was.timing };
        assert_eq!(is.timing, timing, "{role:?}");
    }
}

#[test]
fn what_belongs_to_one_role_is_changed_there_alone() {
    let after =
        of(update(&known(), &["--health-start-period", "9s", "--health-min-failing", "8s"]));
    let timing = |role| after.get(role).as_ref().unwrap().timing;
    let periods = Role::ALL.map(|role| timing(role).start_period.get());
    assert_eq!(periods, [secs(9), secs(0), secs(0)]);
    let failing = Role::ALL.map(|role| timing(role).min_failing.get());
    assert_eq!(failing, [secs(8), secs(8), secs(0)]);
    let one = checks(&["--health-tcp", "1"]);
    let after = of(update(&HealthConfig::Checks(Arc::new(one)), &["--health-start-period", "9s"]));
    assert_eq!(after.startup, None, "its tasks have started");
}

// C-92
#[test]
fn the_flag_of_a_role_takes_the_place_of_its_check_alone() {
    let before = of(Ok(known()));
    let after = of(update(&known(), &["--readiness-http", "path=/r,port=grpc,period=3s"]));
    assert_eq!((&after.startup, &after.liveness), (&before.startup, &before.liveness));
    let said = Flags::try_parse_from(["x", "--readiness-http", "path=/r,port=grpc,period=3s"]);
    let said = of(health_config(&said.unwrap().flags, &[], &named_ports())
        .map_err(|failure| failure.to_string()));
    assert_eq!(after.readiness, said.readiness);
    let first = of(update(&HealthConfig::Auto, &["--readiness-tcp", "1"]));
    assert_eq!((first.startup, first.liveness), (None, None));
}

// C-95
#[test]
fn the_check_of_a_role_is_taken_away_alone() {
    let before = of(Ok(known()));
    let after = of(without(&known(), &[Role::Liveness], &["--health-interval", "5s"]));
    assert_eq!(after.liveness, None);
    let retimed = of(update(&known(), &["--health-interval", "5s"]));
    assert_eq!((&after.startup, &after.readiness), (&retimed.startup, &retimed.readiness));
    let after = of(without(&known(), &[Role::Startup, Role::Readiness], &[]));
    assert_eq!(after, Checks { startup: None, readiness: None, ..before });
}

#[test]
fn what_cannot_be_taken_away_is_refused() {
    let liveness = [Role::Liveness];
    let only = HealthConfig::Checks(Arc::new(checks(&["--liveness-tcp", "1"])));
    let by_role = "the service has no checks by role: name --health-* or --no-healthcheck";
    let all = "what names the checks of all roles leaves none to take away";
    let cases: [(&HealthConfig, &[Role], &[&str], &str); 7] = [
        (&only, &liveness, &[], "--health-rm: no check would be left: say --no-healthcheck"),
        (&only, &[Role::Startup], &[], "--health-rm: the service has no check for startup"),
        (&known(), &[Role::Startup; 2], &[], "--health-rm: the service has no check for startup"),
        (&known(), &liveness, &["--health-tcp", "1"], &format!("--health-rm: {all}")),
        (&known(), &liveness, &["--no-healthcheck"], &format!("--health-rm: {all}")),
        (&HealthConfig::Auto, &liveness, &[], &format!("--health-rm: {by_role}")),
        (
            &known(),
            &liveness,
            &["--liveness-tcp", "1"],
            "--health-rm liveness contradicts --liveness-tcp",
        ),
    ];
    for (known, gone, words, why) in cases {
        assert_eq!(without(known, gone, words).unwrap_err(), why);
    }
}

#[test]
fn a_check_for_all_roles_says_all() {
    let words = ["--health-tcp", "9", "--health-interval", "5s"];
    assert_eq!(update(&known(), &words), read(&words));
    assert_eq!(update(&known(), &["--no-healthcheck"]), Ok(HealthConfig::Disabled));
    let words = ["--health-preset", "redis"];
    assert_eq!(update(&known(), &words), read(&words));
    assert_eq!(update(&known(), &[]), Ok(known()));
}

#[test]
fn a_preset_keeps_what_is_not_named() {
    let redis = read(&["--health-preset", "redis,port=7", "--health-timeout", "2s"]).unwrap();
    let expected =
        ["--health-preset", "redis,port=7", "--health-timeout", "2s", "--health-interval", "5s"];
    assert_eq!(update(&redis, &["--health-interval", "5s"]), read(&expected));
    assert_eq!(
        update(&redis, &["--liveness-tcp", "1"]).unwrap_err(),
        "--liveness-tcp: the service has a preset, which is all of its checks: name --health-* \
         instead"
    );
}

#[test]
fn there_must_be_something_to_change() {
    for known in [HealthConfig::Auto, HealthConfig::Disabled] {
        let why = update(&known, &["--health-interval", "5s"]).unwrap_err();
        assert!(why.starts_with("--health-interval needs a check"), "{why}");
    }
}

#[test]
fn what_a_preset_does_not_have_is_refused() {
    let known = "--health-interval, --health-timeout, --health-start-period, --health-retries";
    for flag in ["--health-min-failing", "--health-start-interval", "--health-stop-grace-period"] {
        let why = format!("{flag}: is not for a preset: of its timing there are {known}");
        refused(&["--health-preset", "redis", flag, "1s"], &why);
    }
}

// C-45
#[test]
fn a_check_may_say_how_long_its_failure_leaves_to_stop() {
    let grace =
        |role: &Option<Check>| role.as_ref().unwrap().timing.stop_grace_period.map(StopGrace::get);
    let all = checks(&["--health-tcp", "1", "--health-stop-grace-period", "2s"]);
    assert_eq!((grace(&all.liveness), grace(&all.readiness)), (Some(secs(2)), None));
    let own = checks(&["--liveness-tcp", "1,stop-grace-period=0s"]);
    assert_eq!(grace(&own.liveness), Some(secs(0)));
    let why = read(&["--readiness-tcp", "1,stop-grace-period=1s"]).unwrap_err();
    assert!(why.contains("is not a key here"), "{why}");
}

#[test]
fn a_path_that_ends_like_a_bad_port_is_no_path() {
    for (value, port) in [("/x:-1", "-1"), ("/x:+80", "+80"), ("/x:", "")] {
        let path = format!("{port:?} is not a port; say path={value} for such a path");
        refused(&["--health-http", value], &format!("--health-http: {path}"));
    }
    let kind = checks(&["--health-http", "path=/x:-1,port=80"]).liveness.unwrap().kind;
    let CheckKind::Http(http) = kind else { panic!("{kind:?}") };
    assert_eq!(http.path.as_str(), "/x:-1");
}
