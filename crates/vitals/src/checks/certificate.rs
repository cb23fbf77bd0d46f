//! How long a certificate is valid.

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use x509_parser::{pem::Pem, time::ASN1Time};

use super::blocking::Thread;
use crate::check::{Check, CheckError, Context, Details};

/// Time enough for a person to make a new one, holidays included.
const DEGRADED_BELOW: Duration = Duration::from_hours(14 * 24);
const DAY: Duration = Duration::from_hours(24);

/// Looks how long the certificates in a PEM file are valid: degraded when the first of them ends
/// within 14 days, unhealthy when one has expired or is not valid yet, or the file cannot be read.
///
/// ```
/// use vitals::Vitals;
///
/// let own = vitals::certificate("/etc/payments/tls.pem");
/// let health = Vitals::new("payments", "1.0.0").critical("certificate", own);
/// # drop(health);
/// ```
pub fn certificate(file: impl Into<PathBuf>) -> Certificate {
    Certificate {
        file: file.into(),
        in_use: None,
        degraded_below: DEGRADED_BELOW,
        thread: Thread::default(),
    }
}

/// See [`certificate`].
#[derive(Debug, Clone)]
pub struct Certificate {
    file: PathBuf,
    in_use: Option<Arc<[u8]>>,
    degraded_below: Duration,
    thread: Thread,
}

impl Certificate {
    /// Degraded when it ends within this time.
    pub fn degraded_below(self, left: Duration) -> Self {
        Self { degraded_below: left, ..self }
    }

    /// For a process that reads the file once: what it has read is judged, whatever the file holds
    /// by now.
    pub fn in_use(self, pem: impl Into<Vec<u8>>) -> Self {
        Self { in_use: Some(pem.into().into()), ..self }
    }

    /// When the first of the certificates ends. Reads the file, where none is in use.
    pub fn valid_until(&self) -> Result<SystemTime, CheckError> {
        Ok(self.judged()?.until)
    }

    fn judged(&self) -> Result<Validity, CheckError> {
        match &self.in_use {
            Some(pem) => Validity::of(pem),
            None => self.on_disk(),
        }
    }

    fn on_disk(&self) -> Result<Validity, CheckError> {
        Validity::of(&fs::read(&self.file)?)
    }

    fn look(&self, now: SystemTime) -> Result<Details, CheckError> {
        let judged = self.judged()?;
        let advice = || match self.on_disk() {
            Ok(other) if other.until > judged.until => {
                "; the file has a newer one, which a restart takes"
            }
            Ok(_) | Err(_) => "",
        };
        let date = humantime::format_rfc3339_seconds;
        if now < judged.from {
            return Err(CheckError::new(format!("not valid before {}", date(judged.from))));
        }
        let until = date(judged.until);
        let Ok(left) = judged.until.duration_since(now) else {
            return Err(CheckError::new(format!("expired at {until}{}", advice())));
        };
        let said = format!("valid until {until}, {} left", whole(left));
        if left < self.degraded_below {
            return Ok(Details::degraded(format!("{said}{}", advice())));
        }
        Ok(Details::healthy().message(said))
    }
}

impl Check for Certificate {
    async fn check(&self, _: Context) -> Result<Details, CheckError> {
        let look = self.clone();
        // A network file system may take its time, and this must not hold the runtime.
        self.thread.run(move || look.look(SystemTime::now())).await
    }

    fn target(&self) -> Option<String> {
        Some(self.file.display().to_string())
    }
}

fn whole(left: Duration) -> String {
    if left < 2 * DAY {
        return format!("{} hours", left.as_secs() / 3600);
    }
    format!("{} days", left.as_secs() / DAY.as_secs())
}

/// When all certificates of a chain are valid: a chain is as good as its first end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Validity {
    from: SystemTime,
    until: SystemTime,
}

