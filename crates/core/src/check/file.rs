//! A file that must be there.

use crate::{bounds::Age, spec::AbsolutePath};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileCheck {
    /// Among the task's files.
    pub path: AbsolutePath,
    /// Since it was last written.
    pub max_age: Option<Age>,
}
