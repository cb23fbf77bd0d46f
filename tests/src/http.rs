//! One request at a time, for looking at endpoints.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::eventually;

/// The status and the body; a connection that fails is status 0.
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    try_get(address, path).unwrap_or_else(|error| (0, error.to_string()))
}

fn try_get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    Ok((status, body.unwrap_or_default()))
}

/// Waits until a page has this status; its body.
pub fn wait_for(address: SocketAddr, path: &str, status: u16) -> String {
    eventually(&format!("{path} to be {status}"), Duration::from_mins(1), || {
        let (seen, body) = get(address, path);
        if seen == status { Ok(body) } else { Err(format!("{seen} {body}")) }
    })
}
