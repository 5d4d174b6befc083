//! The SQL that derives rows from facts. Pure: text with a `?` for each list of keys.
//!
//! Facts and derived rows may stand there several times until they are merged, so each is read through `GROUP BY` its
//! key with `argMax(…, version)`. The tuple matters: `argMax` skips rows whose value is NULL, but a tuple never is.
//! Sums and versions are those of [`numbers`](crate::numbers), which tests hold this against.

use crate::store::DecisionGroup;
use clickhouse::query::Query;

/// How rows that stand there several times become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deduplicate {
    /// By `GROUP BY`: cheap where many keys have a few rows each.
    Grouped,
    /// By `FINAL`: about a third of the cost where a few keys have very many rows (0.18 s for a million, not 0.6).
    Final,
}

/// Writes what [`select_totals`] gives.
pub(super) fn totals(months: usize, deduplicate: Deduplicate) -> String {
    format!(
        "INSERT INTO step_totals (step_id, run_id, month, kept, eliminated, scored, max_input, max_output, version)
{}",
        select_totals(months, deduplicate)
    )
}

/// Totals of groups of decisions, for `months` months. For each month binds the month, then pairs of run and step.
///
/// One part per month: partition and key prefix then both narrow what is read.
pub(super) fn select_totals(months: usize, deduplicate: Deduplicate) -> String {
    let decisions = match deduplicate {
        Deduplicate::Grouped => {
            "argMax((outcome, input_count, output_count), version) AS decision, max(version) AS decision_version
        FROM decision_events"
        }
        Deduplicate::Final => {
            "(outcome, input_count, output_count) AS decision, version AS decision_version
        FROM decision_events FINAL"
        }
    };
    let group = match deduplicate {
        Deduplicate::Grouped => "GROUP BY run_id, step_id, event_id, toDate32(timestamp)",
        Deduplicate::Final => "",
    };
    let month = format!(
        "
        SELECT step_id, run_id, ? AS month, {decisions}
        WHERE toYYYYMM(timestamp) = month AND (run_id, step_id) IN ?
        {group}"
    );
    let months = vec![month; months].join("\n        UNION ALL");
    format!(
        "SELECT step_id, run_id, month,
       countIf(decision.1 = 'kept') AS kept, countIf(decision.1 = 'eliminated') AS eliminated,
       countIf(decision.1 = 'scored') AS scored, max(decision.2) AS max_input, max(decision.3) AS max_output,
       sum(decision_version) AS version
FROM ({months}
)
GROUP BY step_id, run_id, month"
    )
}

/// Binds what [`select_totals`] asks for: groups of one month each.
pub(super) fn bind_totals(query: Query, months: &[&[&DecisionGroup]]) -> Query {
    months.iter().fold(query, |query, month| {
        let pairs: Vec<_> = month.iter().map(|group| (&group.run_id, &group.step_id)).collect();
        query.bind(month.first().map_or(0, |group| group.month)).bind(pairs)
    })
}

/// The steps that were ever linked to these runs.
pub(super) const STEPS_OF_RUNS: &str = "SELECT DISTINCT step_id FROM run_steps WHERE run_id IN ?";

/// The runs that these steps were ever linked to.
const RUNS_OF_STEPS: &str = "SELECT run_id FROM step_totals WHERE step_id IN ?";

/// The same with the steps, and how many decisions the largest of their groups has.
pub(super) const LINKS_OF_STEPS: &str = "SELECT step_id, run_id, max(kept + eliminated + scored) AS decisions FROM step_totals WHERE step_id IN ? GROUP BY step_id, run_id";

/// Those of these runs that at least so many steps were ever linked to.
pub(super) fn runs_of_many_steps(steps: u64) -> String {
    format!("SELECT run_id FROM run_steps WHERE run_id IN ? GROUP BY run_id HAVING count() >= {steps}")
}

/// The newest report of each step. Binds steps.
const NEWEST_STEP_REPORTS: &str = "
    SELECT step_id,
           argMax((run_id, pipeline_id, step_type, step_name, started_at, completed_at, input_count, output_count), version) AS report,
           max(version) AS report_version
    FROM step_reports WHERE step_id IN ?
    GROUP BY step_id";

/// What the decisions of each step that name one run come to. Binds steps.
const TOTALS_BY_RUN: &str = "
        SELECT step_id, run_id,
               sum(totals.1) AS kept, sum(totals.2) AS eliminated, sum(totals.3) AS scored,
               max(totals.4) AS max_input, max(totals.5) AS max_output,
               max(month) > 0 AS has_decisions, sum(totals_version) AS version
        FROM
        (
            SELECT step_id, run_id, month,
                   argMax((kept, eliminated, scored, max_input, max_output), version) AS totals,
                   max(version) AS totals_version
            FROM step_totals WHERE step_id IN ?
            GROUP BY step_id, run_id, month
        )
        GROUP BY step_id, run_id";

/// What [`TOTALS_BY_RUN`] come to for each step: columns of a `GROUP BY step_id` over it.
const TOTALS_OF_STEP: &str = "step_id,
           sum(kept) AS kept, sum(eliminated) AS eliminated, sum(scored) AS scored,
           max(max_input) AS max_input, max(max_output) AS max_output,
           minIf(run_id, has_decisions) AS least_run_id, sum(version) AS decisions_version";

