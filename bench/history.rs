//! Tables in which much is stored already, and what comes next.

use bytes::Bytes;

use crate::support::clickhouse::Database;

pub const MONTHS: u64 = 24;
pub const DECISIONS_OF_RUN: u64 = 100;

/// Ids as the server makes them too.
fn id(parts: &str) -> String {
    let digest = xray_processor_worker::digest::Sha256::of(parts.as_bytes());
    hex::encode(&digest.0[..16])
}

pub fn hashed(parts: &str) -> String {
    format!("lower(hex(substring(SHA256(concat({parts})), 1, 16)))")
}

/// A month of history, facts and what is derived from them, of finished runs.
pub fn fill(database: &Database, month: u64, rows: u64) {
    let run = hashed(&format!("'r{month}-', toString(intDiv(number, {DECISIONS_OF_RUN}))"));
    let step = hashed(&format!("'s{month}-', toString(intDiv(number, {DECISIONS_OF_RUN})), '-', toString(number % 7)"));
    let event = hashed(&format!("'e{month}-', toString(number)"));
    let start = format!("toDateTime64('2024-01-01 00:00:00', 3, 'UTC') + toIntervalMonth({month})");
    let seconds = 28 * 86_400 / (rows / DECISIONS_OF_RUN).max(1);
    database.query(&format!(
        "INSERT INTO {{db}}.decision_events SELECT {event}, {step}, {run}, 'p', ['kept', 'eliminated', 'scored'][number % 3 + 1],
                concat('item-', toString(number % 1000)), NULL, {start} + toIntervalSecond(intDiv(number, {DECISIONS_OF_RUN}) * {seconds}),
                NULL, NULL, concat('decisions/2024/01/01/', {event}, '.json'), now64(3), toUInt256(cityHash64(number)) + 1
         FROM numbers({rows})"
    ));
    let of_month = format!("toYYYYMM(toDate('2024-01-01') + toIntervalMonth({month}))");
    database.query(&format!(
        "INSERT INTO {{db}}.step_totals SELECT step_id, run_id, toYYYYMM(timestamp) AS month, countIf(outcome = 'kept'),
                countIf(outcome = 'eliminated'), countIf(outcome = 'scored'), max(input_count), max(output_count), sum(version)
         FROM {{db}}.decision_events WHERE toYYYYMM(timestamp) = {of_month} GROUP BY step_id, run_id, month"
    ));
    let totals = format!("FROM {{db}}.step_totals WHERE month = {of_month}");
    database.query(&format!(
        "INSERT INTO {{db}}.step_reports SELECT step_id, '', '', 'rank', 'a step', {start}, NULL, NULL, NULL, 'k', now64(3), 7 {totals}"
    ));
    database.query(&format!(
        "INSERT INTO {{db}}.run_reports SELECT DISTINCT run_id, 'p', 'running', {start}, NULL, NULL, '{{}}', 'k', now64(3), 7 {totals}"
    ));
    database.query(&format!(
        "INSERT INTO {{db}}.run_steps SELECT run_id, step_id, 1, kept + eliminated + scored, kept + scored, version + 8 {totals}"
    ));
}

/// 1,000 new decisions of 100 runs that began in the last `months` months.
pub fn batch(round: u64, runs_of_month: u64, months: u64) -> Vec<Bytes> {
    let draw = |n: u64, of: u64| u64::from_str_radix(&id(&format!("{round}-{months}-{n}"))[..15], 16).unwrap() % of;
    let decision = |n: u64| {
        let (run, item) = (n / 10, n % 10);
        let month = MONTHS - 1 - draw(run, months);
        let run = draw(run + 1000, runs_of_month);
        let step = draw(n + 2000, 7);
        let at = chrono::NaiveDate::from_ymd_opt(2024 + (month / 12) as i32, (month % 12) as u32 + 1, 28).unwrap();
        Bytes::from(format!(
            r#"{{"id":"{}","stepId":"{}","runId":"{}","outcome":"kept","itemId":"item-{item}","timestamp":"{at}T12:00:00Z"}}"#,
            id(&format!("new-{round}-{months}-{n}")),
            id(&format!("s{month}-{run}-{step}")),
            id(&format!("r{month}-{run}")),
        ))
    };
    (0..1000).map(decision).collect()
}
