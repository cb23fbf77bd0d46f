//! How checks are run: one at a time, ended from outside, contained.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use vitals::{
    CheckError, Component, Status, Vitals,
    testing::{FakeCheck, FakeClock},
};

use crate::support::{ask, code};

const SECOND: Duration = Duration::from_secs(1);

fn message(report: &vitals::Report, name: &str) -> String {
    let part = report.components.iter().find(|part| part.name == name).unwrap();
    part.message.clone().unwrap_or_default()
}

/// Lets the clock go on until the report is there.
async fn report_by_the_clock(health: &Vitals, clock: &FakeClock) -> vitals::Report {
    let mut report = std::pin::pin!(health.report());
    loop {
        tokio::select! {
            biased;
            report = &mut report => return report,
            () = tokio::task::yield_now() => clock.advance(Duration::from_millis(1)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_at_once_run_each_check_once() {
    let (slow, quick) = (FakeCheck::passing(), FakeCheck::passing());
    slow.hang();
    let health = Vitals::new("a", "1")
        .component(
            Component::critical("slow", slow.clone()).on_demand(60 * SECOND).timeout(60 * SECOND),
        )
        .component(Component::critical("quick", quick.clone()).on_demand(60 * SECOND));
    let mut requests = JoinSet::new();
    for _ in 0..1000 {
        let health = health.clone();
        requests.spawn(async move { code(&health, "/health").await });
    }
    while slow.runs() == 0 {
        tokio::task::yield_now().await;
    }
    slow.pass();
    assert_eq!(requests.join_all().await, vec![200; 1000]);
    assert_eq!((slow.runs(), quick.runs()), (1, 1));
}

#[tokio::test]
async fn a_check_that_hangs_is_given_up_and_the_others_are_told_all_the_same() {
    let (clock, hanging) = (FakeClock::new(), FakeCheck::passing());
    hanging.hang();
    let health = Vitals::new("a", "1")
        .clock(&clock)
        .critical("hanging", hanging.clone())
        .non_critical("good", FakeCheck::passing());
    let report = report_by_the_clock(&health, &clock).await;
    assert_eq!(report.status, Status::Unhealthy);
    assert_eq!(message(&report, "hanging"), "no answer within 2 s");
    assert_eq!(message(&report, "good"), "");
    assert!(report.total_latency <= Duration::from_millis(2050), "{:?}", report.total_latency);
    // Aborted, so that the next run can start, and can succeed.
    hanging.pass();
    clock.advance(SECOND);
    assert_eq!(report_by_the_clock(&health, &clock).await.status, Status::Healthy);
    assert_eq!(hanging.runs(), 2);
}

/// It holds its thread, so aborting it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_check_that_ignores_its_end_is_never_run_twice_at_once() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let check = {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        move || {
            let (running, most, held) =
                (Arc::clone(&running), Arc::clone(&most), Arc::clone(&held));
            async move {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                let _ = held.lock().unwrap().recv();
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            }
        }
    };
    let component = Component::critical("stubborn", check)
        .timeout(Duration::from_millis(50))
        .on_demand(Duration::ZERO);
    let health = Vitals::new("a", "1").component(component);
    let started = Instant::now();
    let report = health.report().await;
    assert_eq!(report.status, Status::Unhealthy);
    assert_eq!(message(&report, "stubborn"), "no answer within 0.05 s");
    assert!(started.elapsed() < 10 * SECOND);
    for _ in 0..5 {
        let report = health.report().await;
        let said = message(&report, "stubborn");
        assert!(said.starts_with("the last run was aborted and still runs after"), "{said}");
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
    // The sender's end lets it end; then it may be run again.
    drop(release);
    loop {
        if health.report().await.status == Status::Healthy {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_panic_is_a_failure_of_its_component_alone() {
    let (bad, good) = (FakeCheck::passing(), FakeCheck::passing());
    bad.panic("index out of bounds");
    let health = Vitals::new("a", "1").non_critical("bad", bad).critical("good", good);
    let report = health.report().await;
    assert_eq!(report.status, Status::Degraded);
    assert_eq!(message(&report, "bad"), "panicked: index out of bounds");
}

#[tokio::test]
async fn periodic_checks_run_by_themselves_and_requests_run_none() {
    let (clock, check) = (FakeClock::new(), FakeCheck::passing());
    let component = Component::critical("x", check.clone()).periodic(10 * SECOND).jitter(0.0);
    let health = Vitals::new("a", "1").clock(&clock).component(component);
    assert_eq!(code(&health, "/health").await, 503, "not checked yet");
    let mut changes = health.subscribe();
    changes.wait_for(|report| report.status == Status::Healthy).await.unwrap();
    for _ in 0..10 {
        assert_eq!(code(&health, "/health").await, 200);
    }
    assert_eq!(check.runs(), 1);
    check.fail("down");
    clock.advance(10 * SECOND);
    changes.wait_for(|report| report.status == Status::Unhealthy).await.unwrap();
    assert_eq!(check.runs(), 2);
    check.pass();
    clock.advance(10 * SECOND);
    changes.wait_for(|report| report.status == Status::Healthy).await.unwrap();
}

#[tokio::test]
async fn a_periodic_check_that_runs_no_more_is_stale_and_never_yesterdays_200() {
    let (clock, check) = (FakeClock::new(), FakeCheck::passing());
    let component =
        Component::critical("x", check.clone()).periodic(10 * SECOND).max_age(15 * SECOND);
    let health = Vitals::new("a", "1").clock(&clock).component(component);
    health.start();
    health.subscribe().wait_for(|report| report.status == Status::Healthy).await.unwrap();
    // Without a turn for the background, as if it had died.
    clock.advance(16 * SECOND);
    let report = health.last_report();
    let part = report.components.iter().find(|part| part.name == "x").unwrap();
    assert!(part.stale);
    assert_eq!(report.status, Status::Unhealthy);
    assert_eq!(message(&report, "x"), "stale: last checked 16 s ago");
}

#[tokio::test]
async fn listeners_hear_of_changes_and_not_of_runs() {
    let (clock, check) = (FakeClock::new(), FakeCheck::passing());
    let health = Vitals::new("a", "1").clock(&clock).critical("x", check.clone());
    let mut changes = health.subscribe();
    health.report().await;
    assert_eq!(changes.borrow_and_update().status, Status::Healthy);
    for _ in 0..3 {
        clock.advance(2 * SECOND);
        health.report().await;
    }
    assert_eq!(check.runs(), 4);
    assert!(!changes.has_changed().unwrap());
    check.fail("down");
    clock.advance(2 * SECOND);
    health.report().await;
    assert!(changes.has_changed().unwrap());
    let report = changes.borrow_and_update().clone();
    assert_eq!((report.status, message(&report, "x").as_str()), (Status::Unhealthy, "down"));
}

/// What is logged while this thread writes to it.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_change_is_logged_once_at_info_and_a_run_is_not() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let (clock, check) = (FakeClock::new(), FakeCheck::passing());
    let component = Component::critical("x", check.clone()).periodic(10 * SECOND).jitter(0.0);
    let health = Vitals::new("a", "1").clock(&clock).secret("s3same").component(component);
    health.start();
    let mut changes = health.subscribe();
    changes.wait_for(|report| report.status == Status::Healthy).await.unwrap();
    for word in ["no s3same", "still no s3same"] {
        check.fail(word);
        let runs = check.runs();
        clock.advance(10 * SECOND);
        while check.runs() == runs {
            tokio::task::yield_now().await;
        }
        changes.wait_for(|report| report.status == Status::Unhealthy).await.unwrap();
    }
    check.pass();
    clock.advance(10 * SECOND);
    changes.wait_for(|report| report.status == Status::Healthy).await.unwrap();
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let told: Vec<String> = lines
        .filter(|line| line["target"].as_str().unwrap().starts_with("vitals"))
        .map(|line| {
            ["level", "message", "component", "from", "to", "said"]
                .map(|key| line[key].as_str().unwrap_or("-").to_owned())
                .join(" ")
        })
        .collect();
    let expected = [
        "INFO component changed x unknown healthy -",
        "INFO component changed x healthy unhealthy no ***",
        "INFO component changed x unhealthy healthy -",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn background_work_ends_with_the_last_handle() {
    let check = FakeCheck::passing();
    let component = Component::critical("x", check.clone()).periodic(Duration::from_millis(1));
    let health = Vitals::new("a", "1").component(component);
    health.start();
    health.subscribe().wait_for(|report| report.status == Status::Healthy).await.unwrap();
    let metrics = tokio::runtime::Handle::current().metrics();
    assert!(metrics.num_alive_tasks() > 0);
    drop(health);
    while metrics.num_alive_tasks() > 0 {
        tokio::task::yield_now().await;
    }
}

/// One thread runs the checks, and one of them holds it; the answer comes from another one.
#[test]
fn an_answer_keeps_its_time_though_the_runtime_is_blocked() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let health = Vitals::new("a", "1").component(
        Component::critical("blocking", move || {
            let held = Arc::clone(&held);
            async move {
                let _ = held.lock().unwrap().recv();
                Ok::<_, CheckError>(())
            }
        })
        .timeout(Duration::from_millis(100)),
    );
    runtime.block_on(async { health.start() });
    let asking = {
        let health = health.clone();
        thread::spawn(move || {
            let elsewhere =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let answer = elsewhere.block_on(ask(&health, "/health"));
            drop(release);
            answer
        })
    };
    // The check is launched onto this runtime, which it then holds.
    runtime.block_on(async {
        while !asking.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let answer = asking.join().unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.body().contains("no answer within 0.1 s"), "{}", answer.body());
}
