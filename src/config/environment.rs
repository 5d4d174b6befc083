//! The environment: our variables, the files they name, and strangers that look like ours.

use super::draft::Given;
use super::layer::Layer;
use super::names::nearest;
use super::problems::Problems;
use super::settings::{self, Setting};
use super::sources::CONFIG_ENV;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

/// Unknown variables that start like this are worth a warning. The settings of a broker bring their own prefixes; others
/// (`LOG_`, `HTTP_`, the rest of `AWS_`) belong to everybody.
pub(super) const OUR_PREFIXES: &[&str] =
    &["CLICKHOUSE_", "MINIO_", "AWS_S3_", "KAFKA_", "RABBITMQ_", "AMQP_", "NATS_", "SQS_", "XRAY_"];

/// Variables by name. Of a name that is there twice the last counts.
pub(super) struct Environment<'a>(BTreeMap<&'a str, &'a OsStr>);

impl<'a> Environment<'a> {
    /// Of these pairs; names that are not UTF-8 are none of ours.
    pub(super) fn new(pairs: &'a [(OsString, OsString)]) -> Self {
        Environment(pairs.iter().filter_map(|(name, value)| Some((name.to_str()?, value.as_os_str()))).collect())
    }

    /// A variable that is set and not empty, as it came.
    pub(super) fn not_empty(&self, name: &str) -> Option<&'a OsStr> {
        self.0.get(name).copied().filter(|value| !value.is_empty())
    }

    /// Our variables, and the secrets from files that `…_FILE` variables name. All of them go into
    /// `given`, those that cannot be had too, so that nothing is said to be missing that was only wrong.
    pub(super) fn layers(&self, given: &mut Given, problems: &mut Problems) -> [Layer; 2] {
        let mut files = Layer::new("file named by");
        let mut variables = Layer::new("environment");
        for setting in settings::all() {
            let file = setting.file_env().and_then(|name| self.not_empty(&name).map(|path| (name, path)));
            let empty_counts = setting.may_be_empty() && file.is_none();
            let value = self.0.get(setting.env).filter(|value| empty_counts || !value.is_empty());
            let name = match (value, file) {
                (None, None) => continue,
                (Some(value), None) => {
                    match value.to_str() {
                        Some(text) => variables.add(setting.path, text, setting.env),
                        None => problems.add(setting.env, "is not valid UTF-8"),
                    }
                    setting.env.to_owned()
                }
                (None, Some((name, path))) => {
                    match secret(Path::new(path)) {
                        Ok(text) => files.add(setting.path, &text, &name),
                        Err(why) => problems.add(&name, format_args!("cannot read {}: {why}", path.display())),
                    }
                    name
                }
                (Some(_), Some((name, _))) => {
                    problems.add(&format!("{} and {name}", setting.env), "set one of them, not both");
                    name
                }
            };
            given.insert(setting.path, name);
        }
        [files, variables]
    }

    /// A sentence for each variable that looks like ours and is not. Never an error: what Kubernetes and shared files put
    /// into the environment must not stop a worker.
    pub(super) fn warnings(&self) -> Vec<String> {
        let strangers = self.0.iter().filter(|(name, value)| {
            OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                && !is_known(name)
                && !is_service_link(name, value)
        });
        strangers
            .map(|(name, _)| {
                let hint = nearest(name, settings::all().map(|setting| setting.env)).unwrap_or_default();
                format!("{name} is no setting of this worker and does nothing, the nearest is {hint}")
            })
            .collect()
    }
}

/// The text of a file, without the newline that editors and `echo` put at its end.
fn secret(path: &Path) -> Result<String, String> {
    let mut text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

fn is_known(name: &str) -> bool {
    let is_name_of = |setting: &Setting| setting.env == name || setting.file_env().as_deref() == Some(name);
    name == CONFIG_ENV || settings::all().any(is_name_of)
}

/// Whether Kubernetes puts a variable like this into every pod next to a Service: `X_SERVICE_HOST`,
/// `X_SERVICE_PORT[_NAME]`, `X_PORT=tcp://…`, `X_PORT_80_TCP[_ADDR|_PORT|_PROTO]`.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    if name.ends_with("_PORT") && value.to_str().is_some_and(|value| value.contains("://")) {
        return true;
    }
    name.split_once("_PORT_").is_some_and(|(_, rest)| {
        let mut words = rest.splitn(3, '_');
        let mut next = || words.next().unwrap_or_default();
        let (port, protocol, part) = (next(), next(), next());
        port.parse::<u16>().is_ok()
            && matches!(protocol, "TCP" | "UDP" | "SCTP")
            && matches!(part, "" | "ADDR" | "PORT" | "PROTO")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_links() {
        for name in [
            "MINIO_SERVICE_HOST",
            "CLICKHOUSE_SERVICE_PORT",
            "CLICKHOUSE_SERVICE_PORT_HTTP",
            "CLICKHOUSE_PORT_8123_TCP",
            "CLICKHOUSE_PORT_8123_TCP_ADDR",
            "MINIO_HL_PORT_9000_TCP_PROTO",
            "CLICKHOUSE_HTTP_PORT",
        ] {
            assert!(is_service_link(name, OsStr::new("tcp://10.0.0.1:8123")), "{name}");
        }
        for name in ["CLICKHOUSE_HTTP_PORT", "CLICKHOUSE_PORT_HTTP", "CLICKHOUSE_PORT_8123", "MINIO_ROOT_USER"] {
            assert!(!is_service_link(name, OsStr::new("8123")), "{name}");
        }
    }
}
