//! Makes one attempt at one check: HTTP, TCP, gRPC, a file, a command, or several of them.
//!
//! What an attempt means, in short; `docs/checks.md` has the clauses:
//!
//! - One deadline covers the whole attempt: connect, TLS, headers, body and every redirect. For
//!   exec it starts when the command may run; waiting for that is not the task's lateness. It is
//!   stretched while the [`Observer`] is short of time itself.
//! - The socket is made inside the task's network namespace, and connects to the task's address.
//!   There is no way to aim an attempt elsewhere.
//! - A connection ends by RST, so an attempt leaves no `TIME_WAIT` behind on either side.
//! - What kept us from looking (file descriptors, permissions, a runtime that does not answer) is
//!   [`Inconclusive`](warren_core::outcome::Outcome::Inconclusive), never a failure.
//! - Dropping the future ends the attempt.
//!
//! A fresh connection costs about 50 µs of CPU, nine tenths of it in the kernel's TCP. The way
//! into the namespace and back is 4 µs of that, hyper about as much.

mod clause;
mod connect;
mod end;
mod exchange;
mod exec;
mod file;
mod files;
mod grpc;
mod http;
mod http2;
mod message;
mod netns;
mod observer;
mod parts;
mod prober;
mod redirect;
mod request;
mod tcp;
mod tls;
mod trace;
mod wire;

pub use observer::{Beat, Observer, SCORE_MAX, STRETCHED_MAX, Stake};
pub use prober::{Fault, Prober, Seen, Target};
