//! The library of health endpoints can leave the house: as a package it is whole, and needs nothing
//! else of Warren.

use std::{fs, process::Command};

use warren_tests::{Machine, repository, text};

#[test]
fn vitals_is_packaged_whole_and_without_the_rest_of_warren() {
    let machine = Machine::without_containerd();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut package = Command::new(cargo);
    package.args(["package", "-p", "warren-vitals", "--no-verify", "--offline", "--allow-dirty"]);
    package.arg("--target-dir").arg(machine.path()).current_dir(repository());
    let packaged = package.output().unwrap();
    assert!(packaged.status.success(), "{}", text(&packaged));
    let name = format!("warren-vitals-{}", env!("CARGO_PKG_VERSION"));
    let archive = machine.path().join("package").join(format!("{name}.crate"));
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(&archive)
        .arg("-C")
        .arg(machine.path())
        .output()
        .unwrap();
    assert!(unpacked.status.success(), "{}", text(&unpacked));
    let root = machine.path().join(name);
    for file in ["README.md", "LICENSE", "src/lib.rs"] {
        assert!(root.join(file).exists(), "no {file}");
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for line in ["license = \"Apache-2.0\"", "readme = \"README.md\"", "description = \""] {
        assert!(manifest.lines().any(|l| l.starts_with(line)), "no {line} in\n{manifest}");
    }
    let others = manifest.lines().filter(|line| line.starts_with('[') && line.contains("warren-"));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new());
}
