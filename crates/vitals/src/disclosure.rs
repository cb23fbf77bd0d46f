//! Who is told the details.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
};

use http::{HeaderMap, header};

/// Headers by which a proxy tells that it asks for somebody else.
const FORWARDED: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// Who sees components and messages. Everybody else sees the state and the version.
#[derive(Clone, PartialEq, Eq)]
pub enum Disclosure {
    /// Nobody.
    Never,
    /// Whoever asks from this machine itself, over loopback or from one of its own addresses, and
    /// not through a proxy. The default. In a container that is whoever is within its network
    /// namespace, as Warren's checks are. Where the machine rewrites the source of what it
    /// forwards to itself, as Kubernetes' node ports do for pods on the host's network, strangers
    /// look like it: use a token there.
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
                let near = peer.is_some_and(|peer| is_own(peer.to_canonical()));
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

/// Whether the address is one of this machine, of the network namespace that this runs in.
fn is_own(peer: IpAddr) -> bool {
    peer.is_loopback() || source_towards(peer).is_ok_and(|source| source == peer)
}

/// The address that this machine speaks from to that one, which is the same only to itself. Sends
/// nothing.
fn source_towards(peer: IpAddr) -> io::Result<IpAddr> {
    const DISCARD: u16 = 9;
    let any: IpAddr = match peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((peer, DISCARD))?;
    Ok(socket.local_addr()?.ip())
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
        let far = Some("192.0.2.1".parse().unwrap());
        let none = HeaderMap::new();
        let local = Disclosure::Loopback;
        assert!(local.allows(&none, near) && local.allows(&none, mapped));
        assert!(!local.allows(&none, far) && !local.allows(&none, None));
        assert!(!local.allows(&headers(&[("x-forwarded-for", "10.0.0.1")]), near));
        assert!(!Disclosure::Never.allows(&none, near));
        assert!(Disclosure::Always.allows(&none, None));
    }

    #[test]
    fn an_address_of_its_own_is_this_machine_and_its_neighbours_are_not() {
        let far: IpAddr = "192.0.2.1".parse().unwrap();
        // Any machine with a network has an address towards that; elsewhere only loopback is near.
        let Ok(own) = source_towards(far) else { return };
        let none = HeaderMap::new();
        assert!(Disclosure::Loopback.allows(&none, Some(own)), "{own}");
        let IpAddr::V4(v4) = own else { panic!("{own} speaks to an IPv4 address") };
        let neighbour = Ipv4Addr::from_bits(v4.to_bits() ^ 1).into();
        assert!(!Disclosure::Loopback.allows(&none, Some(neighbour)), "{neighbour}");
        assert!(!Disclosure::Never.allows(&none, Some(own)));
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
