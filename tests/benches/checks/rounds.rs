//! One after another: who is measured, how, and what is made of it.

use std::{thread::sleep, time::Duration};

use serde_json::json;

use crate::{
    BEHIND, Options,
    child::{self, Process},
    haproxy::{self, Haproxy},
    show::{Row, as_f64, table},
    targets::Plan,
};

/// Until caches, buffers and the pace are what they stay.
const WARM_UP: Duration = Duration::from_secs(2);

/// The period of checks that sleep nearly always. Their tasks start at a pace at which few attempts
/// are under way at a time: what those take, an allocator keeps.
pub const IDLE: Duration = Duration::from_secs(2);
/// Until all has been attempted so often that it remembers as many attempts as it ever does.
const IDLE_WARM_UP: Duration = Duration::from_secs(9 * IDLE.as_secs());

pub fn run(options: &Options) {
    let Options { plan, mixed, .. } = options;
    println!(
        "{} targets, each every {:?}; CPU per attempt, of the process that asks, both user and \
         system",
        plan.targets, plan.period
    );
    if *mixed {
        return run_mixed(options);
    }
    let mut rows = Vec::new();
    let mut add = |name: &str, measure: &dyn Fn(&str) -> Row| {
        let wanted = options.only.is_empty() || options.only.iter().any(|o| name.starts_with(o));
        if wanted {
            rows.push(measure(name));
        }
    };
    add("bare socket loop, fresh", &|name| ours(options, name, "bare", "fresh"));
    add("bare socket loop, kept", &|name| ours(options, name, "bare", "kept"));
    add("worker, HTTP fresh", &|name| ours(options, name, "worker", "fresh"));
    add("worker, HTTP kept", &|name| ours(options, name, "worker", "kept"));
    add("worker, HTTP, namespace", &|name| {
        let plan = Plan { netns: true, ..*plan };
        ours(&Options { plan, ..options.clone() }, name, "worker", "fresh")
    });
    add("worker, HTTP, ahead", &|name| {
        against(&["answer", BEHIND], options, name, ["worker", "fresh"])
    });
    add("worker, TCP", &|name| ours(options, name, "worker", "tcp"));
    let idle = Plan { period: IDLE, ..*plan };
    let idle = |name: &str, targets, mode| {
        let plan = Plan { targets, ..idle };
        ours(&Options { plan, ..options.clone() }, name, "worker", mode)
    };
    add("worker, idle, one task", &|name| idle(name, 1, "none"));
    add("worker, idle, no checks", &|name| idle(name, plan.targets, "none"));
    add("worker, idle, one check", &|name| idle(name, plan.targets, "fresh"));
    add("worker, idle, two checks", &|name| idle(name, plan.targets, "two"));
    add("worker, idle, kept", &|name| idle(name, plan.targets, "kept"));
    if let Some(version) = haproxy::version() {
        add(&format!("HAProxy {version}"), &|name| haproxy(options, name));
    }
    println!("\n{}", table(&rows));
    println!("{}", summary(&rows, plan));
}

fn run_mixed(options: &Options) {
    let plan = Plan { targets: options.plan.targets / 2, ..options.plan };
    let options = Options { plan, ..options.clone() };
    let row = ours(&options, "worker, of every kind", "worker", "mixed");
    println!("\n{}", table(std::slice::from_ref(&row)));
    let line = json!({
        "checks": plan.targets * 2,
        "attempts_per_second": round(row.per_second),
        "cpu_us": round(row.cpu_us()),
        "lateness_p99_ms": row.late_ms.map(|[_, p99, _]| p99),
        "resident_bytes": row.resident_bytes,
        "time_wait": row.time_wait,
    });
    println!("{line}");
}

/// One of our own processes, that says itself how late it was.
fn ours(options: &Options, name: &str, role: &str, mode: &str) -> Row {
    against(&["answer"], options, name, [role, mode])
}

