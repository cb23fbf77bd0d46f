//! Numbers, as they are collected and as they are shown.

use std::{fmt::Write as _, time::Duration};

/// How late attempts began, of those who count it themselves: a bucket for each 0.1 ms.
#[derive(Debug, Default)]
pub struct Lateness {
    tenths: Vec<u64>,
}

impl Lateness {
    /// Beyond, all are equal.
    const MOST: usize = 20_000;

    pub fn add(&mut self, late: Duration) {
        let bucket = usize::try_from(late.as_micros() / 100).unwrap_or(Self::MOST).min(Self::MOST);
        if self.tenths.len() <= bucket {
            self.tenths.resize(bucket + 1, 0);
        }
        self.tenths[bucket] += 1;
    }

    /// As text, as `worker` says it too: p50, p99 and the most, in milliseconds, and how many
    /// there were. Begins anew.
    pub fn take(&mut self) -> String {
        let tenths = std::mem::take(&mut self.tenths);
        let total: u64 = tenths.iter().sum();
        let quantile = |part: f64| {
            let mut left = part * as_f64(total);
            let at = tenths.iter().position(|count| {
                left -= as_f64(*count);
                left <= 0.0
            });
            as_f64(at.unwrap_or_default() as u64 + 1) / 10.0
        };
        let (p50, p99) = (quantile(0.5), quantile(0.99));
        let most = as_f64(tenths.len() as u64) / 10.0;
        format!("{p50:.1} {p99:.1} {most:.1} {total}")
    }
}

/// What was measured of one who asks.
#[derive(Debug, Clone)]
pub struct Row {
    pub name: String,
    pub per_second: f64,
    pub user_us: f64,
    pub system_us: f64,
    /// p50, p99 and the most, in milliseconds; of those who say so.
    pub late_ms: Option<[f64; 3]>,
    pub resident_bytes: u64,
    pub time_wait: usize,
}

impl Row {
    /// If there were so many attempts in a second.
    pub fn over(self, per_second: f64) -> Self {
        let part = self.per_second / per_second;
        let (user_us, system_us) = (self.user_us * part, self.system_us * part);
        Self { per_second, user_us, system_us, ..self }
    }

    pub fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }
}

pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<26}{:>10}{:>9}{:>8}{:>8}{:>7}  {:<18}{:>9}{:>11}\n",
        "",
        "attempts/s",
        "CPU µs",
        "user",
        "system",
        "cores",
        "late p50/p99/max",
        "RSS MiB",
        "TIME_WAIT"
    );
    for row in rows {
        let late = row
            .late_ms
            .map_or_else(String::new, |[p50, p99, most]| format!("{p50:.1}/{p99:.1}/{most:.1} ms"));
        let _ = writeln!(
            text,
            "{:<26}{:>10.0}{:>9.1}{:>8.1}{:>8.1}{:>7.2}  {late:<18}{:>9.1}{:>11}",
            row.name,
            row.per_second,
            row.cpu_us(),
            row.user_us,
            row.system_us,
            row.cpu_us() * row.per_second / 1e6,
            as_f64(row.resident_bytes) / f64::from(1 << 20),
            row.time_wait,
        );
    }
    text
}

/// Counts here are far below where this would lose anything.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub fn as_f64(number: u64) -> f64 {
    number as f64
}
