//! The names of images.

use std::{fmt, net::Ipv6Addr, num::NonZeroU16, str::FromStr, sync::Arc};

use crate::Invalid;

/// An image's name in full: registry, repository, and a tag or digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef(Arc<str>);

impl ImageRef {
    /// Such as `docker.io/library/nginx:latest`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without tag and digest, such as `docker.io/library/nginx`.
    pub fn repository(&self) -> &str {
        let name = self.0.split('@').next().unwrap_or_default();
        // A colon before the last `/` is a registry's port.
        match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => name,
            Some(_) | None => name,
        }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ImageRef {
    type Err = Invalid;

    /// Completes a short name as docker does: `nginx` is `docker.io/library/nginx:latest`.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refuse = |fault: &str| Invalid::new(format!("{text:?} is not an image name: {fault}"));
        if text.len() > 512 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(refuse("blanks, non-ASCII characters or more than 512 bytes"));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let hex = |d: &str| d.len() == 64 && d.bytes().all(|b| b.is_ascii_hexdigit());
        if digest.is_some_and(|d| !d.strip_prefix("sha256:").is_some_and(hex)) {
            return Err(refuse("a digest is sha256: and 64 hexadecimal digits"));
        }
        let (registry, rest) = match name.split_once('/') {
            Some((host, rest)) if host == "localhost" || host.contains(['.', ':']) => (host, rest),
            Some(_) | None => ("docker.io", name),
        };
        if !is_registry(registry) {
            return Err(refuse("a registry is a host, or host:port"));
        }
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        let component = |part: &str| {
            let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            part.starts_with(edge)
                && part.ends_with(edge)
                && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
        };
        if !path.split('/').all(component) {
            return Err(refuse(
                "a repository is lower-case letters, digits, '.', '_', '-' and '/'",
            ));
        }
        let tag_byte = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if tag.is_some_and(|t| !(1..=128).contains(&t.len()) || !t.bytes().all(tag_byte)) {
            return Err(refuse("a tag is letters, digits, '.', '_' and '-', at most 128"));
        }
        let library = if registry == "docker.io" && !path.contains('/') { "library/" } else { "" };
        let suffix = match (tag, digest) {
            (Some(tag), Some(digest)) => format!(":{tag}@{digest}"),
            (None, Some(digest)) => format!("@{digest}"),
            (tag, None) => format!(":{}", tag.unwrap_or("latest")),
        };
        Ok(Self(format!("{registry}/{library}{path}{suffix}").into()))
    }
}

/// A name or an address, with or without a port; IPv6 in brackets.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (text, None),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_ok = match address {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.split('.').all(label),
    };
    // Rust's parser would take a sign.
    let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    host_ok && port.is_none_or(|port| digits(port) && port.parse::<NonZeroU16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_image_names_mean_what_docker_makes_of_them() {
        for (short, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("bitnami/redis", "docker.io/bitnami/redis:latest"),
            ("127.0.0.1:5000/app:x", "127.0.0.1:5000/app:x"),
            ("localhost/app", "localhost/app:latest"),
            ("ghcr.io/a/b/c:1", "ghcr.io/a/b/c:1"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
        ] {
            assert_eq!(short.parse::<ImageRef>().map(|i| i.to_string()), Ok(full.to_owned()));
        }
        let digest = format!("nginx@sha256:{}", "a".repeat(64));
        assert_eq!(
            digest.parse::<ImageRef>().map(|i| i.to_string()),
            Ok(format!("docker.io/library/{digest}"))
        );
    }

    #[test]
    fn full_image_names_stay_as_they_are() {
        let full = "docker.io/library/nginx:latest".parse::<ImageRef>().unwrap();
        assert_eq!(full.as_str().parse(), Ok(full.clone()));
    }

    #[test]
    fn what_is_not_an_image_name_is_refused() {
        for text in [
            "",
            "Nginx",
            "a b",
            "nginx:",
            "nginx@sha256:1",
            "/x",
            "x//y",
            "-x",
            "x:a/b",
            "x:0/b",
            "x:+1/b",
            "a..b/x",
            "-a.b/x",
            "[::g]:1/x",
        ] {
            assert!(text.parse::<ImageRef>().is_err(), "{text:?}");
        }
    }
}
