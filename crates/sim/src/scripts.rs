//! The scripts under `tests/sim`: each with its transcript, which is behaviour and does not
//! change unnoticed. `WARREN_SIM_BLESS=1` writes the transcripts anew.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{cluster::play, script::Script};

/// Between a script and its transcript.
const LINE: &str = "---\n";

fn scripts() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sim");
    let mut all: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    all.sort();
    all
}

#[test]
fn every_script_tells_its_story() {
    let scripts = scripts();
    assert!(!scripts.is_empty(), "no scripts");
    for path in scripts {
        let text = fs::read_to_string(&path).unwrap();
        let (script, story) = text.split_once(LINE).unwrap_or((&text, ""));
        let outcome = play(&script.parse::<Script>().unwrap());
        let told = outcome.transcript;
        assert_eq!(outcome.failure, None, "{}:\n{told}", path.display());
        if env::var_os("WARREN_SIM_BLESS").is_some() {
            fs::write(&path, format!("{script}{LINE}{told}")).unwrap();
        } else {
            let differs = story.lines().zip(told.lines()).find(|(was, is)| was != is);
            assert_eq!(differs, None, "{}:\n{told}", path.display());
            assert_eq!(story, told, "{}", path.display());
        }
    }
}
