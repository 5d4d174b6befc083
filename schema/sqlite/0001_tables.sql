-- Times are ISO 8601 text in UTC with milliseconds; a version is a number of 64 hex digits, so text order is number order.

-- Facts: what the events said.

-- A decision is known by its step, run, event id and UTC day together. In this order all decisions of a step lie
-- side by side.
CREATE TABLE decision_events (
    event_id     TEXT NOT NULL,
    step_id      TEXT NOT NULL,
    run_id       TEXT NOT NULL,
    pipeline_id  TEXT NOT NULL,
    outcome      TEXT NOT NULL,
    item_id      TEXT NOT NULL,
    score        REAL,
    timestamp    TEXT NOT NULL,
    day          TEXT NOT NULL,
    input_count  INTEGER,
    output_count INTEGER,
    s3_key       TEXT NOT NULL,
    sha256       TEXT NOT NULL,
    updated_at   TEXT NOT NULL,
    version      TEXT NOT NULL,
    PRIMARY KEY (step_id, run_id, event_id, day)
) WITHOUT ROWID;

-- The newest report of each step.
CREATE TABLE step_reports (
    step_id      TEXT NOT NULL PRIMARY KEY,
    run_id       TEXT NOT NULL,
    pipeline_id  TEXT NOT NULL,
    step_type    TEXT NOT NULL,
    step_name    TEXT NOT NULL,
    started_at   TEXT NOT NULL,
    completed_at TEXT,
    input_count  INTEGER,
    output_count INTEGER,
    rank         INTEGER NOT NULL,
    s3_key       TEXT NOT NULL,
    sha256       TEXT NOT NULL,
    updated_at   TEXT NOT NULL
);

-- The newest report of each run.
CREATE TABLE run_reports (
    run_id       TEXT NOT NULL PRIMARY KEY,
    pipeline_id  TEXT NOT NULL,
    status       TEXT NOT NULL,
    started_at   TEXT NOT NULL,
    completed_at TEXT,
    error        TEXT,
    metadata     TEXT NOT NULL,
    rank         INTEGER NOT NULL,
    s3_key       TEXT NOT NULL,
    sha256       TEXT NOT NULL,
    updated_at   TEXT NOT NULL
);

-- Every run a step was ever linked to, by a report or a decision. Never removed.
CREATE TABLE step_links (
    step_id TEXT NOT NULL,
    run_id  TEXT NOT NULL,
    PRIMARY KEY (step_id, run_id)
) WITHOUT ROWID;
CREATE INDEX step_links_by_run ON step_links (run_id, step_id);

-- What the decisions of each step come to, kept in the transactions that add them, so that a step with many
-- decisions need not be read whole whenever one more arrives.
CREATE TABLE step_totals (
    step_id      TEXT NOT NULL PRIMARY KEY,
    kept         INTEGER NOT NULL,
    eliminated   INTEGER NOT NULL,
    scored       INTEGER NOT NULL,
    max_input    INTEGER,
    max_output   INTEGER,
    least_run_id TEXT NOT NULL,
    version      TEXT NOT NULL
) WITHOUT ROWID;

-- Derived rows.

CREATE TABLE steps (
    step_id           TEXT NOT NULL PRIMARY KEY,
    run_id            TEXT NOT NULL,
    pipeline_id       TEXT NOT NULL,
    step_type         TEXT NOT NULL,
    step_name         TEXT NOT NULL,
    input_count       INTEGER NOT NULL,
    output_count      INTEGER NOT NULL,
    elimination_ratio REAL NOT NULL,
    kept_count        INTEGER NOT NULL,
    eliminated_count  INTEGER NOT NULL,
    scored_count      INTEGER NOT NULL,
    started_at        TEXT NOT NULL,
    completed_at      TEXT,
    updated_at        TEXT NOT NULL,
    version           TEXT NOT NULL
);
CREATE INDEX steps_by_run ON steps (run_id, started_at);

CREATE TABLE runs (
    run_id                    TEXT NOT NULL PRIMARY KEY,
    pipeline_id               TEXT NOT NULL,
    status                    TEXT NOT NULL,
    started_at                TEXT NOT NULL,
    completed_at              TEXT,
    error                     TEXT,
    total_steps               INTEGER NOT NULL,
    total_input_count         INTEGER NOT NULL,
    total_output_count        INTEGER NOT NULL,
    overall_elimination_ratio REAL NOT NULL,
    metadata                  TEXT NOT NULL,
    updated_at                TEXT NOT NULL,
    version                   TEXT NOT NULL
);
CREATE INDEX runs_by_start ON runs (started_at);

CREATE TABLE dead_letters (
    sha256      TEXT NOT NULL PRIMARY KEY,
    code        TEXT NOT NULL,
    reason      TEXT NOT NULL,
    source      TEXT NOT NULL,
    kind        TEXT NOT NULL,
    s3_key      TEXT NOT NULL,
    bytes       INTEGER NOT NULL,
    first_seen  TEXT NOT NULL,
    redriven_at TEXT,
    version     TEXT NOT NULL
);

-- One row that each durable transaction changes: a commit that changes no page does not sync the log, and what other
-- transactions left in it.
CREATE TABLE barrier (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    commits INTEGER NOT NULL
);
INSERT INTO barrier VALUES (1, 0);
