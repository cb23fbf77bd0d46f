//! Facts about this machine.

use anyhow::{Context, Result};
use warren_core::id::NodeId;

/// For a node that has no identity yet.
pub fn fresh_node_id() -> Result<NodeId> {
    let number = getrandom::u64().context("this machine gives no random numbers")?;
    Ok(NodeId::from_u64(number))
}

/// Those that this process may use.
pub fn cpus() -> u32 {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The whole memory; 0 where that cannot be told.
pub fn memory_bytes() -> u64 {
    std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text)).unwrap_or_default()
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_read_in_bytes() {
        assert_eq!(total("MemTotal:       24576 kB\nMemFree: 1 kB\n"), Some(24 << 20));
        assert_eq!(total("MemFree: 1 kB\n"), None);
    }
}
