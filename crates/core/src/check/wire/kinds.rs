//! The kinds of check but HTTP, as messages.

use warren_proto::v1 as pb;

use super::super::{
    Check, CheckKind, Command, ExecCheck, ExecForm, ExitCodes, FileCheck, GrpcCheck, GrpcHost,
    GrpcService, Parts, Payload, TcpCheck,
};
use crate::{
    Invalid,
    invalid::At,
    spec::{AbsolutePath, User},
    wire::{enumerated_or, optional, wire_enum},
};

wire_enum!(ExecForm: Argv, Shell);

impl From<&TcpCheck> for pb::TcpCheck {
    fn from(check: &TcpCheck) -> Self {
        let TcpCheck { endpoint, tls, send, expect } = check;
        Self {
            endpoint: Some(endpoint.into()),
            tls: tls.as_ref().map(Into::into),
            send: send.as_slice().to_vec(),
            expect: expect.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<pb::TcpCheck> for TcpCheck {
    type Error = Invalid;

    fn try_from(wire: pb::TcpCheck) -> Result<Self, Invalid> {
        let pb::TcpCheck { endpoint, send, expect, tls } = wire;
        Ok(Self {
            tls: optional("tls", tls)?,
            endpoint: endpoint.ok_or_else(|| Invalid::missing("port"))?.try_into()?,
            send: Payload::new(send).at("send")?,
            expect: optional("expect", expect)?,
        })
    }
}

impl From<&GrpcCheck> for pb::GrpcCheck {
    fn from(check: &GrpcCheck) -> Self {
        let GrpcCheck { endpoint, service, tls, host } = check;
        Self {
            endpoint: Some(endpoint.into()),
            service: service.as_str().to_owned(),
            tls: tls.as_ref().map(Into::into),
            host: host.as_ref().map(|host| host.as_str().to_owned()).unwrap_or_default(),
        }
    }
}

impl TryFrom<pb::GrpcCheck> for GrpcCheck {
    type Error = Invalid;

    fn try_from(wire: pb::GrpcCheck) -> Result<Self, Invalid> {
        let pb::GrpcCheck { endpoint, service, tls, host } = wire;
        Ok(Self {
            endpoint: endpoint.ok_or_else(|| Invalid::missing("port"))?.try_into()?,
            service: GrpcService::new(service).at("service")?,
            tls: optional("tls", tls)?,
            host: match host.as_str() {
                "" => None,
                _ => Some(GrpcHost::new(host).at("host")?),
            },
        })
    }
}

impl From<&ExecCheck> for pb::ExecCheck {
    fn from(check: &ExecCheck) -> Self {
        let ExecCheck { command, user, exits, expect } = check;
        let numbers = |codes: &std::collections::BTreeSet<u8>| {
            codes.iter().map(|code| u32::from(*code)).collect()
        };
        let argv = match command.line() {
            Some(line) => vec![line.to_owned()],
            None => command.words().to_vec(),
        };
        Self {
            argv,
            form: pb::ExecForm::from(command.form()).into(),
            user: user.as_ref().map(|user| user.as_str().to_owned()).unwrap_or_default(),
            pass: numbers(exits.pass()),
            inconclusive: numbers(exits.inconclusive()),
            expect: expect.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<pb::ExecCheck> for ExecCheck {
    type Error = Invalid;

    fn try_from(wire: pb::ExecCheck) -> Result<Self, Invalid> {
        let pb::ExecCheck { argv, form, user, pass, inconclusive, expect } = wire;
        let command = match enumerated_or::<pb::ExecForm, _>("form", form, ExecForm::Argv)? {
            ExecForm::Argv => Command::argv(argv).at("argv")?,
            ExecForm::Shell => Command::shell(one_line(argv).at("argv")?).at("argv")?,
        };
        let user = if user.is_empty() { None } else { Some(User::new(user).at("user")?) };
        let exits = ExitCodes::new(&pass, &inconclusive)?;
        Ok(Self { command, user, exits, expect: optional("expect", expect)? })
    }
}

fn one_line(argv: Vec<String>) -> Result<String, Invalid> {
    match <[String; 1]>::try_from(argv) {
        Ok([line]) => Ok(line),
        Err(argv) => Err(Invalid::new(format!("is {} words, not one line", argv.len()))),
    }
}

impl From<&FileCheck> for pb::FileCheck {
    fn from(check: &FileCheck) -> Self {
        let FileCheck { path, max_age } = check;
        Self { path: path.as_str().to_owned(), max_age: max_age.map(Into::into) }
    }
}

impl TryFrom<pb::FileCheck> for FileCheck {
    type Error = Invalid;

    fn try_from(wire: pb::FileCheck) -> Result<Self, Invalid> {
        let pb::FileCheck { path, max_age } = wire;
        Ok(Self {
            path: AbsolutePath::new(path).at("path")?,
            max_age: optional("max_age", max_age)?,
        })
    }
}

impl From<&Parts> for pb::CheckParts {
    fn from(parts: &Parts) -> Self {
        let part = |kind: &CheckKind| pb::Check { kind: Some(kind.into()), timing: None };
        Self { checks: parts.as_slice().iter().map(part).collect() }
    }
}

impl TryFrom<pb::CheckParts> for Parts {
    type Error = Invalid;

    fn try_from(wire: pb::CheckParts) -> Result<Self, Invalid> {
        let pb::CheckParts { checks } = wire;
        let part = |(index, check): (usize, pb::Check)| {
            Check::part_from_wire(check).map_err(|invalid| invalid.at_index(index))
        };
        let kinds: Result<_, _> = checks.into_iter().enumerate().map(part).collect();
        kinds.and_then(Self::new).at("checks")
    }
}

impl Check {
    fn part_from_wire(wire: pb::Check) -> Result<CheckKind, Invalid> {
        let pb::Check { kind, timing } = wire;
        if timing.is_some() {
            return Err(Invalid::new("belongs to the whole check").at("timing"));
        }
        kind.ok_or_else(|| Invalid::missing("kind"))?.try_into()
    }
}
