-- Written as ClickHouse itself spells types and keys, one column a line: the worker reads this file to tell its own
-- tables from others of the same name.
--
-- Of rows with the same key the one with the greatest version stays. Merges collapse rows within a partition only, so
-- each partition is a function of the key, or there is none. A version never comes from a clock; its bits from 248 up
-- are free for an epoch that a repair can raise.

-- Facts: what the events said.

-- A decision is known by its run, step, event id and UTC day together. Version: 1 + the upper 160 bits of the SHA-256
-- of its bytes, so that of two conflicting decisions the greater SHA-256 is the row.
CREATE TABLE IF NOT EXISTS decision_events
(
    event_id String,
    step_id String,
    run_id String,
    pipeline_id String,
    outcome LowCardinality(String),
    item_id String,
    score Nullable(Float64),
    timestamp DateTime64(3, 'UTC'),
    input_count Nullable(UInt64),
    output_count Nullable(UInt64),
    s3_key String,
    updated_at DateTime64(3, 'UTC'),
    version UInt256,
    INDEX by_step step_id TYPE bloom_filter GRANULARITY 1,
    INDEX by_event event_id TYPE bloom_filter GRANULARITY 1,
    INDEX by_item item_id TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(timestamp)
ORDER BY (run_id, step_id, event_id, toDate32(timestamp))
SETTINGS index_granularity = 1024;

-- The newest report of each step. Version: the order between reports, so that the newest is the row.
CREATE TABLE IF NOT EXISTS step_reports
(
    step_id String,
    run_id String,
    pipeline_id String,
    step_type String,
    step_name String,
    started_at DateTime64(3, 'UTC'),
    completed_at Nullable(DateTime64(3, 'UTC')),
    input_count Nullable(UInt64),
    output_count Nullable(UInt64),
    s3_key String,
    updated_at DateTime64(3, 'UTC'),
    version UInt256
)
ENGINE = ReplacingMergeTree(version)
ORDER BY step_id
SETTINGS index_granularity = 256;

-- The newest report of each run.
CREATE TABLE IF NOT EXISTS run_reports
(
    run_id String,
    pipeline_id String,
    status LowCardinality(String),
    started_at DateTime64(3, 'UTC'),
    completed_at Nullable(DateTime64(3, 'UTC')),
    error Nullable(String),
    metadata String,
    s3_key String,
    updated_at DateTime64(3, 'UTC'),
    version UInt256
)
ENGINE = ReplacingMergeTree(version)
ORDER BY run_id
SETTINGS index_granularity = 256;

-- Derived in three layers, each from the one before: totals, then steps with what they add to runs, then runs.

-- What the decisions of a step that name one run and lie in one month come to; with month 0 and nothing counted, that
-- a report of the step named the run. Either way the row links the step to the run, for ever. Partition and key prefix
-- of decision_events say where to look, so that a total costs what its group has, whatever else is stored.
CREATE TABLE IF NOT EXISTS step_totals
(
    step_id String,
    run_id String,
    month UInt32,
    kept UInt64,
    eliminated UInt64,
    scored UInt64,
    max_input Nullable(UInt64),
    max_output Nullable(UInt64),
    version UInt256
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (step_id, run_id, month)
SETTINGS index_granularity = 256;

-- What each step adds to each run it was ever linked to; nothing where it belongs to another by now.
CREATE TABLE IF NOT EXISTS run_steps
(
    run_id String,
    step_id String,
    steps UInt8,
    input_count UInt64,
    output_count UInt64,
    version UInt256
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (run_id, step_id)
SETTINGS index_granularity = 256;

CREATE TABLE IF NOT EXISTS steps
(
    step_id String,
    run_id String,
    pipeline_id String,
    step_type LowCardinality(String),
    step_name String,
    input_count UInt64,
    output_count UInt64,
    elimination_ratio Float64,
    kept_count UInt64,
    eliminated_count UInt64,
    scored_count UInt64,
    started_at DateTime64(3, 'UTC'),
    completed_at Nullable(DateTime64(3, 'UTC')),
    updated_at DateTime64(3, 'UTC'),
    version UInt256,
    INDEX by_run run_id TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(started_at)
ORDER BY step_id
SETTINGS index_granularity = 1024;

CREATE TABLE IF NOT EXISTS runs
(
    run_id String,
    pipeline_id String,
    status LowCardinality(String),
    started_at DateTime64(3, 'UTC'),
    completed_at Nullable(DateTime64(3, 'UTC')),
    error Nullable(String),
    total_steps UInt32,
    total_input_count UInt64,
    total_output_count UInt64,
    overall_elimination_ratio Float64,
    metadata String,
    updated_at DateTime64(3, 'UTC'),
    version UInt256
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(started_at)
ORDER BY run_id
SETTINGS index_granularity = 1024;

-- What was no event, lost a conflict or was refused, by the SHA-256 of its bytes.
CREATE TABLE IF NOT EXISTS dead_letters
(
    sha256 String,
    code LowCardinality(String),
    reason String,
    source String,
    kind LowCardinality(String),
    s3_key String,
    bytes UInt64,
    first_seen DateTime64(3, 'UTC'),
    redriven_at Nullable(DateTime64(3, 'UTC')),
    version UInt256
)
ENGINE = ReplacingMergeTree(version)
ORDER BY sha256;
