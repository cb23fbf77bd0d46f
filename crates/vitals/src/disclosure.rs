//! Who is told the details.

use std::{fmt, net::IpAddr};

use http::{HeaderMap, header};

/// Headers by which a proxy tells that it asks for somebody else.
const FORWARDED: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// Who sees components and messages. Everybody else sees the state and the version.
#[derive(Clone, PartialEq, Eq)]
pub enum Disclosure {
    /// Nobody.
    Never,
    /// Whoever asks from this machine itself, and not through a proxy. The default.
    Loopback,
    /// Whoever sends `Authorization: Bearer` with this token.
    Token(String),
    /// Everybody who reaches the endpoint.
    Always,
}

impl Disclosure {
    pub(crate) fn allows(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> bool {
        match self {
            Self::Never => false,
            Self::Loopback => {
                let near = peer.is_some_and(|peer| peer.to_canonical().is_loopback());
                near && !FORWARDED.iter().any(|name| headers.contains_key(*name))
            }
            Self::Token(token) => {
                let sent = headers.get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes);
                let sent = sent.and_then(|value| value.strip_prefix(b"Bearer "));
                !token.is_empty() && sent.is_some_and(|sent| same(sent, token.as_bytes()))
            }
            Self::Always => true,
        }
    }
}

/// Takes as long wherever the first difference lies.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}

impl fmt::Debug for Disclosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "Never",
            Self::Loopback => "Loopback",
            Self::Token(_) => "Token(***)",
            Self::Always => "Always",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn loopback_means_this_machine_and_no_proxy_on_it() {
        let near: Option<IpAddr> = Some("127.0.0.1".parse().unwrap());
        let mapped = Some("::ffff:127.0.0.1".parse().unwrap());
        let far = Some("10.0.0.1".parse().unwrap());
        let none = HeaderMap::new();
        let local = Disclosure::Loopback;
        assert!(local.allows(&none, near) && local.allows(&none, mapped));
        assert!(!local.allows(&none, far) && !local.allows(&none, None));
        assert!(!local.allows(&headers(&[("x-forwarded-for", "10.0.0.1")]), near));
        assert!(!Disclosure::Never.allows(&none, near));
        assert!(Disclosure::Always.allows(&none, None));
    }

    #[test]
    fn a_token_must_be_the_whole_one_and_never_the_empty_one() {
        let token = Disclosure::Token("abc".to_owned());
        assert!(token.allows(&headers(&[("authorization", "Bearer abc")]), None));
        for wrong in ["Bearer abd", "Bearer ab", "Bearer abcd", "Basic abc", "abc"] {
            assert!(!token.allows(&headers(&[("authorization", wrong)]), None), "{wrong}");
        }
        assert!(!token.allows(&HeaderMap::new(), None));
        let empty = Disclosure::Token(String::new());
        assert!(!empty.allows(&headers(&[("authorization", "Bearer ")]), None));
        assert_eq!(format!("{token:?}"), "Token(***)");
    }
}
