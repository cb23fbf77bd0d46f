//! An HTTP check as a message.

use warren_proto::v1 as pb;

use super::super::{
    HttpCheck, HttpHeader, HttpMethod, HttpPath, HttpVersion, Payload, Scheme, StatusSet, Tls,
};
use crate::{
    Invalid,
    invalid::At,
    wire::{enumerated_or, optional, repeated, wire_enum},
};

wire_enum!(Scheme: Http, Https);
wire_enum!(HttpVersion: Http1, Http2);

impl From<&HttpCheck> for pb::HttpCheck {
    fn from(check: &HttpCheck) -> Self {
        let HttpCheck {
            tls,
            endpoint,
            version,
            path,
            method,
            headers,
            expect,
            body,
            body_not,
            keep_alive,
            send,
        } = check;
        let range = |&(first, last): &(u16, u16)| pb::StatusRange {
            first: first.into(),
            last: last.into(),
        };
        Self {
            scheme: pb::Scheme::from(check.scheme()).into(),
            endpoint: Some(endpoint.into()),
            path: path.as_str().to_owned(),
            method: method.as_str().to_owned(),
            headers: headers.iter().map(Into::into).collect(),
            expect: expect.ranges().iter().map(range).collect(),
            body: body.as_ref().map(Into::into),
            body_not: body_not.as_ref().map(Into::into),
            version: pb::HttpVersion::from(*version).into(),
            tls: tls.as_ref().map(Into::into),
            keep_alive: *keep_alive,
            send: send.as_slice().to_vec(),
        }
    }
}

impl TryFrom<pb::HttpCheck> for HttpCheck {
    type Error = Invalid;

    fn try_from(wire: pb::HttpCheck) -> Result<Self, Invalid> {
        let pb::HttpCheck {
            scheme,
            endpoint,
            path,
            method,
            headers,
            expect,
            body,
            body_not,
            version,
            tls,
            keep_alive,
            send,
        } = wire;
        let absent = HttpVersion::Http1;
        let scheme = enumerated_or::<pb::Scheme, _>("scheme", scheme, Scheme::Http)?;
        let tls: Option<Tls> = optional("tls", tls)?;
        let tls = match (scheme, tls) {
            (Scheme::Http, None) => None,
            (Scheme::Http, Some(_)) => {
                return Err(Invalid::new("needs the scheme HTTPS").at("tls"));
            }
            (Scheme::Https, tls) => Some(tls.unwrap_or_default()),
        };
        let check = Self {
            tls,
            endpoint: endpoint.ok_or_else(|| Invalid::missing("port"))?.try_into()?,
            version: enumerated_or::<pb::HttpVersion, _>("version", version, absent)?,
            path: match path.as_str() {
                "" => HttpPath::root(),
                _ => HttpPath::new(path).at("path")?,
            },
            method: match method.as_str() {
                "" => HttpMethod::get(),
                _ => HttpMethod::new(method).at("method")?,
            },
            headers: repeated::<_, HttpHeader, _>("headers", headers)?,
            expect: status_set(expect).at("expect")?,
            body: optional("body", body)?,
            body_not: optional("body_not", body_not)?,
            keep_alive: false,
            send: Payload::new(send).at("send")?,
        }
        .consistent()?;
        if keep_alive { check.kept() } else { Ok(check) }
    }
}

fn status_set(wire: Vec<pb::StatusRange>) -> Result<StatusSet, Invalid> {
    if wire.is_empty() {
        return Ok(StatusSet::default());
    }
    // What no status can be becomes the largest number, and the set refuses it.
    let status = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let range = |wire: pb::StatusRange| {
        let pb::StatusRange { first, last } = wire;
        (status(first), status(last))
    };
    StatusSet::new(wire.into_iter().map(range).collect())
}

impl From<&HttpHeader> for pb::Header {
    fn from(header: &HttpHeader) -> Self {
        Self { name: header.name().to_owned(), value: header.value().to_owned() }
    }
}

impl TryFrom<pb::Header> for HttpHeader {
    type Error = Invalid;

    fn try_from(wire: pb::Header) -> Result<Self, Invalid> {
        let pb::Header { name, value } = wire;
        Self::new(name, value)
    }
}
