//! The port through which a worker runs tasks, and the process driver behind it.
//!
//! Knows nothing of containerd. A driver keeps no state that it cannot find again: tasks outlive
//! the worker, and [`Runtime::list`] gives them back to the next one.

pub mod exec;
pub mod expand;
pub mod logs;
pub mod output;
pub mod port;
pub mod process;
pub mod root;
pub mod supervisor;

pub use output::HeadTail;
pub use port::{
    ExecEnd, Exit, Found, FoundState, ImageFacts, ImageRecord, Launch, Output, Reach, Running,
    Runtime, RuntimeError,
};
pub use process::proc::Identity;
pub use root::{Root, RootError};
