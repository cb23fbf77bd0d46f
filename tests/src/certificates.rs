//! Certificates, made as the manual has it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{manual, text};

/// A CA, and certificates of the manager, a node and a person.
#[derive(Debug)]
pub struct Certificates(PathBuf);

impl Certificates {
    /// In a directory that is made for them.
    pub fn make(directory: &Path) -> Self {
        Self::valid_for(directory, 365)
    }

    /// With 0 they end in the second in which they are made.
    pub fn valid_for(directory: &Path, days: u32) -> Self {
        fs::create_dir_all(directory).unwrap();
        let scripts = manual::scripts("docs/operations.md");
        let (_, script) = scripts.iter().find(|(_, script)| script.contains("openssl")).unwrap();
        let script = script.replace("-days 365 ", &format!("-days {days} "));
        // By the same CA, a client's that is over.
        let over = "certificate over extendedKeyUsage=clientAuth";
        let at_once = "eval \"$(declare -f certificate | sed 's/-days [0-9]*/-days 0/')\"";
        let script = format!("{script}\n{at_once}\n{over}\n");
        let mut bash = Command::new("bash");
        let output = bash.args(["-euc", &script]).current_dir(directory).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        Self(directory.join("certificates"))
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// What a manager is told.
    pub fn of_manager(&self) -> Vec<String> {
        let mut flags = self.pair("manager");
        flags.extend(["--tls-client-ca".to_owned(), self.path("ca.pem")]);
        flags
    }

    /// What a client is told.
    pub fn of(&self, name: &str) -> Vec<String> {
        let mut flags = self.ca();
        flags.extend(self.pair(name));
        flags
    }

    pub fn ca(&self) -> Vec<String> {
        vec!["--tls-ca".to_owned(), self.path("ca.pem")]
    }

    /// A certificate and its key.
    pub fn pair(&self, name: &str) -> Vec<String> {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let flags = [("--tls-cert", self.path(&certificate)), ("--tls-key", self.path(&key))];
        flags.into_iter().flat_map(|(flag, path)| [flag.to_owned(), path]).collect()
    }
}
