//! One HTTP exchange.

use super::{Endpoint, Payload, PortRef, TextMatch, Tls};
use crate::{Invalid, bounds::Port};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    Http1,
    /// By prior knowledge (h2c), or by ALPN with TLS.
    Http2,
}

/// One HTTP exchange with the task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpCheck {
    /// `None`: plain HTTP.
    pub tls: Option<Tls>,
    pub endpoint: Endpoint,
    pub version: HttpVersion,
    pub path: HttpPath,
    pub method: HttpMethod,
    pub headers: Vec<HttpHeader>,
    /// The request's body; perhaps none.
    pub send: Payload,
    /// Never empty.
    pub expect: StatusSet,
    /// What the body, or its first 10 KiB, must match.
    pub body: Option<TextMatch>,
    /// What it must not match.
    pub body_not: Option<TextMatch>,
    /// Whether a connection serves several attempts; see [`HttpCheck::kept`].
    pub keep_alive: bool,
}

impl HttpCheck {
    /// GET of `/` over plain HTTP where 200-399 passes.
    pub fn new(port: Port) -> Self {
        Self {
            tls: None,
            endpoint: Endpoint::Port(PortRef::Number(port)),
            version: HttpVersion::Http1,
            path: HttpPath::root(),
            method: HttpMethod::get(),
            headers: Vec::new(),
            send: Payload::default(),
            expect: StatusSet::default(),
            body: None,
            body_not: None,
            keep_alive: false,
        }
    }

    /// Refuses what could never pass, and a body that a server need not read or whose length would
    /// be said twice.
    pub fn consistent(self) -> Result<Self, Invalid> {
        if !self.send.as_slice().is_empty() {
            let refuse = |why: String| Err(Invalid::new(why).at("send"));
            let method = self.method.as_str();
            if BODILESS.contains(&method) {
                return refuse(format!("means nothing with {method}; say another method, as POST"));
            }
            let own = |header: &&HttpHeader| FRAMING.iter().any(|name| header.is(name));
            if let Some(header) = self.headers.iter().find(own) {
                let name = header.name();
                return refuse(format!("has its own length; leave the header {name} out"));
            }
        }
        let why = "can match nothing: HEAD is answered without a body; say another method";
        match (self.method.as_str(), &self.body, &self.body_not) {
            ("HEAD", Some(_), _) => Err(Invalid::new(why).at("body")),
            ("HEAD", None, Some(_)) => Err(Invalid::new(why).at("body_not")),
            _ => Ok(self),
        }
    }

    /// The same over connections that serve several attempts. Only HTTP/1 has them, and says so by
    /// a header that must then be ours.
    pub fn kept(self) -> Result<Self, Invalid> {
        let refuse = |why: &str| Err(Invalid::new(why).at("keep_alive"));
        if self.version == HttpVersion::Http2 {
            return refuse("is for HTTP/1.1 alone; leave it out, or the version");
        }
        if self.headers.iter().any(|header| header.is("connection")) {
            return refuse("contradicts a header Connection; leave one of them out");
        }
        Ok(Self { keep_alive: true, ..self })
    }

    pub const fn scheme(&self) -> Scheme {
        match self.tls {
            None => Scheme::Http,
            Some(_) => Scheme::Https,
        }
    }
}

/// In a request of these a body has no meaning, and servers and proxies may refuse it.
const BODILESS: [&str; 3] = ["GET", "HEAD", "TRACE"];
/// Headers that say how long a body is.
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

/// The path and query of a request: begins with `/`, has no fragment, no blanks, no control
/// characters and nothing outside of ASCII, and at most 2048 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpPath(String);

impl HttpPath {
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    pub fn new(path: impl Into<String>) -> Result<Self, Invalid> {
        let path = path.into();
        let fault = if !path.starts_with('/') {
            "does not begin with '/'"
        } else if path.len() > 2048 {
            "is longer than 2048 bytes"
        } else if path.contains('#') {
            "has a fragment, which is never sent"
        } else if !path.bytes().all(|b| b.is_ascii_graphic()) {
            "has blanks or characters that need percent-encoding"
        } else {
            return Ok(Self(path));
        };
        Err(Invalid::new(format!("{path:?} {fault}")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A request method: upper-case letters and `-`, at most 32.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpMethod(String);

impl HttpMethod {
    pub fn get() -> Self {
        Self("GET".to_owned())
    }

    pub fn new(method: impl Into<String>) -> Result<Self, Invalid> {
        let method = method.into();
        let ok = (1..=32).contains(&method.len())
            && method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
            && method != "CONNECT";
        if ok {
            Ok(Self(method))
        } else {
            Err(Invalid::new(format!("{method:?} is not a method such as GET, HEAD or POST")))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A request header. An empty value removes a default one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpHeader {
    name: String,
    value: String,
}

impl HttpHeader {
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Result<Self, Invalid> {
        let (name, value) = (name.into(), value.into());
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if !(1..=128).contains(&name.len()) || !name.bytes().all(token) {
            return Err(Invalid::new(format!("{name:?} is not a header name")).at("name"));
        }
        if value.len() > 4096 || !value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)) {
            let why = "has control or non-ASCII characters, or more than 4096 bytes";
            return Err(Invalid::new(why).at("value"));
        }
        Ok(Self { name, value })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is the one of this name; their case means nothing.
    pub const fn is(&self, name: &str) -> bool {
        self.name.as_str().eq_ignore_ascii_case(name)
    }

    pub fn value(&self) -> &str {
        &self.value
    }
}

/// The HTTP statuses that pass.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StatusSet(Vec<(u16, u16)>);

impl StatusSet {
    /// Ranges with both ends included, each within 100..=599. At least one.
    pub fn new(ranges: Vec<(u16, u16)>) -> Result<Self, Invalid> {
        if ranges.is_empty() {
            return Err(Invalid::new("names no status"));
        }
        if ranges.len() > 64 {
            return Err(Invalid::new("has more than 64 ranges"));
        }
        for (index, &(first, last)) in ranges.iter().enumerate() {
            if !(100..=599).contains(&first) || !(first..=599).contains(&last) {
                let why = format!("{first}-{last} is not a range within 100-599");
                return Err(Invalid::new(why).at_index(index));
            }
        }
        Ok(Self(ranges))
    }

    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|&(first, last)| (first..=last).contains(&status))
    }

    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.0
    }
}

impl Default for StatusSet {
    /// What the kubelet and most load balancers take for an answer: 200-399.
    fn default() -> Self {
        Self(vec![(200, 399)])
    }
}
