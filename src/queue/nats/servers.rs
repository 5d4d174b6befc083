//! Where NATS is and how to get in: what the settings say, checked before anybody is asked.

use super::subject;
use crate::config::Nats;
use crate::queue::QueueError;
use crate::queue::tls::{self, Files};
use async_nats::{ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;
use rustls::ClientConfig;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::path::{Path, PathBuf};

/// The servers to try in turn, at least one, and how to speak TLS with them.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) all: Vec<Server>,
    pub(super) tls: ClientConfig,
    /// Whether a server without TLS is none of ours.
    pub(super) tls_only: bool,
}

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// Without user or password.
    pub(super) address: ServerAddr,
    pub(super) login: Login,
}

/// Who we are.
#[derive(Debug, Clone)]
pub(super) enum Login {
    Nobody,
    User(String, SecretString),
    Token(SecretString),
    NKey(SecretString),
    Credentials(PathBuf),
}

impl Servers {
    /// Checks the settings. Speaks to nobody.
    pub(super) fn new(settings: &Nats) -> Result<Self, QueueError> {
        for (setting, name) in [("NATS_STREAM", &settings.stream), ("NATS_CONSUMER", &settings.consumer)] {
            if name.contains(|c: char| c.is_whitespace() || c.is_control() || ".*>/\\".contains(c)) {
                let what =
                    format!("{setting} is {name:?}, and names in NATS have no spaces and none of . * > / \\ in them");
                return Err(QueueError::new(what));
            }
        }
        if !subject::is_valid(&settings.subject) {
            return Err(QueueError::new(format!(
                "NATS_SUBJECT is {:?}, which is no subject: words between dots, * for any one of them, > for all at the end",
                settings.subject
            )));
        }
        let login = Login::of(settings)?;
        let urls: Vec<_> =
            settings.url.expose_secret().split(',').map(str::trim).filter(|url| !url.is_empty()).collect();
        let several = urls.len() > 1;
        let all = urls.iter().enumerate().map(|(at, url)| {
            Server::parse(url, &login).map_err(|why| {
                let which = if several { format!(", URL {} of {}", at + 1, urls.len()) } else { String::new() };
                QueueError::new(format!(
                    "NATS_URL is not nats://user:password@host:port{which}: {why}; characters like / ? # @ : , and % in a user \
                     or password are written percent-encoded"
                ))
            })
        });
        let all: Vec<_> = all.collect::<Result<_, _>>()?;
        if all.is_empty() {
            return Err(QueueError::new("NATS_URL names no server"));
        }
        let files = Files {
            ca: ("NATS_CA_FILE", settings.ca_file.as_deref()),
            certificate: ("NATS_CERT_FILE", settings.cert_file.as_deref()),
            key: ("NATS_KEY_FILE", settings.key_file.as_deref()),
        };
        let tls = tls::client(&files).map_err(QueueError::new)?;
        Ok(Servers { all, tls, tls_only: settings.ca_file.is_some() || settings.cert_file.is_some() })
    }
}

impl Server {
    /// The error holds nothing of the URL.
    fn parse(url: &str, login: &Login) -> Result<Server, &'static str> {
        let (scheme, _) = url.split_once("://").ok_or("it does not begin with nats:// or tls://")?;
        if !matches!(scheme, "nats" | "tls") {
            return Err("it does not begin with nats:// or tls://");
        }
        let given: ServerAddr = url.parse().map_err(|_| "it cannot be read")?;
        let host = given.host();
        if host.is_empty() {
            return Err("it has no host");
        }
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let address = format!("{scheme}://{host}:{}", given.port()).parse().map_err(|_| "it cannot be read")?;
        let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
            Ok(text) => Ok(text.into_owned()),
            Err(_) => Err("user or password are not UTF-8"),
        };
        let login = match (given.username(), given.password()) {
            (None, _) => login.clone(),
            (Some(token), None) => Login::Token(decoded(token)?.into()),
            (Some(user), Some(password)) => Login::User(decoded(user)?, decoded(password)?.into()),
        };
        Ok(Server { address, login })
    }
}

