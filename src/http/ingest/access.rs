use super::refusal::Refusal;
use crate::digest::Sha256;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use std::net::SocketAddr;

/// Who may send events.
#[derive(Debug)]
pub(super) enum Access {
    /// Whoever is on this machine.
    Open,
    /// Whoever has the token of this digest. Comparing digests takes the same time whatever part of a guess is right.
    Token(Sha256),
    /// Nobody: the address can be reached from elsewhere, and there is no token.
    Closed(SocketAddr),
}

impl Access {
    pub(super) fn new(token: Option<&SecretString>, address: SocketAddr) -> Self {
        match token {
            Some(token) => Access::Token(Sha256::of(token.expose_secret().as_bytes())),
            None if address.ip().to_canonical().is_loopback() => Access::Open,
            None => Access::Closed(address),
        }
    }

    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match self {
            Access::Open => Ok(()),
            Access::Token(digest) if bearer(headers).is_some_and(|token| Sha256::of(token) == *digest) => Ok(()),
            Access::Token(_) => Err(Refusal::NoToken),
            Access::Closed(address) => Err(Refusal::OffLoopback { address: *address }),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, authorization.parse().unwrap())])
    }

    #[test]
    fn a_token_opens_any_address_to_whoever_has_it() {
        for address in ["127.0.0.1:80", "10.0.0.1:80"] {
            let access = Access::new(Some(&SecretString::from("s3cret")), address.parse().unwrap());
            for good in ["Bearer s3cret", "bearer s3cret", "BEARER  s3cret"] {
                assert!(access.check(&with(good)).is_ok(), "{good}");
            }
            for bad in ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cretX", "Basic s3cret", "s3cret"] {
                assert!(matches!(access.check(&with(bad)), Err(Refusal::NoToken)), "{bad}");
            }
            assert!(matches!(access.check(&HeaderMap::new()), Err(Refusal::NoToken)));
        }
    }

    #[test]
    fn without_one_only_this_machine_may_send() {
        for address in ["127.0.0.1:80", "127.8.8.8:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert!(Access::new(None, address.parse().unwrap()).check(&HeaderMap::new()).is_ok(), "{address}");
        }
        for address in ["0.0.0.0:80", "[::]:80", "192.168.0.7:80"] {
            let refused = Access::new(None, address.parse().unwrap()).check(&HeaderMap::new());
            assert!(matches!(refused, Err(Refusal::OffLoopback { .. })), "{address}");
        }
    }
}
