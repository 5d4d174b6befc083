//! A queue as its URL tells.

use std::collections::BTreeSet;
use std::sync::Arc;

/// How SQS ends the names of its queues that keep an order.
const FIFO: &str = ".fifo";
const LONGEST_NAME: usize = 80;

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) url: String,
    /// The last part of the URL.
    pub(super) name: Arc<str>,
    /// What people are told: the name, or the URL where that is not enough.
    pub(super) label: String,
    /// Scheme, host and port of the URL.
    pub(super) origin: String,
    /// Where the host is one of AWS's.
    pub(super) region: Option<String>,
}

impl Source {
    /// Of a URL; `Err` says what is wrong with it.
    pub(super) fn parse(url: &str) -> Result<Source, String> {
        let wrong = |why: &str| format!("SQS_QUEUE_URL names {url:?}, which {why}");
        let rest = ["https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme));
        let rest =
            rest.ok_or_else(|| wrong("is no URL of a queue, like https://sqs.eu-west-1.amazonaws.com/123456789012/q"))?;
        if rest.contains(['@', '?', '#']) || rest.contains(char::is_whitespace) {
            // It may hold a password.
            return Err("SQS_QUEUE_URL holds a URL with more than a host, a port and a path".into());
        }
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let name = path.rsplit('/').next().unwrap_or_default();
        let stem = name.strip_suffix(FIFO).unwrap_or(name);
        let is_name = stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if host.is_empty() || stem.is_empty() || !is_name || name.len() > LONGEST_NAME {
            return Err(wrong("does not end in the name of a queue: letters, digits, - and _, at most 80"));
        }
        let origin = url.strip_suffix(path).unwrap_or(url).trim_end_matches('/');
        Ok(Source {
            url: url.to_owned(),
            name: name.into(),
            label: name.to_owned(),
            origin: origin.to_owned(),
            region: region(host),
        })
    }

    /// Of several URLs, each once.
    pub(super) fn parse_all(urls: &[String]) -> Result<Vec<Source>, String> {
        let mut seen = BTreeSet::new();
        let urls = urls.iter().filter(|url| seen.insert(url.as_str()));
        let mut sources: Vec<Source> = urls.map(|url| Source::parse(url)).collect::<Result<_, _>>()?;
        let names: Vec<_> = sources.iter().map(|source| source.name.clone()).collect();
        for source in &mut sources {
            if names.iter().filter(|name| **name == source.name).count() > 1 {
                source.label = source.url.clone();
            }
        }
        Ok(sources)
    }

    /// Whether it keeps messages of a group in order.
    pub(super) fn is_fifo(&self) -> bool {
        self.name.ends_with(FIFO)
    }
}

/// The region that such a host is in: `sqs.eu-west-1.amazonaws.com`, `eu-west-1.queue.amazonaws.com`,
/// `vpce-1.sqs.eu-west-1.vpce.amazonaws.com`, `sqs.eu-west-1.api.aws`.
fn region(host: &str) -> Option<String> {
    let aws = ["amazonaws.com", "amazonaws.com.cn", "api.aws"];
    let labels = aws.iter().find_map(|suffix| host.strip_suffix(suffix)?.strip_suffix('.'))?;
    let labels: Vec<&str> = labels.split('.').collect();
    let at = |label: &str| labels.iter().position(|known| *known == label);
    let region = match (at("sqs").or_else(|| at("sqs-fips")), at("queue")) {
        (Some(sqs), _) => labels.get(sqs + 1),
        (None, Some(queue)) => queue.checked_sub(1).and_then(|before| labels.get(before)).or(Some(&"us-east-1")),
        (None, None) => None,
    };
    region.map(|region| (*region).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_urls() {
        let source = Source::parse("https://sqs.eu-west-1.amazonaws.com/123456789012/xray-steps").unwrap();
        assert_eq!((&*source.name, source.origin.as_str()), ("xray-steps", "https://sqs.eu-west-1.amazonaws.com"));
        assert_eq!((source.region.as_deref(), source.is_fifo()), (Some("eu-west-1"), false));
        let source = Source::parse("http://127.0.0.1:9324/000000000000/q_1.fifo").unwrap();
        assert_eq!((&*source.name, source.origin.as_str()), ("q_1.fifo", "http://127.0.0.1:9324"));
        assert_eq!((source.region.as_deref(), source.is_fifo()), (None, true));
        assert_eq!(Source::parse("http://localhost/q").unwrap().origin, "http://localhost");
    }

    #[test]
    fn each_has_a_label_of_its_own() {
        let urls = ["http://a/1/q", "http://b/1/q", "http://a/1/q", "http://a/1/r"].map(str::to_owned);
        let labels: Vec<_> = Source::parse_all(&urls).unwrap().into_iter().map(|source| source.label).collect();
        assert_eq!(labels, ["http://a/1/q", "http://b/1/q", "r"]);
    }

    #[test]
    fn no_urls() {
        for url in
            ["q", "sqs:q", "https://host", "https://host/", "https:///q", "https://host/1/.fifo", "http://h/1/a.b"]
        {
            let why = Source::parse(url).unwrap_err();
            assert!(why.contains(url), "{why}");
        }
        for url in ["https://user:secret@host/q", "https://host/q?key=secret"] {
            let why = Source::parse(url).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn regions() {
        for (host, expected) in [
            ("sqs.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("sqs-fips.us-gov-west-1.amazonaws.com", Some("us-gov-west-1")),
            ("sqs.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("sqs.eu-west-1.api.aws", Some("eu-west-1")),
            ("vpce-1-a.sqs.ap-south-1.vpce.amazonaws.com", Some("ap-south-1")),
            ("eu-west-2.queue.amazonaws.com", Some("eu-west-2")),
            ("queue.amazonaws.com", Some("us-east-1")),
            ("s3.amazonaws.com", None),
            ("sqs.us-east-1.localhost.localstack.cloud:4566", None),
            ("notamazonaws.com", None),
        ] {
            assert_eq!(region(host).as_deref(), expected, "{host}");
        }
    }
}
