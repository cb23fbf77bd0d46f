//! Flags of TLS that make no sense together, and files that are not what they should be: each is
//! told with its flag, before anything starts.

use std::{fs, path::PathBuf};

use rcgen::{CertificateParams, Issuer, KeyPair};
use tempfile::TempDir;

use crate::{
    cli::{TlsArgs, process::ListenArgs},
    client::Host,
    run::Listening,
};

/// A CA, and a certificate of it with its key; another key, and no certificate at all.
struct Files(TempDir);

impl Files {
    fn make() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let ca_params = CertificateParams::new(Vec::new()).unwrap();
        files.write("ca.pem", &ca_params.self_signed(&ca_key).unwrap().pem());
        let issuer = Issuer::new(ca_params, &ca_key);
        let own = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        files.write("own.pem", &own.signed_by(&key, &issuer).unwrap().pem());
        files.write("own.key", &key.serialize_pem());
        files.write("other.key", &KeyPair::generate().unwrap().serialize_pem());
        files.write("empty", "");
        let garbled = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        files.write("garbled.pem", garbled);
        files
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        (!name.is_empty()).then(|| self.0.path().join(name))
    }

    /// CA, certificate and key; a name that is empty is a flag that is absent.
    fn args(&self, [ca, cert, key]: [&str; 3]) -> TlsArgs {
        let [ca, cert, key] = [ca, cert, key].map(|name| self.path(name));
        TlsArgs { ca, cert, key, server_name: None }
    }

    fn connects(&self, flags: [&str; 3]) -> Result<(), String> {
        self.told(Host::told("--host", "https://a.example:1", &self.args(flags)))
    }

    fn listens(&self, address: &str, flags: [&str; 3], client_ca: &str) -> Result<(), String> {
        let args = ListenArgs {
            listen: vec![address.to_owned()],
            tls_client_ca: self.path(client_ca),
            insecure_listen_anywhere: false,
        };
        self.told(Listening::checked(&args, &self.args(flags)))
    }

    /// Paths without their directory.
    fn told<T>(&self, result: Result<T, crate::failure::Failure>) -> Result<(), String> {
        let directory = format!("{}/", self.0.path().display());
        result.map(drop).map_err(|failure| {
            assert_eq!(failure.exit_code(), 2, "{failure}");
            failure.to_string().replace(&directory, "")
        })
    }
}

#[test]
fn what_is_right_is_taken() {
    let files = Files::make();
    assert_eq!(files.connects(["ca.pem", "", ""]), Ok(()));
    assert_eq!(files.connects(["ca.pem", "own.pem", "own.key"]), Ok(()));
    let own = ["", "own.pem", "own.key"];
    assert_eq!(files.listens("127.0.0.1:1", own, ""), Ok(()));
    assert_eq!(files.listens("0.0.0.0:1", own, "ca.pem"), Ok(()));
}

#[test]
fn a_client_is_told_what_is_wrong() {
    let files = Files::make();
    for (flags, told) in [
        (["", "", ""], "--host: https:// needs the CA of the manager's certificate: add --tls-ca"),
        (["ca.pem", "own.pem", ""], "--tls-cert: needs its key: add --tls-key"),
        (["ca.pem", "", "own.key"], "--tls-key: needs its certificate: add --tls-cert"),
        (["empty", "", ""], "--tls-ca: empty: it holds no certificate in PEM"),
        (["own.key", "", ""], "--tls-ca: own.key: it holds no certificate in PEM"),
        (["garbled.pem", "", ""], "--tls-ca: garbled.pem: invalid peer certificate: BadEncoding"),
        (
            ["ca.pem", "own.pem", "other.key"],
            "--tls-key: other.key: it is not the key of the certificate in own.pem",
        ),
        (["ca.pem", "own.pem", "own.pem"], "--tls-key: own.pem: it holds no private key in PEM"),
        (
            ["ca.pem", "garbled.pem", "own.key"],
            "--tls-cert: garbled.pem: invalid peer certificate: BadEncoding",
        ),
        (
            ["missing", "", ""],
            "--tls-ca: missing: it cannot be read: No such file or directory (os error 2)",
        ),
    ] {
        assert_eq!(files.connects(flags), Err(told.to_owned()), "{flags:?}");
    }
    let mut named = files.args(["ca.pem", "", ""]);
    named.server_name = Some("no name".to_owned());
    let told = files.told(Host::told("--host", "https://127.0.0.1:1", &named)).unwrap_err();
    assert_eq!(told, "--tls-server-name: \"no name\" is neither a DNS name nor an IP address");
    for (plain, what) in [
        ("/run/a.sock", "a socket"),
        ("a:1", "an address without https:// before it"),
        ("http://a:1", "an address without https:// before it"),
    ] {
        let args = files.args(["", "own.pem", "own.key"]);
        let told = files.told(Host::told("--manager", plain, &args)).unwrap_err();
        let advice = "has no TLS: say where the manager is with https://HOST:PORT";
        assert_eq!(told, format!("--tls-cert: {what} {advice}"));
    }
}

#[test]
fn a_manager_is_told_what_is_wrong() {
    let files = Files::make();
    let (own, none) = (["", "own.pem", "own.key"], [""; 3]);
    let lets_in = "TLS without --tls-client-ca lets anybody in: who reaches it controls the \
                   cluster; add --tls-client-ca, or, if you want that, --insecure-listen-anywhere";
    for (address, flags, client_ca, told) in [
        (
            "127.0.0.1:1",
            none,
            "ca.pem",
            "--tls-client-ca: needs a certificate of the manager's own: add --tls-cert and \
             --tls-key",
        ),
        ("127.0.0.1:1", own, "empty", "--tls-client-ca: empty: it holds no certificate in PEM"),
        (
            "127.0.0.1:1",
            ["ca.pem", "own.pem", "own.key"],
            "",
            "--tls-ca: is for who connects; the CA of those who may is --tls-client-ca",
        ),
        (
            "none",
            own,
            "ca.pem",
            "--tls-cert: the socket has no TLS, and there is no other address: add --listen",
        ),
        (
            "0.0.0.0:1",
            own,
            "",
            &format!("--listen: 0.0.0.0:1 is not a loopback address, and {lets_in}"),
        ),
    ] {
        assert_eq!(files.listens(address, flags, client_ca), Err(told.to_owned()), "{flags:?}");
    }
}
