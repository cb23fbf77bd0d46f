//! Where things are kept, unless the user says otherwise.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

/// Root: `/var/lib/warren`. Anybody else: `warren` in the user's state directory.
pub fn default_data_dir() -> Result<PathBuf> {
    data_dir(nix::unistd::geteuid().is_root(), |name| std::env::var_os(name))
}

fn data_dir(root: bool, env: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    if root {
        return Ok(PathBuf::from("/var/lib/warren"));
    }
    // The XDG specification: what is not an absolute path is as good as absent.
    let absolute = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(state) = absolute("XDG_STATE_HOME") {
        return Ok(state.join("warren"));
    }
    match absolute("HOME") {
        Some(home) => Ok(home.join(".local/state/warren")),
        None => bail!("HOME is not set: say with --data-dir where to keep the data"),
    }
}

/// The socket that a manager always has.
pub fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("warren.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(root: bool, vars: &[(&str, &str)]) -> Option<String> {
        let env = |name: &str| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        data_dir(root, env).ok().map(|path| path.display().to_string())
    }

    #[test]
    fn root_keeps_data_in_var_and_others_in_their_state_directory() {
        let home = ("HOME", "/home/eve");
        assert_eq!(at(true, &[home]).as_deref(), Some("/var/lib/warren"));
        assert_eq!(at(false, &[home]).as_deref(), Some("/home/eve/.local/state/warren"));
        let xdg = ("XDG_STATE_HOME", "/state");
        assert_eq!(at(false, &[home, xdg]).as_deref(), Some("/state/warren"));
        let relative = ("XDG_STATE_HOME", "state");
        assert_eq!(at(false, &[home, relative]).as_deref(), Some("/home/eve/.local/state/warren"));
        assert_eq!(at(false, &[]), None);
    }
}