/// Host and port.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (self.address.host(), self.address.port());
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Login {
    fn of(settings: &Nats) -> Result<Login, QueueError> {
        let user = settings.user.as_ref().zip(settings.password.as_ref());
        let ways = [
            ("NATS_USER", user.map(|(user, password)| Login::User(user.clone(), password.clone()))),
            ("NATS_TOKEN", settings.token.clone().map(Login::Token)),
            ("NATS_NKEY", settings.nkey.clone().map(Login::NKey)),
            ("NATS_CREDS_FILE", settings.creds_file.clone().map(Login::Credentials)),
        ];
        let (names, mut given): (Vec<_>, Vec<_>) =
            ways.into_iter().filter_map(|(name, login)| login.map(|login| (name, login))).unzip();
        if given.len() > 1 {
            let what = format!("{} are set, and there is only one way to log in: set one of them", names.join(" and "));
            return Err(QueueError::new(what));
        }
        let login = given.pop().unwrap_or(Login::Nobody);
        // What is wrong with it is wrong now, not only when a server is there.
        login.apply(ConnectOptions::new())?;
        Ok(login)
    }

    /// Puts it into what the driver is told.
    pub(super) fn apply(&self, options: ConnectOptions) -> Result<ConnectOptions, QueueError> {
        Ok(match self {
            Login::Nobody => options,
            Login::User(user, password) => options.user_and_password(user.clone(), password.expose_secret().into()),
            Login::Token(token) => options.token(token.expose_secret().into()),
            Login::NKey(seed) => {
                // The driver would say so at every attempt, and to nobody.
                if !is_seed(seed.expose_secret().trim()) {
                    return Err(QueueError::new(
                        "NATS_NKEY is not the seed of a user's NKey, 58 characters that begin with SU",
                    ));
                }
                options.nkey(seed.expose_secret().trim().into())
            }
            Login::Credentials(path) => credentials(path, options)
                .map_err(|why| QueueError::new(format!("NATS_CREDS_FILE names {}, which {why}", path.display())))?,
        })
    }

    /// For people: who is refused, and where to look.
    pub(super) fn describe(&self) -> (String, &'static str) {
        match self {
            Login::Nobody => ("a login without user".into(), "NATS_USER, NATS_TOKEN, NATS_NKEY or NATS_CREDS_FILE"),
            Login::User(user, _) => (format!("the login of {user}"), "user and password in NATS_URL or NATS_PASSWORD"),
            Login::Token(_) => ("our token".into(), "NATS_TOKEN, or the token in NATS_URL"),
            Login::NKey(_) => ("our NKey".into(), "NATS_NKEY"),
            Login::Credentials(_) => ("our credentials".into(), "NATS_CREDS_FILE: they may have expired"),
        }
    }
}

fn is_seed(seed: &str) -> bool {
    seed.len() == 58
        && seed.starts_with("SU")
        && seed.chars().all(|c| c.is_ascii_uppercase() || ('2'..='7').contains(&c))
}

fn credentials(path: &Path, options: ConnectOptions) -> Result<ConnectOptions, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    options
        .credentials(&text)
        .map_err(|_| "is no credentials file (a JWT and an NKEY SEED, as nsc writes it)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn servers(change: impl FnOnce(&mut Nats)) -> Result<Vec<String>, String> {
        let mut settings = Config::default().nats;
        change(&mut settings);
        let servers = Servers::new(&settings).map_err(|error| error.to_string())?;
        let describe = |server: &Server| {
            let login = match &server.login {
                Login::User(user, password) => format!("{user}/{}", password.expose_secret()),
                Login::Token(token) => token.expose_secret().to_owned(),
                other => other.describe().0,
            };
            format!("{} {server} {login}", server.address.scheme())
        };
        Ok(servers.all.iter().map(describe).collect())
    }

    fn url(url: &str) -> Result<Vec<String>, String> {
        servers(|settings| settings.url = url.into())
    }

    #[test]
    fn urls() {
        assert_eq!(servers(|_| {}).unwrap(), ["nats localhost:4222 a login without user"]);
        assert_eq!(
            url("nats://a:b@one, tls://d:%2F%40@[::1]:1, nats://s3cret@three:9,").unwrap(),
            ["nats one:4222 a/b", "tls [::1]:1 d//@", "nats three:9 s3cret"]
        );
        let mixed = servers(|settings| {
            settings.url = "nats://a:b@one,nats://two".into();
            settings.token = Some("t".into());
        });
        assert_eq!(mixed.unwrap(), ["nats one:4222 a/b", "nats two:4222 t"]);
    }

    #[test]
    fn a_wrong_url_is_one_sentence_without_it() {
        for wrong in [
            "user:secret@host",
            "http://user:secret@host",
            "ws://user:secret@host",
            "nats://user:secret@host:x",
            "nats://user:secret@",
            "nats://user:se/cret@host",
            "nats://h,nats://user:secret@host:99999",
            "nats://user:%ff%fesecret@host",
        ] {
            let said = url(wrong).unwrap_err();
            assert!(said.starts_with("NATS_URL is not nats://") && !said.contains("secret"), "{said}");
        }
        assert!(url("nats://h, nats://h:x").unwrap_err().contains("URL 2 of 2"));
        assert!(url(" , ").unwrap_err().contains("no server"));
    }

    #[test]
    fn names_and_subjects() {
        assert!(servers(|settings| settings.stream = "a.b".into()).unwrap_err().starts_with("NATS_STREAM is \"a.b\""));
        assert!(servers(|settings| settings.consumer = "a b".into()).unwrap_err().starts_with("NATS_CONSUMER"));
        assert!(servers(|settings| settings.subject = "a..b".into()).unwrap_err().starts_with("NATS_SUBJECT"));
    }

    #[test]
    fn one_way_to_log_in() {
        let said = servers(|settings| {
            settings.token = Some("s3cret".into());
            settings.nkey = Some("SUs3cret".into());
        });
        assert_eq!(
            said.unwrap_err(),
            "NATS_TOKEN and NATS_NKEY are set, and there is only one way to log in: set one of them"
        );
        let said = servers(|settings| settings.nkey = Some("s3cret".into())).unwrap_err();
        assert!(said.starts_with("NATS_NKEY is not the seed") && !said.contains("s3cret"), "{said}");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.creds");
        let creds = || servers(|settings| settings.creds_file = Some(file.clone())).unwrap_err();
        assert!(creds().starts_with("NATS_CREDS_FILE names") && creds().contains("cannot be read"), "{}", creds());
        std::fs::write(&file, "s3cret").unwrap();
        assert!(creds().contains("is no credentials file") && !creds().contains("s3cret"), "{}", creds());
    }
}
