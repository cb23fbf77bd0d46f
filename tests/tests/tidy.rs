//! The rules of the house that a compiler does not hold: which room may use which, how long a
//! file may be, and what no text may say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The rooms from the bottom up, and the rooms that each one may use. `docs/architecture.md`
/// draws the same picture.
const ROOMS: [(&str, &[&str]); 15] = [
    ("warren-proto", &[]),
    ("warren-core", &["warren-proto"]),
    ("warren-verdict", &["warren-core"]),
    ("warren-plan", &["warren-core"]),
    ("warren-store", &["warren-proto", "warren-core"]),
    ("warren-runtime", &["warren-core"]),
    ("warren-containerd", &["warren-core", "warren-runtime"]),
    ("warren-probe", &["warren-core", "warren-runtime"]),
    ("warren-vitals", &[]),
    (
        "warren-worker",
        &["warren-proto", "warren-core", "warren-verdict", "warren-runtime", "warren-probe"],
    ),
    ("warren-manager", &["warren-proto", "warren-core", "warren-plan", "warren-store"]),
    // All of it is a test, so its dependencies are looked at below.
    ("warren-sim", &[]),
    (
        "warren",
        &[
            "warren-proto",
            "warren-core",
            "warren-store",
            "warren-runtime",
            "warren-containerd",
            "warren-probe",
            "warren-vitals",
            "warren-worker",
            "warren-manager",
        ],
    ),
    ("warren-examples", &["warren-vitals"]),
    ("warren-tests", &[]),
];

/// Crates that a room must do without, and why it would tempt.
const BANNED: [(&str, &[&str]); 6] = [
    ("warren-core", &["tokio", "tonic", "redb", "tracing", "getrandom", "jiff"]),
    ("warren-verdict", &["tokio", "tonic", "redb", "tracing", "getrandom", "jiff"]),
    ("warren-plan", &["tokio", "tonic", "redb", "tracing", "getrandom", "jiff"]),
    ("warren-runtime", &["containerd-client", "tonic"]),
    ("warren-worker", &["redb", "containerd-client"]),
    ("warren-manager", &["redb", "containerd-client"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The simulation may use these, in its tests: the one room beside `cmd` where the worker meets
/// the manager. It plays runtimes and disks itself.
const SIM: [&str; 7] = [
    "warren-proto",
    "warren-core",
    "warren-plan",
    "warren-store",
    "warren-runtime",
    "warren-worker",
    "warren-manager",
];

/// Each workspace package's own dependencies, development ones left out.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    packages(|kind| kind != Some("dev"))
}

/// Likewise, of the kinds that count.
fn packages(counts: impl Fn(Option<&str>) -> bool) -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap().to_owned();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let used = package["dependencies"].as_array().unwrap().iter();
            (name(package), used.filter(|used| counts(used["kind"].as_str())).map(name).collect())
        })
        .collect()
}

#[test]
fn a_room_uses_only_the_rooms_that_its_line_allows() {
    let dependencies = dependencies();
    let known: BTreeSet<_> = ROOMS.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(known, dependencies.keys().cloned().collect(), "a room is missing in ROOMS");
    for (room, allowed) in ROOMS {
        let rooms = dependencies[room].iter().filter(|name| known.contains(*name));
        for used in rooms {
            assert!(allowed.contains(&used.as_str()), "{room} must not use {used}");
        }
    }
}

/// No room uses the simulation, not even in its tests.
#[test]
fn the_simulation_uses_what_it_may_and_is_used_by_nobody() {
    let all = packages(|_| true);
    let rooms = all["warren-sim"].iter().filter(|name| name.starts_with("warren"));
    for used in rooms {
        assert!(SIM.contains(&used.as_str()), "warren-sim must not use {used}");
    }
    for (room, used) in all {
        assert!(!used.contains("warren-sim"), "{room} uses warren-sim");
    }
}

#[test]
fn pure_rooms_have_no_runtime_no_clock_and_no_randomness() {
    let dependencies = dependencies();
    for (room, banned) in BANNED {
        for name in banned {
            assert!(!dependencies[room].contains(*name), "{room} must do without {name}");
        }
    }
}

#[test]
fn the_pure_rooms_never_read_a_clock() {
    for room in ["core", "verdict", "plan"] {
        for file in files(&root().join("crates").join(room).join("src"), &["rs"]) {
            let text = fs::read_to_string(&file).unwrap();
            for clock in ["SystemTime", "Instant", "async fn", "HashMap", "HashSet"] {
                assert!(!text.contains(clock), "{} names {clock}", file.display());
            }
        }
    }
}

