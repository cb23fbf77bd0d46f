//! Room on a file system.

use std::path::PathBuf;

use super::blocking::Thread;
use crate::check::{Check, CheckError, Context, Details};

/// By default a tenth may be left and no less than a twentieth.
const DEGRADED_PERCENT: f64 = 10.0;
const UNHEALTHY_PERCENT: f64 = 5.0;

/// Looks how much room is left where `path` lies, for who is not root: degraded below 10 %,
/// unhealthy below 5 % of its size.
pub fn disk(path: impl Into<PathBuf>) -> Disk {
    Disk {
        path: path.into(),
        degraded_percent: DEGRADED_PERCENT,
        unhealthy_percent: UNHEALTHY_PERCENT,
        thread: Thread::default(),
    }
}

/// See [`disk`].
#[derive(Debug, Clone)]
pub struct Disk {
    path: PathBuf,
    degraded_percent: f64,
    unhealthy_percent: f64,
    thread: Thread,
}

impl Disk {
    /// Degraded when less than this is free.
    pub fn degraded_below(self, percent: f64) -> Self {
        Self { degraded_percent: percent, ..self }
    }

    /// Unhealthy when less than this is free.
    pub fn unhealthy_below(self, percent: f64) -> Self {
        Self { unhealthy_percent: percent, ..self }
    }

    fn judge(&self, free: f64, total: f64) -> Result<Details, CheckError> {
        let percent = if total > 0.0 { free / total * 100.0 } else { 0.0 };
        let said = format!("{percent:.1} % of {:.1} GB free", total / 1e9);
        if percent < self.unhealthy_percent {
            Err(CheckError::new(said))
        } else if percent < self.degraded_percent {
            Ok(Details::degraded(said))
        } else {
            Ok(Details::healthy().message(said))
        }
    }
}

impl Check for Disk {
    async fn check(&self, _: Context) -> Result<Details, CheckError> {
        let path = self.path.clone();
        // A network file system may take its time, and this must not hold the runtime.
        let facts = self.thread.run(move || Ok(rustix::fs::statvfs(&path)?)).await?;
        #[expect(clippy::cast_precision_loss, reason = "a share needs no exact bytes")]
        let bytes = |blocks: u64| (blocks * facts.f_frsize) as f64;
        self.judge(bytes(facts.f_bavail), bytes(facts.f_blocks))
    }

    fn target(&self) -> Option<String> {
        Some(self.path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_room_is_worse() {
        let disk = disk("/").degraded_below(20.0).unhealthy_below(10.0);
        let said = disk.judge(50e9, 100e9).unwrap();
        assert_eq!(said, Details::healthy().message("50.0 % of 100.0 GB free"));
        assert!(disk.judge(19e9, 100e9).unwrap().degraded);
        assert_eq!(disk.judge(9e9, 100e9).unwrap_err().message(), "9.0 % of 100.0 GB free");
        assert!(disk.judge(0.0, 0.0).is_err());
    }
}
