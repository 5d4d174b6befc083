//! Where RabbitMQ is and how to get in: what the settings say, checked before anybody is asked.

use crate::config::Rabbitmq;
use crate::queue::QueueError;
use crate::queue::tls::{self, Files};
use lapin::tcp::RustlsConnector;
use lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};
use secrecy::ExposeSecret;
use std::fmt;

/// Where the URL asks for none: a server that hangs is noticed within twice this, in seconds.
const HEARTBEAT: u16 = 20;
/// Names longer than this do not fit into the protocol.
const LONGEST_NAME: usize = 255;

/// The nodes to try in turn, at least one, and how to speak TLS with them.
pub(super) struct Hosts {
    pub(super) all: Vec<Host>,
    pub(super) tls: RustlsConnector,
}

/// One node.
#[derive(Clone)]
pub(super) struct Host(pub(super) AMQPUri);

impl Hosts {
    /// Checks the settings. Speaks to nobody.
    pub(super) fn new(settings: &Rabbitmq) -> Result<Self, QueueError> {
        let long = settings.queues.iter().find(|queue| queue.len() > LONGEST_NAME);
        if let Some(queue) = long {
            let start: String = queue.chars().take(40).collect();
            return Err(QueueError::new(format!(
                "RABBITMQ_QUEUES names a queue of more than {LONGEST_NAME} bytes, which RabbitMQ cannot have: {start}…"
            )));
        }
        let urls = split(settings.url.expose_secret());
        let several = urls.len() > 1;
        let all = urls.iter().enumerate().map(|(at, url)| {
            Host::parse(url).map_err(|why| {
                let which = if several { format!(", URL {} of {}", at + 1, urls.len()) } else { String::new() };
                QueueError::new(format!(
                    "AMQP_URL is not amqp://user:password@host:port/vhost{which}: {why}; characters like / ? # @ : and % \
                     in a user, password or vhost are written percent-encoded"
                ))
            })
        });
        Ok(Hosts { all: all.collect::<Result<_, _>>()?, tls: tls(settings).map_err(QueueError::new)? })
    }
}

/// At commas behind which a URL begins; one in a password is none.
fn split(urls: &str) -> Vec<&str> {
    let (mut parts, mut begin) = (Vec::new(), 0);
    for (at, _) in urls.match_indices(',') {
        if urls[at + 1..].trim_start().starts_with("amqp") {
            parts.push(urls[begin..at].trim());
            begin = at + 1;
        }
    }
    parts.push(urls[begin..].trim().trim_end_matches(','));
    parts
}

impl Host {
    /// The error is not the parser's own, which may hold the whole URL.
    fn parse(url: &str) -> Result<Host, String> {
        if !url.starts_with("amqp://") && !url.starts_with("amqps://") {
            return Err("it does not begin with amqp:// or amqps://".into());
        }
        let mut uri: AMQPUri = url.parse().map_err(|why: String| match why.split_once(':') {
            Some((before, _)) => before.to_owned(),
            None => why,
        })?;
        // The parser takes these for absent.
        let authority = url.split(['/', '?']).nth(2).unwrap_or_default();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if let Some((address, _)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
            uri.authority.host = address.to_owned();
        }
        if uri.vhost.len() > LONGEST_NAME {
            return Err(format!("a vhost has at most {LONGEST_NAME} bytes"));
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        Ok(Host(uri))
    }

    pub(super) fn user(&self) -> &str {
        &self.0.authority.userinfo.username
    }

    pub(super) fn vhost(&self) -> &str {
        &self.0.vhost
    }

    pub(super) fn is_tls(&self) -> bool {
        self.0.scheme == AMQPScheme::AMQPS
    }

    pub(super) fn is_external(&self) -> bool {
        self.0.query.auth_mechanism == Some(SASLMechanism::External)
    }
}

/// Host and port.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (&self.0.authority.host, self.0.authority.port);
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

fn tls(settings: &Rabbitmq) -> Result<RustlsConnector, String> {
    let config = tls::client(&Files {
        ca: ("RABBITMQ_CA_FILE", settings.ca_file.as_deref()),
        certificate: ("RABBITMQ_CERT_FILE", settings.cert_file.as_deref()),
        key: ("RABBITMQ_KEY_FILE", settings.key_file.as_deref()),
    })?;
    Ok(config.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn hosts(change: impl FnOnce(&mut Rabbitmq)) -> Result<Vec<String>, String> {
        let mut settings = Config::default().rabbitmq;
        change(&mut settings);
        let hosts = Hosts::new(&settings).map_err(|error| error.to_string())?;
        let describe = |host: &Host| format!("{} {} {} {}", host.is_tls(), host.user(), host, host.vhost());
        Ok(hosts.all.iter().map(describe).collect())
    }

    fn url(url: &str) -> Result<Vec<String>, String> {
        hosts(|settings| settings.url = url.into())
    }

    #[test]
    fn urls() {
        assert_eq!(hosts(|_| {}).unwrap(), ["false guest localhost:5672 /"]);
        assert_eq!(
            url("amqp://a:b,c@one/v, amqps://d:%2F@[::1]:1/%2f?heartbeat=5,").unwrap(),
            ["false a one:5672 v", "true d [::1]:1 /"]
        );
        assert_eq!(url("amqp://127.0.0.1:9").unwrap(), ["false guest 127.0.0.1:9 /"]);
        let external = Host::parse("amqps://h?auth_mechanism=external").unwrap();
        assert!(external.is_external() && external.0.query.heartbeat == Some(HEARTBEAT));
        assert_eq!(Host::parse("amqp://h?heartbeat=0").unwrap().0.query.heartbeat, Some(0));
    }

    #[test]
    fn a_wrong_url_is_one_sentence_without_it() {
        for wrong in [
            "user:secret@host",
            "http://user:secret@host",
            "amqp://user:secret@host:x",
            "amqp:secret",
            "amqp://user:se/cret@host:5672",
            "amqp://user:secret@host?heartbeat=x",
            "amqp://user:secret@host?auth_mechanism=x",
            "amqp://h,amqp://user:secret@host:99999",
        ] {
            let said = url(wrong).unwrap_err();
            assert!(said.starts_with("AMQP_URL is not amqp://") && !said.contains("secret"), "{said}");
        }
        assert!(url("amqp://h, amqp://h:x").unwrap_err().contains("URL 2 of 2"));
        assert!(url(&format!("amqp://h/{}", "v".repeat(300))).unwrap_err().contains("vhost"));
        assert!(hosts(|settings| settings.queues = vec!["ä".repeat(200)]).unwrap_err().contains("RABBITMQ_QUEUES"));
    }
}
