//! Who may use what answers more than probes do.

use crate::digest::Sha256;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret, SecretString};
use std::net::{IpAddr, SocketAddr};
use subtle::ConstantTimeEq;

/// Who may.
#[derive(Debug)]
pub(super) enum Access {
    /// Whoever is on this machine.
    Open,
    /// Whoever has this token.
    Token(Token),
    /// Nobody: the address can be reached from elsewhere, and there is no token.
    Closed(SocketAddr),
}

/// A token by its digest, so that its length takes no part in a comparison.
#[derive(Debug)]
pub(super) struct Token(Sha256);

impl Token {
    fn new(token: &SecretString) -> Self {
        Token(Sha256::of(token.expose_secret().as_bytes()))
    }

    /// Takes the same time whatever part of a guess is right.
    fn is(&self, guess: &[u8]) -> bool {
        self.0.0.as_slice().ct_eq(Sha256::of(guess).0.as_slice()).into()
    }
}

/// Why somebody may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// The token is missing, or another.
    NoToken,
    /// There is none, and this address can be reached from elsewhere.
    OffLoopback(SocketAddr),
    /// The request was meant for another host: a page of somebody else's may have sent a browser here.
    OtherHost,
}

impl Access {
    pub(super) fn new(token: Option<&SecretString>, address: SocketAddr) -> Self {
        match token {
            Some(token) => Access::Token(Token::new(token)),
            None if address.ip().to_canonical().is_loopback() => Access::Open,
            None => Access::Closed(address),
        }
    }

    /// For programs, which send the token as it is, and no `Origin`: without a token a page of somebody else's could send a
    /// browser of this machine here with events.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Denied> {
        match self {
            Access::Open if headers.contains_key(ORIGIN) => Err(Denied::OtherHost),
            Access::Open => Ok(()),
            Access::Token(token) if bearer(headers).is_some_and(|guess| token.is(guess)) => Ok(()),
            Access::Token(_) => Err(Denied::NoToken),
            Access::Closed(address) => Err(Denied::OffLoopback(*address)),
        }
    }

    /// For browsers as well, which ask people for a password.
    pub(super) fn check_browser(&self, headers: &HeaderMap) -> Result<(), Denied> {
        match self {
            Access::Open if !is_for_this_machine(headers) => Err(Denied::OtherHost),
            Access::Token(token) if password(headers).is_some_and(|guess| token.is(&guess)) => Ok(()),
            _ => self.check(headers),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    credentials(headers, "Bearer ")
}

/// Of any user.
fn password(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut decoded = BASE64_STANDARD.decode(credentials(headers, "Basic ")?).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(decoded.split_off(colon + 1))
}

fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a [u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (named, rest) = value.split_at_checked(scheme.len())?;
    named.eq_ignore_ascii_case(scheme.as_bytes()).then(|| rest.trim_ascii())
}

/// A name that somebody else has pointed here is not ours.
fn is_for_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return true };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or_else(|_| name.eq_ignore_ascii_case("localhost"), |address| address.to_canonical().is_loopback())
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
                assert!(matches!(access.check(&with(bad)), Err(Denied::NoToken)), "{bad}");
            }
            assert!(matches!(access.check(&HeaderMap::new()), Err(Denied::NoToken)));
        }
    }

    #[test]
    fn without_one_only_this_machine_may_send() {
        for address in ["127.0.0.1:80", "127.8.8.8:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert!(Access::new(None, address.parse().unwrap()).check(&HeaderMap::new()).is_ok(), "{address}");
        }
        let page = HeaderMap::from_iter([(ORIGIN, "http://evil.example".parse().unwrap())]);
        let access = Access::new(None, "127.0.0.1:80".parse().unwrap());
        assert_eq!(access.check(&page), Err(Denied::OtherHost), "no page sends events here");
        for address in ["0.0.0.0:80", "[::]:80", "192.168.0.7:80"] {
            let refused = Access::new(None, address.parse().unwrap()).check(&HeaderMap::new());
            assert!(matches!(refused, Err(Denied::OffLoopback(_))), "{address}");
        }
    }

    #[test]
    fn browsers_send_it_as_a_password() {
        let access = Access::new(Some(&SecretString::from("s3cret:x")), "10.0.0.1:80".parse().unwrap());
        let basic = |text: &str| with(&format!("Basic {}", BASE64_STANDARD.encode(text)));
        for good in ["me:s3cret:x", ":s3cret:x"] {
            assert!(access.check_browser(&basic(good)).is_ok(), "{good}");
        }
        assert!(access.check_browser(&with("Bearer s3cret:x")).is_ok());
        assert!(access.check(&basic("me:s3cret:x")).is_err(), "no program does that");
        for bad in ["s3cret:x", "me:s3cret", "me", ""] {
            assert_eq!(access.check_browser(&basic(bad)), Err(Denied::NoToken), "{bad}");
        }
        assert_eq!(access.check_browser(&with("Basic !")), Err(Denied::NoToken));
    }

    #[test]
    fn nobody_else_sends_browsers_here() {
        let access = Access::new(None, "127.0.0.1:80".parse().unwrap());
        let of = |host: &str| access.check_browser(&HeaderMap::from_iter([(HOST, host.parse().unwrap())]));
        for ours in ["localhost:8080", "LOCALHOST", "127.0.0.1:8080", "[::1]:8080", "127.1.2.3"] {
            assert_eq!(of(ours), Ok(()), "{ours}");
        }
        for other in ["evil.example", "evil.example:8080", "localhost.evil.example:1", "10.0.0.1:8080", ""] {
            assert_eq!(of(other), Err(Denied::OtherHost), "{other}");
        }
    }
}
