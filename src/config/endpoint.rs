//! The address of a server: a host, or a URL.

use super::kind::Wrong;
use std::net::Ipv6Addr;

/// What a user said about where a server is; the rest comes from other settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// By the scheme, where there is one.
    pub(super) tls: Option<bool>,
    host: String,
    /// Where it is named.
    pub(super) port: Option<u16>,
    /// Empty, or from a slash on without one at the end.
    path: String,
}

impl Endpoint {
    /// A host alone.
    pub(super) fn host(host: &str) -> Self {
        Endpoint { tls: None, host: host.to_owned(), port: None, path: String::new() }
    }

    /// Parses `[http(s)://]host[:port][/path]`, where the host may be an IPv6 address, in brackets or alone.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        if text.contains(['@', '?', '#']) {
            return Err(Wrong::Private);
        }
        let (tls, rest) = match text.split_once("://") {
            None => (None, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some(false), rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some(true), rest),
            Some(_) => return Err(Wrong::Value),
        };
        if rest.parse::<Ipv6Addr>().is_ok() {
            return Ok(Endpoint { tls, ..Endpoint::host(&format!("[{rest}]")) });
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(super::value::port(port)?)),
            _ => (authority, None),
        };
        if !is_host(host) || path.contains(char::is_whitespace) {
            return Err(Wrong::Value);
        }
        Ok(Endpoint { tls, host: host.to_owned(), port, path: path.trim_end_matches('/').to_owned() })
    }

    /// The URL, with what it does not say itself filled in; without a port, that of the scheme.
    pub(super) fn url(&self, tls: bool, port: Option<u16>) -> String {
        let scheme = if self.tls.unwrap_or(tls) { "https" } else { "http" };
        let port = self.port.or(port).map(|port| format!(":{port}")).unwrap_or_default();
        format!("{scheme}://{}{port}{}", self.host, self.path)
    }
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, expected) in [
            ("localhost", "http://localhost:1"),
            ("minio:9000", "http://minio:9000"),
            ("click_house.svc", "http://click_house.svc:1"),
            ("https://abc.example.com", "https://abc.example.com:1"),
            ("HTTPS://abc.example.com:8443/", "https://abc.example.com:8443"),
            ("http://proxy/click/house/", "http://proxy:1/click/house"),
            ("::1", "http://[::1]:1"),
            ("http://[::1]:5", "http://[::1]:5"),
            ("[::1]", "http://[::1]:1"),
        ] {
            assert_eq!(Endpoint::parse(text).map(|it| it.url(false, Some(1))), Ok(expected.to_owned()), "{text}");
        }
        assert_eq!(Endpoint::parse("s3.example.com").map(|it| it.url(true, None)), Ok("https://s3.example.com".into()));
    }

    #[test]
    fn no_urls() {
        for text in ["ftp://host", "a b", "host:", "host:x", "host:0", "http://", "http:///x", "[::1", "a:b:c", "x/a b"]
        {
            assert_eq!(Endpoint::parse(text), Err(Wrong::Value), "{text}");
        }
        for text in
            ["https://user:secret@host", "user:secret@host", "http://host/?password=secret", "http://host#secret"]
        {
            assert_eq!(Endpoint::parse(text), Err(Wrong::Private), "{text}");
        }
        assert_eq!(Endpoint::parse("host:tcp://10.0.0.1:9"), Err(Wrong::Value));
    }
}
