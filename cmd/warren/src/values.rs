//! How numbers, spans and sizes are spelled on the command line.

use std::time::Duration;

use warren_core::{
    Invalid,
    spec::{CpuMillis, MemoryBytes},
};

/// A whole number that is not negative.
pub fn count(text: &str) -> Result<u32, Invalid> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits => Ok(number),
        _ if digits => Err(Invalid::new(format!("{text} is too large"))),
        _ => Err(refused(text, "a whole number")),
    }
}

/// `30s`, `500ms`, `1m30s`, `1.5h`; a bare number is seconds.
pub fn span(text: &str) -> Result<Duration, Invalid> {
    let refuse = || refused(text, "a duration such as 30s, 500ms or 1m30s");
    let too_long = || Invalid::new(format!("{text} is too long"));
    let mut rest = text;
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let unit_nanos: u128 = match unit {
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "" if number.len() == text.len() => 1_000_000_000,
            _ => return Err(refuse()),
        };
        let part = scaled(number, unit_nanos).ok_or_else(refuse)?;
        nanos = nanos.checked_add(part).ok_or_else(too_long)?;
        rest = after;
    }
    if text.is_empty() {
        return Err(refuse());
    }
    let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| too_long())?;
    let part = u32::try_from(nanos % 1_000_000_000).map_err(|_| too_long())?;
    Ok(Duration::new(seconds, part))
}

/// `0.5`, `2`: exact to a thousandth.
pub fn cpus(text: &str) -> Result<CpuMillis, Invalid> {
    let millis = scaled(text, 1000)
        .ok_or_else(|| refused(text, "a number of CPUs such as 0.5 or 2, exact to a thousandth"))?;
    let millis = u32::try_from(millis).unwrap_or(u32::MAX);
    CpuMillis::new(millis).map_err(|_| Invalid::new(format!("{text} is not in 0.01..=1000")))
}

/// Bytes, or with K, M, G or T multiples of 1024, as docker has it; `Mi`, `MB` and `MiB` mean
/// the same as `M`.
pub fn memory(text: &str) -> Result<MemoryBytes, Invalid> {
    let refuse = || refused(text, "a size such as 64M, 1G or a number of bytes");
    let digits = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_bytes: u128 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "ki" | "kib" => 1 << 10,
        "m" | "mb" | "mi" | "mib" => 1 << 20,
        "g" | "gb" | "gi" | "gib" => 1 << 30,
        "t" | "tb" | "ti" | "tib" => 1 << 40,
        _ => return Err(refuse()),
    };
    let bytes = scaled(number, unit_bytes).ok_or_else(refuse)?;
    MemoryBytes::new(u64::try_from(bytes).unwrap_or(u64::MAX))
}

/// A decimal number times `unit`, where that is a whole number.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    // Twelve digits hold every value within bounds; more could overflow.
    if whole.is_empty() || whole.len() > 18 || fraction.len() > 12 || number.ends_with('.') {
        return None;
    }
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let all: u128 = format!("{whole}{fraction}").parse().ok()?;
    let product = all.checked_mul(unit)?;
    (product % scale == 0).then_some(product / scale)
}

fn refused(text: &str, wanted: &str) -> Invalid {
    match text.strip_prefix('-') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => {
            Invalid::new(format!("{text} is negative"))
        }
        Some(_) | None => Invalid::new(format!("{text:?} is not {wanted}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_numbers_with_units_and_bare_numbers_are_seconds() {
        for (text, millis) in [
            ("30", 30_000),
            ("0", 0),
            ("0s", 0),
            ("30s", 30_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1.5s", 1_500),
            ("0.5", 500),
            ("1h2m3s4ms", 3_723_004),
            ("2d", 172_800_000),
        ] {
            assert_eq!(span(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_refused_with_the_reason() {
        let not = |text: &str| format!("{text:?} is not a duration such as 30s, 500ms or 1m30s");
        for text in ["", "s", "abc", "5 s", "5x", "5S", "1m30", "1..5s", ".5s", "5.s", "--image"] {
            assert_eq!(span(text).unwrap_err().to_string(), not(text));
        }
        assert_eq!(span("-5s").unwrap_err().to_string(), "-5s is negative");
        assert_eq!(span("-1").unwrap_err().to_string(), "-1 is negative");
        let huge = "999999999999999999d";
        assert_eq!(span(huge).unwrap_err().to_string(), format!("{huge} is too long"));
    }

    #[test]
    fn memory_is_bytes_or_multiples_of_1024() {
        for (text, bytes) in [
            ("4194304", 4 << 20),
            ("64M", 64 << 20),
            ("64m", 64 << 20),
            ("64Mi", 64 << 20),
            ("64MB", 64 << 20),
            ("1G", 1 << 30),
            ("1.5g", 3 << 29),
            ("8192k", 8 << 20),
            ("1T", 1 << 40),
        ] {
            assert_eq!(memory(text).map(MemoryBytes::get), Ok(bytes), "{text}");
        }
        for (text, why) in [
            ("1M", "1048576 bytes are not within 4 MiB - 1 PiB"),
            ("0", "0 bytes are not within 4 MiB - 1 PiB"),
            ("-1G", "-1G is negative"),
            ("lots", "\"lots\" is not a size such as 64M, 1G or a number of bytes"),
            ("1.0001", "\"1.0001\" is not a size such as 64M, 1G or a number of bytes"),
            ("64X", "\"64X\" is not a size such as 64M, 1G or a number of bytes"),
        ] {
            assert_eq!(memory(text).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn cpus_are_exact_to_a_thousandth() {
        for (text, millis) in [("0.5", 500), ("2", 2000), ("0.125", 125), ("1.50", 1500)] {
            assert_eq!(cpus(text).map(CpuMillis::get), Ok(millis), "{text}");
        }
        assert_eq!(cpus("0").unwrap_err().to_string(), "0 is not in 0.01..=1000");
        assert_eq!(cpus("-1").unwrap_err().to_string(), "-1 is negative");
        assert!(cpus("0.0001").is_err() && cpus("half").is_err());
    }

    #[test]
    fn counts_are_whole_and_not_negative() {
        assert_eq!(count("3"), Ok(3));
        assert_eq!(count("-1").unwrap_err().to_string(), "-1 is negative");
        assert_eq!(count("+1").unwrap_err().to_string(), "\"+1\" is not a whole number");
        assert_eq!(count("1.5").unwrap_err().to_string(), "\"1.5\" is not a whole number");
        assert_eq!(count("99999999999").unwrap_err().to_string(), "99999999999 is too large");
    }
}
