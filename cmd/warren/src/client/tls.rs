//! TLS as a client has it: whom it believes, and who it says it is.

use std::{error::Error as StdError, fmt, io, path::PathBuf};

use rustls::{CertificateError, Error as TlsError};
use tonic::transport::{Certificate, ClientTlsConfig};

use super::{CONNECT_TIMEOUT, Host};
use crate::{
    cli::TlsArgs,
    failure::Failure,
    tls::{Own, Told, authorities},
};

/// What a client needs for a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    ca: Vec<u8>,
    /// Shown to a manager that asks for it.
    pub own: Option<Own>,
    /// That the manager's certificate must be for.
    server_name: String,
}

/// The flag, else the variable.
fn told(
    flag: (&'static str, Option<&PathBuf>),
    variable: &'static str,
) -> Option<Told<crate::tls::File>> {
    let (name, path) = flag;
    let said = path.map(|path| Told(name, path.as_path().into()));
    said.or_else(|| {
        let path = PathBuf::from(std::env::var_os(variable)?);
        (!path.as_os_str().is_empty()).then(|| Told(variable, path.as_path().into()))
    })
}

impl ClientTls {
    /// For an address that `flag` has told, at a machine of this name.
    pub(super) fn read(flag: &str, name: &str, args: &TlsArgs) -> Result<Self, Failure> {
        let TlsArgs { ca, cert, key, server_name } = args;
        let Some(ca) = told(("--tls-ca", ca.as_ref()), "WARREN_TLS_CA") else {
            let why = "https:// needs the CA of the manager's certificate: add --tls-ca";
            return Err(Failure::flag(flag, why));
        };
        let own = Own::read(
            told(("--tls-cert", cert.as_ref()), "WARREN_TLS_CERT"),
            told(("--tls-key", key.as_ref()), "WARREN_TLS_KEY"),
        )?;
        let variable = std::env::var("WARREN_TLS_SERVER_NAME").ok().filter(|name| !name.is_empty());
        let server_name = server_name.clone().or(variable);
        let server_name = server_name
            .unwrap_or_else(|| name.trim_start_matches('[').trim_end_matches(']').to_owned());
        rustls_pki_types::ServerName::try_from(server_name.as_str()).map_err(|_| {
            let why = format!("{server_name:?} is neither a DNS name nor an IP address");
            Failure::flag("--tls-server-name", why)
        })?;
        Ok(Self { ca: authorities(&ca)?, own, server_name })
    }

    /// Flags that would change nothing are a mistake; variables are there for other addresses.
    pub(super) fn not_for(what: &str, args: &TlsArgs) -> Result<(), Failure> {
        match args.given() {
            None => Ok(()),
            Some(flag) => Err(Failure::flag(
                flag,
                format!("{what} has no TLS: say where the manager is with https://HOST:PORT"),
            )),
        }
    }

    pub(super) fn config(&self) -> ClientTlsConfig {
        let config = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.ca))
            .domain_name(&self.server_name)
            .timeout(CONNECT_TIMEOUT);
        match &self.own {
            Some(own) => config.identity(own.identity()),
            None => config,
        }
    }
}

/// Why TLS came to nothing, and what to do.
#[expect(clippy::wildcard_enum_match_arm, reason = "there are many, and more to come")]
pub(super) fn explain(
    host: &Host,
    error: &(dyn StdError + 'static),
) -> Option<(String, &'static str)> {
    let Host::Tls(_, tls) = host else { return None };
    Some(match find(error)? {
        TlsError::InvalidCertificate(error) => distrust(error, tls),
        TlsError::InvalidMessage(_) => {
            ("it does not speak TLS".to_owned(), "if it shall not, use http://")
        }
        other => turned_away(host, other),
    })
}

/// Somebody listens there and wants nothing of this client. Why, it can hardly say: whatever it
/// sends may be lost when the connection ends.
pub(super) fn turned_away(host: &Host, cause: &dyn fmt::Display) -> (String, &'static str) {
    let advice = match host {
        Host::Tls(_, ClientTls { own: None, .. }) => {
            "it may take only clients with a certificate: give one of its --tls-client-ca with \
             --tls-cert and --tls-key"
        }
        Host::Tls(_, ClientTls { own: Some(_), .. }) => {
            "is the certificate in --tls-cert of the CA in its --tls-client-ca, and still valid?"
        }
        Host::Tcp(_) => "is it a manager? If it has TLS, use https:// and --tls-ca",
        Host::Unix(_) => "is it a manager?",
    };
    (format!("it has turned this client away: {cause}"), advice)
}

/// The manager's certificate is not to be believed.
#[expect(clippy::wildcard_enum_match_arm, reason = "there are many, and more to come")]
fn distrust(error: &CertificateError, tls: &ClientTls) -> (String, &'static str) {
    let name = &tls.server_name;
    // Those with more words for it mean the same.
    let text = error.to_string();
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            format!("its certificate has expired ({text})"),
            "give the manager a new one, and start it again",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            (format!("its certificate is not valid yet ({text})"), "are both clocks right?")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("its certificate is not for {name:?} ({text})"),
            "is that the right machine? Else say the certificate's name with --tls-server-name",
        ),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            "its certificate is not of the CA in --tls-ca".to_owned(),
            "is that the file of the CA that made it?",
        ),
        _ => (
            format!("its certificate cannot be believed ({text})"),
            "make one as the manual of operations has it",
        ),
    }
}

/// The error of TLS, wherever in the chain. One within an `io::Error` is none of its sources.
fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a TlsError> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = inner.and_then(|inner| inner.downcast_ref());
        if let Some(found) = found.or_else(|| error.downcast_ref()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}
