//! Names that are nearly right.

/// Names that other programs have for what is ours under another one, further off than by its letters.
const ALIASES: &[(&str, &str)] = &[
    ("MINIO_ROOT_USER", "MINIO_ACCESS_KEY"),
    ("MINIO_ROOT_PASSWORD", "MINIO_SECRET_KEY"),
    ("RABBITMQ_URL", "AMQP_URL"),
    ("RABBITMQ_URI", "AMQP_URL"),
];

/// The candidate that goes by this name elsewhere, else the one most like it. One wins whose path ends alike: the key is right,
/// its table is not, or it is the end of a longer key.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if let Some((_, ours)) = ALIASES.iter().find(|(theirs, _)| *theirs == name) {
        return Some(ours);
    }
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let ends = format!("_{}", last(name));
    let alike = |candidate: &str| last(candidate) == last(name) || last(candidate).ends_with(&ends);
    let rank = |candidate: &str| (alike(candidate), strsim::jaro_winkler(name, candidate));
    candidates.into_iter().max_by(|a, b| {
        let (a, b) = (rank(a), rank(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings;

    #[test]
    fn of_variables_and_keys() {
        for (name, expected) in [
            ("CLICKHOUSE_DB", "CLICKHOUSE_DATABASE"),
            ("CLICKHOUSE_USERNAME", "CLICKHOUSE_USER"),
            ("CLICKHOUSE_PASWORD", "CLICKHOUSE_PASSWORD"),
            ("MINIO_BUKET", "MINIO_BUCKET"),
            ("MINIO_ROOT_USER", "MINIO_ACCESS_KEY"),
            ("RABBITMQ_URL", "AMQP_URL"),
            ("AWS_S3_BUCKET_NAME", "AWS_S3_BUCKET"),
            ("XRAY_DATADIR", "XRAY_DATA_DIR"),
        ] {
            assert_eq!(nearest(name, settings::all().map(|setting| setting.env)), Some(expected));
        }
        for (name, expected) in [
            ("clickhouse.db", "clickhouse.database"),
            ("limits.batch_size", "queue.batch_size"),
            ("host", "clickhouse.host"),
            ("http.ingesttoken", "http.ingest_token"),
            ("s3.bucket", "s3.aws.bucket"),
        ] {
            assert_eq!(nearest(name, settings::all().map(|setting| setting.path)), Some(expected));
        }
    }
}
