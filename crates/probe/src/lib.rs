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
//! `make bench-checks` measures what an attempt costs; most of it is the kernel's TCP.

#[cfg(test)]
mod against_hyper;
mod clause;
mod components;
mod connect;
mod end;
mod exchange;
mod exec;
mod file;
mod files;
mod framing;
mod grpc;
mod http;
mod http1;
mod http2;
mod kept;
mod message;
mod netns;
mod observer;
mod parts;
mod prober;
mod redirect;
mod request;
mod socket;
mod tcp;
mod tls;
mod trace;
mod wire;

pub use observer::{Beat, Observer, SCORE_MAX, STRETCHED_MAX, Stake};
pub use prober::{Fault, Peeked, Prober, Seen, Target};
