//! What a check is and what it can say.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

/// Looks whether one thing works. Implemented by the built-in checks, by closures that return a
/// future, and by whatever a service writes itself:
///
/// ```
/// use vitals::{Check, CheckError, Context, Details};
///
/// struct Queue { waiting: u32 }
///
/// impl Check for Queue {
///     async fn check(&self, _: Context) -> Result<Details, CheckError> {
///         match self.waiting {
///             0..1_000 => Ok(Details::healthy()),
///             1_000..10_000 => Ok(Details::degraded("the queue is long")),
///             _ => Err(CheckError::new("the queue is full")),
///         }
///     }
/// }
/// ```
///
/// The caller sees to the rest: a timeout measured from outside, panics, and that there is never
/// more than one run at a time.
pub trait Check: Send + Sync + 'static {
    /// Looks once.
    fn check(&self, context: Context) -> impl Future<Output = Result<Details, CheckError>> + Send;

    /// What this check depends on, such as `db.internal:5432/payments`. It is shown beside the
    /// component, so that whoever compares many services sees that they miss the same thing.
    fn target(&self) -> Option<String> {
        None
    }
}

impl<F, Running, Said> Check for F
where
    F: Fn() -> Running + Send + Sync + 'static,
    Running: Future<Output = Result<Said, CheckError>> + Send + 'static,
    Said: Into<Details>,
{
    async fn check(&self, _: Context) -> Result<Details, CheckError> {
        Ok(self().await?.into())
    }
}

/// What a check is told about its run.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    pub(crate) timeout: Duration,
}

impl Context {
    /// How long the run may take. It is ended from outside then; a check that gives up earlier can
    /// say why.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// What a check saw that did not fail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    pub(crate) degraded: bool,
    pub(crate) message: Option<String>,
}

impl Details {
    /// All is well.
    pub fn healthy() -> Self {
        Self::default()
    }

    /// It works, but worse than it should.
    pub fn degraded(message: impl fmt::Display) -> Self {
        Self { degraded: true, message: Some(message.to_string()) }
    }

    /// A sentence for a person.
    pub fn message(self, message: impl fmt::Display) -> Self {
        Self { message: Some(message.to_string()), ..self }
    }
}

impl From<()> for Details {
    fn from((): ()) -> Self {
        Self::healthy()
    }
}

/// Why a check failed. Any error becomes one by `?`, with the errors that caused it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckError {
    message: String,
}

impl CheckError {
    /// A failure that a sentence says.
    pub fn new(message: impl fmt::Display) -> Self {
        Self { message: message.to_string() }
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: std::error::Error> From<E> for CheckError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many errors repeat their cause in their own text.
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        Self { message }
    }
}

/// A check of any type.
pub(crate) trait AnyCheck: Send + Sync {
    fn run(self: Arc<Self>, context: Context) -> Running;
    fn target(&self) -> Option<String>;
}

pub(crate) type Running = Pin<Box<dyn Future<Output = Result<Details, CheckError>> + Send>>;

impl<C: Check> AnyCheck for C {
    fn run(self: Arc<Self>, context: Context) -> Running {
        Box::pin(async move { self.check(context).await })
    }

    fn target(&self) -> Option<String> {
        Check::target(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot connect")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("connection refused")]
    struct Inner;

    #[test]
    fn an_error_tells_its_causes_once() {
        assert_eq!(CheckError::from(Outer(Inner)).message(), "cannot connect: connection refused");
        let repeats = std::io::Error::other(Outer(Inner));
        assert_eq!(CheckError::from(repeats).message(), "cannot connect: connection refused");
    }
}