/// Production lines, so without the tests at the end of a file.
#[test]
fn files_are_short_enough_to_read_once() {
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        let tests = file.components().any(|part| part.as_os_str() == "tests");
        let production = text.split("#[cfg(test)]\nmod ").next().unwrap().lines().count();
        let limit = if tests { 1000 } else { 600 };
        assert!(production <= limit, "{}: {production} lines, {limit} at most", file.display());
        for (number, line) in text.lines().enumerate() {
            let wide = line.chars().count() > 100 && !line.contains("http");
            assert!(!wide, "{}:{}: wider than 100 columns", file.display(), number + 1);
        }
    }
}

/// Each clause has a test that cites it in the comment before it, by itself or within a range (one
/// `to` another), and no test cites what is no clause.
#[test]
fn every_clause_is_held_by_a_test() {
    for (document, letter) in [("docs/replacement.md", 'R'), ("docs/checks.md", 'C')] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        let mark = format!("\n**{letter}-");
        let clauses: BTreeSet<u32> = text.split(&mark).skip(1).filter_map(number).collect();
        assert!(clauses.len() > 25, "{document}: the clauses were not found");
        let mut cited = BTreeSet::new();
        for file in sources() {
            for comment in comments_of_tests(&fs::read_to_string(file).unwrap()) {
                cited.extend(citations(&comment, letter, &clauses));
            }
        }
        let unheld: Vec<_> = clauses.difference(&cited).collect();
        assert!(unheld.is_empty(), "{document}: no test cites {letter}-{unheld:?}");
        let unknown: Vec<_> = cited.difference(&clauses).collect();
        assert!(unknown.is_empty(), "{document} has no {letter}-{unknown:?}, which a test cites");
    }
}

/// The number that a text begins with.
fn number(text: &str) -> Option<u32> {
    text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The lines of comment directly before each test.
fn comments_of_tests(source: &str) -> Vec<String> {
    let (mut found, mut comment) = (Vec::new(), String::new());
    for line in source.lines().map(str::trim) {
        if let Some(said) = line.strip_prefix("//") {
            comment = comment + " " + said.trim_start_matches(['/', '!', ' ']);
        } else {
            let said = std::mem::take(&mut comment);
            if line.starts_with("#[test") || line.starts_with("#[tokio::test") {
                found.push(said);
            }
        }
    }
    found
}

/// What a comment cites. Of a range, what is no clause is a number that was never given.
fn citations(comment: &str, letter: char, clauses: &BTreeSet<u32>) -> BTreeSet<u32> {
    let mark = format!("{letter}-");
    let mut cited = BTreeSet::new();
    for (at, _) in comment.match_indices(&mark) {
        let Some(first) = number(&comment[at + mark.len()..]) else { continue };
        cited.insert(first);
        let from = comment[..at].strip_suffix(" to ").and_then(|text| text.rsplit(&mark).next());
        if let Some(from) = from.and_then(|from| from.parse().ok()) {
            cited.extend(clauses.range(from..=first));
        }
    }
    cited
}

#[test]
fn no_source_is_left_unfinished() {
    for file in sources() {
        if file.ends_with("tests/tidy.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for mark in ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!(", "#[ignore]"] {
            assert!(!text.contains(mark), "{} has {mark}", file.display());
        }
    }
}

#[test]
fn no_text_holds_two_versions_of_a_merge() {
    for top in ["crates", "cmd", "examples", "tests", "docs", "deploy", "proto"] {
        let texts = ["rs", "md", "proto", "toml", "yml", "json", "sh", "py", "txt"];
        for file in files(&root().join(top), &texts) {
            let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
            let torn =
                text.lines().find(|l| l.starts_with("<<<<<<< ") || l.starts_with(">>>>>>> "));
            assert_eq!(torn, None, "{}", file.display());
        }
    }
}

#[test]
fn every_suppression_has_its_reason() {
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("#[allow(").chain(text.match_indices("#[expect(")) {
            let attribute = text[at..].split(")]").next().unwrap();
            let near = file.ends_with("tests/tidy.rs") || attribute.contains("reason");
            assert!(near, "{}: {attribute:?} does not say why", file.display());
        }
    }
}

fn sources() -> Vec<PathBuf> {
    let root = root();
    let mut all = Vec::new();
    for top in ["crates", "cmd", "examples", "tests"] {
        all.extend(files(&root.join(top), &["rs"]));
    }
    assert!(all.len() > 50, "the sources were not found");
    all
}

fn files(dir: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let named = |name: &str| path.file_name().is_some_and(|n| n == name);
        if path.is_dir() && !named("target") && !named("out") {
            found.extend(files(&path, extensions));
        } else if extensions.iter().any(|e| path.extension().is_some_and(|x| x == *e)) {
            found.push(path);
        }
    }
    found
}
