//! Attempts at real servers, in real network namespaces, and at a runtime that only pretends.

#[cfg(test)]
mod body;
#[cfg(test)]
mod clause;
#[cfg(test)]
mod exec;
#[cfg(test)]
mod files;
#[cfg(test)]
mod grpc;
#[cfg(test)]
mod h2_server;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod http;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod namespace;
#[cfg(test)]
mod net;
#[cfg(test)]
mod observer;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod redirect;
#[cfg(test)]
mod runtime;
#[cfg(test)]
mod server;
#[cfg(test)]
mod tcp;
#[cfg(test)]
mod tls;
