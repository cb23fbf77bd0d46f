//! Another controller, written in Python against `proto/`, drives Warren through its API alone.

use std::{fs, path::PathBuf, process::Command};

use warren_tests::{Machine, repository, text};

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A Python with grpcio, kept between runs.
fn python() -> PathBuf {
    let environment = repository().join("target/controller-test");
    let python = environment.join("bin/python");
    let requirements = repository().join("tests/controller/requirements.txt");
    let installed = environment.join("installed.txt");
    if fs::read(&installed).ok() != Some(fs::read(&requirements).unwrap()) {
        succeed(Command::new("python3").args(["-m", "venv"]).arg(&environment));
        let mut pip = Command::new(&python);
        succeed(pip.args(["-m", "pip", "install", "--quiet", "-r"]).arg(&requirements));
        fs::copy(&requirements, &installed).unwrap();
    }
    python
}

#[test]
fn a_python_controller_creates_watches_and_judges() {
    let machine = Machine::without_containerd();
    let warren = machine.run();
    let python = python();
    let stubs = machine.path().join("stubs");
    fs::create_dir_all(&stubs).unwrap();
    let proto = repository().join("proto");
    let mut protoc = Command::new(&python);
    protoc.args(["-m", "grpc_tools.protoc", "-I"]).arg(&proto);
    for out in ["--python_out", "--grpc_python_out"] {
        protoc.arg(format!("{out}={}", stubs.display()));
    }
    let files = fs::read_dir(proto.join("warren/v1")).unwrap();
    succeed(protoc.args(files.map(|file| file.unwrap().path())));

    let mut controller = Command::new(&python);
    controller.arg(repository().join("tests/controller/controller.py"));
    controller.arg(warren.host.trim_start_matches("unix://")).arg(machine.path());
    let said = succeed(controller.env("PYTHONPATH", &stubs));
    assert!(said.ends_with("done\n"), "{said}");
}
