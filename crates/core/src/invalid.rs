//! What is wrong with a value that came from outside, and where.

use std::fmt;

/// A value was refused. Names the field by its path from the message that held it, so that the
/// same sentence serves the CLI, the API and a log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    path: String,
    why: String,
}

impl Invalid {
    /// Refuses the value itself; callers add the path with [`Invalid::at`].
    pub fn new(why: impl Into<String>) -> Self {
        Self { path: String::new(), why: why.into() }
    }

    /// A field that must be there is not.
    pub fn missing(field: &str) -> Self {
        Self::new("is required").at(field)
    }

    /// Says which field of the enclosing message the value was in.
    pub fn at(mut self, field: impl fmt::Display) -> Self {
        self.path = match self.path.as_str() {
            "" => field.to_string(),
            inner if inner.starts_with('[') => format!("{field}{inner}"),
            inner => format!("{field}.{inner}"),
        };
        self
    }

    /// Says which element of a repeated field the value was in.
    pub fn at_index(self, index: usize) -> Self {
        self.at(format_args!("[{index}]"))
    }

    /// Such as `spec.template.publish[0].host_port`; empty when the value stands alone.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong with it, as the end of a sentence that begins with the field.
    pub fn why(&self) -> &str {
        &self.why
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.why),
            path => write!(f, "{path}: {}", self.why),
        }
    }
}

impl std::error::Error for Invalid {}

/// Adds the field's path to whatever is wrong in it.
pub trait At<T> {
    fn at(self, field: impl fmt::Display) -> Result<T, Invalid>;
}

impl<T> At<T> for Result<T, Invalid> {
    fn at(self, field: impl fmt::Display) -> Result<T, Invalid> {
        self.map_err(|invalid| invalid.at(field))
    }
}

#[cfg(test)]
mod tests {
    use super::Invalid;

    #[test]
    fn the_path_reads_from_the_outside_in() {
        let invalid = Invalid::new("70000 is not in 1..=65535")
            .at("host_port")
            .at_index(0)
            .at("publish")
            .at("spec");
        assert_eq!(invalid.to_string(), "spec.publish[0].host_port: 70000 is not in 1..=65535");
    }
}
