//! The manager's database as a file: copied while it runs, looked at, put back.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use warren_tests::{Machine, binary, eventually, text};

const LIMIT: Duration = Duration::from_mins(1);

/// `warren manager …`, with no manager to talk to.
fn manager(line: &str, paths: &[&Path]) -> Output {
    let mut command = Command::new(binary());
    command.arg("manager").args(line.split(' ')).args(paths).output().unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn says(output: &Output, code: i32, sentence: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", text(output));
    assert!(text(output).contains(sentence), "{}", text(output));
}

fn restore(copy: &Path, data: &Path, more: &str) -> Output {
    let line = format!("restore{more} --data-dir");
    manager(&line, &[data, copy])
}

#[test]
fn a_backup_of_a_running_manager_brings_everything_back_and_ends_no_task() {
    let machine = Machine::without_containerd();
    let data = machine.path().join("data");
    let copy = machine.path().join("copy.redb");
    let backup = format!("manager backup {}", copy.display());
    let warren = machine.run();
    warren.ok("service create web --replicas 2 --no-healthcheck --wait -- /bin/sleep 1000");
    warren.ok(&backup);
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let again = warren.cli(&backup);
    says(&again, 5, "--force replaces it");
    warren.ok(&format!("{backup} --force"));
    let looked = manager("check", &[&copy]);
    says(&looked, 0, "1 services, 2 tasks");

    let before = ["web.1", "web.2"].map(|slot| (warren.task_id(slot), warren.task_pid(slot)));
    warren.ok("service create later --no-healthcheck --wait -- /bin/sleep 1000");
    let later = warren.task_pid("later.1");
    says(&manager("check --data-dir", &[&data]), 1, "is in use by another process");
    says(&restore(&copy, &data, " --force"), 5, "is in use by another process");
    warren.kill();
    says(&restore(&copy, &data, ""), 5, "--force keeps it");
    let restored = restore(&copy, &data, " --force");
    says(&restored, 0, "is kept as");
    assert!(data.join("warren.redb.replaced-1").exists());
    assert_eq!(code(&manager("check --data-dir", &[&data])), Some(0));

    let warren = machine.run();
    warren.shows("web", "Health: 2/2 healthy", LIMIT);
    let after = ["web.1", "web.2"].map(|slot| (warren.task_id(slot), warren.task_pid(slot)));
    assert_eq!(after, before, "the same tasks, with the same processes");
    eventually("what the backup does not know to end", LIMIT, || {
        let runs = Path::new(&format!("/proc/{later}")).exists();
        if runs { Err(warren.log()) } else { Ok(()) }
    });
    assert_eq!(warren.cli("service inspect later").status.code(), Some(4));
    assert_eq!(warren.stop(), Some(0));
}

#[test]
fn what_is_wrong_with_a_file_is_said_and_nothing_is_touched() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    let path = |name: &str| machine.path().join(name);
    let backup = |to: &Path| warren.cli(&format!("manager backup {}", to.display()));
    says(&backup(&path("no/such/place")), 1, "see that its directory is there");
    says(&backup(machine.path()), 5, "is there already");
    let forced = warren.cli(&format!("manager backup --force {}", machine.path().display()));
    says(&forced, 2, "is a directory");
    let copy = path("copy");
    assert!(backup(&copy).status.success());
    let nobody = manager("backup --host unix:///nowhere.sock", &[&path("other")]);
    says(&nobody, 3, "cannot reach the manager");
    says(&manager("check --host 127.0.0.1:1", &[&copy]), 2, "--host");

    let target = path("restored");
    let refused = |name: &str, bytes: &[u8], sentence: &str| {
        let file: PathBuf = path(name);
        fs::write(&file, bytes).unwrap();
        says(&manager("check", &[&file]), 1, sentence);
        says(&restore(&file, &target, ""), 1, sentence);
        assert!(!target.join("warren.redb").exists());
        assert!(fs::read(&file).unwrap() == bytes, "{name} is left as it is");
    };
    let whole = fs::read(&copy).unwrap();
    refused("text", b"this is not a database", "cannot read the database");
    refused("empty", b"", "is an empty file");
    refused("half", &whole[..whole.len() / 2], "the database");
    says(&manager("check", &[&path("missing")]), 4, "there is no file");
    says(&restore(&path("missing"), &target, ""), 4, "there is no file");
    assert!(restore(&copy, &target, "").status.success());
}
