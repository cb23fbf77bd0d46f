//! Several looks that give one answer.

use super::CheckKind;
use crate::Invalid;

/// 2-8 kinds, none of them made of parts itself. One alone needs no combining, and more than
/// eight is a monitoring system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Parts(Vec<CheckKind>);

impl Parts {
    pub fn new(kinds: Vec<CheckKind>) -> Result<Self, Invalid> {
        let composed = |kind: &CheckKind| match kind {
            CheckKind::All(_) | CheckKind::Any(_) => true,
            CheckKind::Http(_)
            | CheckKind::Tcp(_)
            | CheckKind::Exec(_)
            | CheckKind::Grpc(_)
            | CheckKind::File(_) => false,
        };
        if let Some(index) = kinds.iter().position(composed) {
            return Err(Invalid::new("is made of parts itself").at_index(index));
        }
        if (2..=8).contains(&kinds.len()) {
            Ok(Self(kinds))
        } else {
            Err(Invalid::new(format!("has {} parts, not 2-8", kinds.len())))
        }
    }

    pub fn as_slice(&self) -> &[CheckKind] {
        &self.0
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [CheckKind] {
        &mut self.0
    }
}