impl Validity {
    fn of(pem: &[u8]) -> Result<Self, CheckError> {
        let mut all: Option<Self> = None;
        for part in Pem::iter_from_buffer(pem) {
            let part = part.map_err(|error| CheckError::new(format!("it is no PEM: {error}")))?;
            if part.label != "CERTIFICATE" {
                continue;
            }
            let parsed = part.parse_x509();
            let parsed = parsed.map_err(|e| CheckError::new(format!("it is no X.509: {e}")))?;
            let validity = parsed.validity();
            let one = Self { from: date(validity.not_before), until: date(validity.not_after) };
            all = Some(all.map_or(one, |all| Self {
                from: all.from.max(one.from),
                until: all.until.min(one.until),
            }));
        }
        all.ok_or_else(|| CheckError::new("it holds no certificate"))
    }
}

/// A date before 1970 is as long ago as any.
fn date(time: ASN1Time) -> SystemTime {
    let since = u64::try_from(time.timestamp()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// Valid in the January of a year.
    fn pem(year: i32) -> String {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(year, 1, 1);
        params.not_after = date_time_ymd(year, 1, 31);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    fn at(date: &str) -> SystemTime {
        humantime::parse_rfc3339(date).unwrap()
    }

    fn said(check: &Certificate, date: &str) -> Result<(bool, String), String> {
        let seen = check.look(at(date)).map_err(|error| error.message().to_owned())?;
        Ok((seen.degraded, seen.message.unwrap()))
    }

    #[test]
    fn it_is_well_then_degraded_then_unhealthy() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cert.pem");
        fs::write(&file, pem(2030)).unwrap();
        let check = certificate(&file);
        assert_eq!(check.valid_until().unwrap(), at("2030-01-31T00:00:00Z"));
        let until = "valid until 2030-01-31T00:00:00Z";
        for (date, expected) in [
            ("2029-12-31T23:59:59Z", Err("not valid before 2030-01-01T00:00:00Z".to_owned())),
            ("2030-01-01T00:00:00Z", Ok((false, format!("{until}, 30 days left")))),
            ("2030-01-17T00:00:00Z", Ok((false, format!("{until}, 14 days left")))),
            ("2030-01-17T00:00:01Z", Ok((true, format!("{until}, 13 days left")))),
            ("2030-01-30T12:00:00Z", Ok((true, format!("{until}, 12 hours left")))),
            ("2030-01-31T00:00:01Z", Err("expired at 2030-01-31T00:00:00Z".to_owned())),
        ] {
            assert_eq!(said(&check, date), expected, "{date}");
        }
        let patient = check.degraded_below(DAY);
        assert!(!said(&patient, "2030-01-29T00:00:00Z").unwrap().0);
    }

    #[test]
    fn a_chain_is_as_good_as_its_first_end() {
        let chain = Validity::of(format!("{}{}", pem(2031), pem(2030)).as_bytes()).unwrap();
        let expected =
            Validity { from: at("2031-01-01T00:00:00Z"), until: at("2030-01-31T00:00:00Z") };
        assert_eq!(chain, expected);
    }

    #[test]
    fn what_is_in_use_counts_and_a_newer_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cert.pem");
        let check = certificate(&file).in_use(pem(2030));
        let gone = said(&check, "2030-02-01T00:00:00Z").unwrap_err();
        assert_eq!(gone, "expired at 2030-01-31T00:00:00Z");
        fs::write(&file, pem(2031)).unwrap();
        let gone = said(&check, "2030-02-01T00:00:00Z").unwrap_err();
        assert!(gone.ends_with("; the file has a newer one, which a restart takes"), "{gone}");
        assert!(!said(&check, "2030-01-02T00:00:00Z").unwrap().0, "nothing to do yet");
    }

    #[test]
    fn what_is_no_certificate_is_unhealthy() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cert.pem");
        let date = "2030-01-02T00:00:00Z";
        let missing = said(&certificate(&file), date).unwrap_err();
        assert!(missing.starts_with("No such file or directory"), "{missing}");
        let garbled = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, wrong) in [
            ("", "it holds no certificate"),
            ("hello", "it holds no certificate"),
            (&KeyPair::generate().unwrap().serialize_pem(), "it holds no certificate"),
            (garbled, "it is no X.509: "),
            ("-----BEGIN CERTIFICATE-----\nMII", "it is no PEM: "),
        ] {
            fs::write(&file, text).unwrap();
            let told = said(&certificate(&file), date).unwrap_err();
            assert!(told.starts_with(wrong), "{text}: {told}");
        }
    }
}
