//! Memory of this process's control group, or of the machine.

use std::{fs, path::Path};

use crate::check::{Check, CheckError, Context, Details};

const DEGRADED_PERCENT: f64 = 85.0;
const UNHEALTHY_PERCENT: f64 = 95.0;
const CGROUP: &str = "/sys/fs/cgroup";

/// Looks how much memory is used: of the limit of this process's control group where there is one
/// (cgroup v2, page cache that can be dropped left out), else of the machine's. Degraded above
/// 85 %, unhealthy above 95 %.
pub fn memory() -> Memory {
    Memory { degraded_percent: DEGRADED_PERCENT, unhealthy_percent: UNHEALTHY_PERCENT }
}

/// See [`memory`].
#[derive(Debug, Clone)]
pub struct Memory {
    degraded_percent: f64,
    unhealthy_percent: f64,
}

/// In bytes.
#[derive(Debug, PartialEq)]
struct Usage {
    used: u64,
    limit: u64,
    of: &'static str,
}

impl Memory {
    /// Degraded when more than this is used.
    pub fn degraded_above(self, percent: f64) -> Self {
        Self { degraded_percent: percent, ..self }
    }

    /// Unhealthy when more than this is used.
    pub fn unhealthy_above(self, percent: f64) -> Self {
        Self { unhealthy_percent: percent, ..self }
    }

    fn judge(&self, usage: &Usage) -> Result<Details, CheckError> {
        #[expect(clippy::cast_precision_loss, reason = "a share needs no exact bytes")]
        let percent = usage.used as f64 / usage.limit.max(1) as f64 * 100.0;
        let said = format!("{percent:.1} % of {} MiB of the {} used", usage.limit >> 20, usage.of);
        if percent > self.unhealthy_percent {
            Err(CheckError::new(said))
        } else if percent > self.degraded_percent {
            Ok(Details::degraded(said))
        } else {
            Ok(Details::healthy().message(said))
        }
    }
}

impl Check for Memory {
    async fn check(&self, _: Context) -> Result<Details, CheckError> {
        let usage = group(Path::new("/proc/self/cgroup"), Path::new(CGROUP))
            .or_else(|| machine(&fs::read_to_string("/proc/meminfo").ok()?))
            .ok_or_else(|| CheckError::new("neither the cgroup nor /proc/meminfo can be read"))?;
        self.judge(&usage)
    }
}

/// The nearest limit, from the process's own group upwards.
fn group(own: &Path, root: &Path) -> Option<Usage> {
    let own = fs::read_to_string(own).ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    let mut dir = root.join(path);
    while dir.starts_with(root) {
        let number = |name: &str| fs::read_to_string(dir.join(name)).ok()?.trim().parse().ok();
        if let (Some(limit), Some(current)) = (number("memory.max"), number("memory.current")) {
            let facts = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
            let cache = facts.lines().find_map(|line| line.strip_prefix("inactive_file "));
            let cache: u64 = cache.and_then(|cache| cache.parse().ok()).unwrap_or(0);
            let used = u64::saturating_sub(current, cache);
            return Some(Usage { used, limit, of: "control group" });
        }
        if !dir.pop() {
            break;
        }
    }
    None
}

fn machine(facts: &str) -> Option<Usage> {
    let kib = |name: &str| -> Option<u64> {
        let line = facts.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').trim().strip_suffix("kB")?.trim().parse().ok()
    };
    let (total, free) = (kib("MemTotal")?, kib("MemAvailable")?);
    Some(Usage { used: total.saturating_sub(free) << 10, limit: total << 10, of: "machine" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_limit_counts_and_droppable_cache_does_not() {
        let root = std::env::temp_dir().join(format!("vitals-cgroup-{}", std::process::id()));
        let (outer, inner) = (root.join("outer"), root.join("outer/inner"));
        fs::create_dir_all(&inner).unwrap();
        fs::write(root.join("own"), "0::/outer/inner\n").unwrap();
        fs::write(inner.join("memory.max"), "max\n").unwrap();
        fs::write(inner.join("memory.current"), "5\n").unwrap();
        fs::write(outer.join("memory.max"), "1000\n").unwrap();
        fs::write(outer.join("memory.current"), "900\n").unwrap();
        fs::write(outer.join("memory.stat"), "anon 1\ninactive_file 300\n").unwrap();
        let usage = group(&root.join("own"), &root);
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(usage, Some(Usage { used: 600, limit: 1000, of: "control group" }));
    }

    #[test]
    fn without_a_limit_the_machine_counts() {
        let usage = machine("MemTotal: 1024 kB\nMemFree: 1 kB\nMemAvailable:  256 kB\n").unwrap();
        assert_eq!(usage, Usage { used: 768 << 10, limit: 1 << 20, of: "machine" });
        let said = memory().judge(&usage).unwrap();
        let expected = "75.0 % of 1 MiB of the machine used";
        assert_eq!(said, Details::healthy().message(expected));
        assert!(memory().degraded_above(70.0).judge(&usage).unwrap().degraded);
        assert!(memory().unhealthy_above(70.0).judge(&usage).is_err());
    }
}
