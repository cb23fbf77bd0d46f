//! `HAProxy` with the same targets at the same pace, where it is installed.

use std::{
    fmt::Write as _,
    fs,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::targets::{PORT, Plan, address};

#[derive(Debug)]
pub struct Haproxy {
    child: Child,
    _dir: TempDir,
}

/// What it calls itself; `None` where it is not installed.
pub fn version() -> Option<String> {
    let output = Command::new("haproxy").arg("-v").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().nth(2).map(str::to_owned)
}

impl Haproxy {
    /// One thread, which is what costs it least, in the foreground.
    pub fn start(plan: &Plan) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("haproxy.cfg");
        fs::write(&config, text(plan)).unwrap();
        let child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, _dir: dir }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(plan: &Plan) -> String {
    let period = plan.period.as_millis();
    let mut text = format!(
        "global\n  nbthread 1\n  maxconn 1000\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
         listen stats\n  bind 127.0.0.1:9999\n\
         backend tasks\n  option httpchk\n  \
         http-check send meth GET uri / ver HTTP/1.1 hdr Host warren hdr Connection close\n  \
         default-server check inter {period}ms\n"
    );
    for target in 0..plan.targets {
        let _ = writeln!(text, "  server s{target} {}:{PORT}", address(target));
    }
    text
}
