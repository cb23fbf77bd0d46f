//! What the documents say can be typed, is typed. A fence marked `sh` runs as a script of its own,
//! in the order of the text, against a fresh Warren; one marked `console` only shows.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use warren_tests::{Machine, Warren, binary, have_root, manual, repository, text};

/// A directory that looks like the repository's root to what is typed in it.
fn workplace(machine: &Machine) -> std::path::PathBuf {
    let place = machine.path().join("workplace");
    fs::create_dir_all(&place).unwrap();
    for name in ["tests", "proto"] {
        symlink(repository().join(name), place.join(name)).unwrap();
    }
    place
}

fn run_all(document: &str, place: &Path, warren: &Warren) {
    let found = manual::scripts(document);
    assert!(!found.is_empty(), "{document} has nothing to run");
    let path = format!(
        "{}:{}",
        binary().parent().unwrap().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    for (line, script) in found {
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(place)
            .env("PATH", &path)
            .env("WARREN_HOST", &warren.host)
            .output()
            .unwrap();
        assert!(output.status.success(), "{document}:{line}:\n{script}\n{}", text(&output));
    }
}

#[test]
fn every_command_of_the_readme_and_the_manual_works() {
    if !have_root("the documents") {
        return;
    }
    let machine = Machine::new();
    let warren = machine.run();
    let place = workplace(&machine);
    for document in ["README.md", "docs/operations.md"] {
        run_all(document, &place, &warren);
    }
}

#[test]
fn no_link_between_documents_is_dead() {
    let mut documents = vec![repository().join("README.md"), repository().join("tests/README.md")];
    for entry in fs::read_dir(repository().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            documents.push(path);
        }
    }
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            let near = document.parent().unwrap().join(file);
            assert!(target.starts_with("http") || near.exists(), "{document:?}: {target}");
        }
    }
}
