//! Attempts at real servers, in real network namespaces, and at a runtime that only pretends.

#[cfg(test)]
mod clause;
#[cfg(test)]
mod exec;
#[cfg(test)]
mod http;
#[cfg(test)]
mod namespace;
#[cfg(test)]
mod net;
#[cfg(test)]
mod redirect;
#[cfg(test)]
mod runtime;
#[cfg(test)]
mod server;
#[cfg(test)]
mod tls;