/// The run a step belongs to: its own, else the least of its decisions.
const RUN_OF_STEP: &str = "if(report.1 = '', least_run_id, report.1)";
const INPUT: &str = "coalesce(report.7, max_input, kept + eliminated + scored)";
const OUTPUT: &str = "coalesce(report.8, max_output, kept + scored)";

/// Writes what [`select_steps`] gives.
pub(super) fn steps() -> String {
    format!(
        "INSERT INTO steps (step_id, run_id, pipeline_id, step_type, step_name, input_count, output_count, elimination_ratio,
                   kept_count, eliminated_count, scored_count, started_at, completed_at, updated_at, version)
{}",
        select_steps()
    )
}

/// Rows of `steps`. Binds steps three times.
pub(super) fn select_steps() -> String {
    format!(
        "WITH {RUN_OF_STEP} AS own_run, {INPUT} AS input, {OUTPUT} AS output
SELECT step_id, own_run AS run_id,
       if(report.2 = '', arrayFirst(run -> run.1 = own_run, runs).2, report.2) AS pipeline_id,
       report.3 AS step_type, report.4 AS step_name, input AS input_count, output AS output_count,
       if(input = 0, 0, 1 - output / input) AS elimination_ratio,
       kept AS kept_count, eliminated AS eliminated_count, scored AS scored_count,
       report.5 AS started_at, report.6 AS completed_at, now64(3, 'UTC') AS updated_at,
       report_version + decisions_version + links_version AS version
FROM
({NEWEST_STEP_REPORTS}
) AS reports
LEFT JOIN
(
    SELECT {TOTALS_OF_STEP},
           groupArray((run_id, pipeline_id)) AS runs, sum(1 + run_version) AS links_version
    FROM
    ({TOTALS_BY_RUN}
    ) AS link
    LEFT JOIN
    (
        SELECT run_id, argMax(pipeline_id, version) AS pipeline_id, max(version) AS run_version
        FROM run_reports WHERE run_id IN ({RUNS_OF_STEPS})
        GROUP BY run_id
    ) AS run USING run_id
    GROUP BY step_id
) AS totals USING step_id"
    )
}

/// Writes what [`select_run_steps`] gives.
pub(super) fn run_steps() -> String {
    format!(
        "INSERT INTO run_steps (run_id, step_id, steps, input_count, output_count, version)\n{}",
        select_run_steps()
    )
}

/// Rows of `run_steps`: for each step and each run it was ever linked to. Binds steps twice.
pub(super) fn select_run_steps() -> String {
    format!(
        "WITH report_version > 0 AND run_id = {RUN_OF_STEP} AS belongs
SELECT run_id, step_id, belongs AS steps, if(belongs, {INPUT}, 0) AS input_count,
       if(belongs, {OUTPUT}, 0) AS output_count, 1 + decisions_version + report_version AS version
FROM
(
    SELECT {TOTALS_OF_STEP},
           groupArray(run_id) AS runs
    FROM
    ({TOTALS_BY_RUN}
    )
    GROUP BY step_id
) AS totals
LEFT JOIN
({NEWEST_STEP_REPORTS}
) AS reports USING step_id
ARRAY JOIN runs AS run_id"
    )
}

/// Writes what [`SELECT_RUNS`] gives.
pub(super) fn runs() -> String {
    format!(
        "INSERT INTO runs (run_id, pipeline_id, status, started_at, completed_at, error, total_steps, total_input_count,
                  total_output_count, overall_elimination_ratio, metadata, updated_at, version)
{SELECT_RUNS}"
    )
}

/// Rows of `runs`. Binds runs twice.
pub(super) const SELECT_RUNS: &str = "SELECT run_id, report.1 AS pipeline_id, report.2 AS status, report.3 AS started_at,
       report.4 AS completed_at, report.5 AS error, total_steps, input AS total_input_count, output AS total_output_count,
       if(input = 0, 0, 1 - output / input) AS overall_elimination_ratio, report.6 AS metadata,
       now64(3, 'UTC') AS updated_at, report_version + steps_version AS version
FROM
(
    SELECT run_id,
           argMax((pipeline_id, status, started_at, completed_at, error, metadata), version) AS report,
           max(version) AS report_version
    FROM run_reports WHERE run_id IN ?
    GROUP BY run_id
) AS reports
LEFT JOIN
(
    SELECT run_id, toUInt32(least(sum(part.1), 4294967295)) AS total_steps,
           toUInt64(least(sum(toUInt128(part.2)), 9223372036854775807)) AS input,
           toUInt64(least(sum(toUInt128(part.3)), 9223372036854775807)) AS output,
           sum(part_version) AS steps_version
    FROM
    (
        SELECT run_id, step_id, argMax((steps, input_count, output_count), version) AS part, max(version) AS part_version
        FROM run_steps WHERE run_id IN ?
        GROUP BY run_id, step_id
    )
    GROUP BY run_id
) AS added USING run_id";