fn against(answers: &[&str], options: &Options, name: &str, [role, mode]: [&str; 2]) -> Row {
    let answers: Vec<_> = answers.iter().map(|arg| (*arg).to_owned()).collect();
    let mut answers = Process::start(&answers);
    let [targets, period, netns] = options.plan.to_args();
    let args = [role.to_owned(), mode.to_owned(), targets, period, netns];
    let mut asks = Process::start(&args);
    let pid = asks.pid();
    let mut row = measure(options, name, pid, &mut answers, || asks.ask("late"));
    let late = numbers::<4>(&asks.ask("late"));
    row.late_ms = late.map(|[p50, p99, most, _]| [p50, p99, most]);
    if options.mixed
        && let Some([.., attempts]) = late
    {
        // Not all of them are seen by the one who answers.
        row = row.over(attempts / as_f64(options.seconds));
    }
    drop(asks);
    row.time_wait = child::time_wait();
    row
}

fn haproxy(options: &Options, name: &str) -> Row {
    let mut answers = Process::start(&["answer".to_owned()]);
    let asks = Haproxy::start(&options.plan);
    // It begins its checks spread over the first period.
    sleep(options.plan.period);
    let mut row = measure(options, name, asks.pid(), &mut answers, String::new);
    drop(asks);
    row.time_wait = child::time_wait();
    row
}

/// `begin` is called as the measured time begins.
fn measure(
    options: &Options,
    name: &str,
    pid: u32,
    answers: &mut Process,
    begin: impl FnOnce() -> String,
) -> Row {
    let made = |answers: &mut Process| {
        // Of TCP alone there are no answers.
        numbers(&answers.ask("count"))
            .map_or(0.0, |[answers, connections]| if answers > 0.0 { answers } else { connections })
    };
    sleep(if options.plan.period == IDLE { IDLE_WARM_UP } else { WARM_UP });
    drop(begin());
    let (count, cpu) = (made(answers), child::cpu(pid));
    sleep(Duration::from_secs(options.seconds));
    let (attempts, spent) = (made(answers) - count, child::cpu(pid));
    let each = |after: Duration, before: Duration| {
        let micros = after.saturating_sub(before).as_secs_f64() * 1e6;
        if attempts > 0.0 { micros / attempts } else { 0.0 }
    };
    let row = Row {
        name: name.to_owned(),
        per_second: attempts / as_f64(options.seconds),
        user_us: each(spent.user, cpu.user),
        system_us: each(spent.system, cpu.system),
        late_ms: None,
        resident_bytes: child::resident_bytes(pid),
        time_wait: 0,
    };
    println!("  {name}: {:.1} µs", row.cpu_us());
    row
}

/// Null where one of those who ask was left out.
fn summary(rows: &[Row], plan: &Plan) -> serde_json::Value {
    let row = |name: &str| rows.iter().find(|row| row.name.starts_with(name));
    let cpu = |name: &str| row(name).map(Row::cpu_us);
    let (fresh, kept) = (cpu("worker, HTTP fresh"), cpu("worker, HTTP kept"));
    let haproxy = cpu("HAProxy");
    let ratio = |ours: Option<f64>| Some(round(ours? / haproxy?));
    let worker = row("worker, HTTP fresh");
    let each = |more: &str, less: &str| {
        let (more, less) = (row(more)?.resident_bytes, row(less)?.resident_bytes);
        Some(more.saturating_sub(less) / u64::try_from(plan.targets).unwrap())
    };
    json!({
        "cpu_us_fresh": fresh.map(round),
        "cpu_us_kept": kept.map(round),
        "bare_cpu_us_fresh": cpu("bare socket loop, fresh").map(round),
        "bare_cpu_us_kept": cpu("bare socket loop, kept").map(round),
        "haproxy_cpu_us": haproxy.map(round),
        "ratio_fresh": ratio(fresh),
        "ratio_kept": ratio(kept),
        "lateness_p99_ms": worker.and_then(|row| row.late_ms).map(|[_, p99, _]| p99),
        "bytes_per_task": each("worker, idle, no checks", "worker, idle, one task"),
        "bytes_per_check": each("worker, idle, one check", "worker, idle, no checks"),
        "bytes_per_second_check": each("worker, idle, two checks", "worker, idle, one check"),
        "bytes_per_kept_check": each("worker, idle, kept", "worker, idle, no checks"),
        "time_wait": worker.map(|row| row.time_wait),
    })
}

/// Numbers with a blank between them.
fn numbers<const N: usize>(text: &str) -> Option<[f64; N]> {
    let numbers: Vec<f64> = text.split(' ').map_while(|part| part.parse().ok()).collect();
    numbers.try_into().ok()
}

fn round(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
