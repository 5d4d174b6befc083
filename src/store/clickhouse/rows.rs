//! Events as rows of the fact tables. Pure.

use crate::dead_letter::DeadLetter;
use crate::event::{Decision, Kind, RunReport, StepReport};
use crate::numbers::{ReportOrder, Version};
use crate::object::Record;
use clickhouse::Row;
use clickhouse::types::UInt256;
use serde::Serialize;

/// As ClickHouse has it: least significant byte first.
fn number(version: Version) -> UInt256 {
    let mut bytes = version.to_be_bytes();
    bytes.reverse();
    UInt256::from_le_bytes(bytes)
}

/// The same back.
pub(super) fn version(number: UInt256) -> Version {
    let mut bytes = number.to_le_bytes();
    bytes.reverse();
    Version::from_be_bytes(bytes)
}

#[derive(Debug, Row, Serialize)]
pub(super) struct DecisionRow<'a> {
    event_id: &'a str,
    step_id: &'a str,
    run_id: &'a str,
    pipeline_id: &'a str,
    outcome: &'a str,
    item_id: &'a str,
    score: Option<f64>,
    pub(super) timestamp: i64,
    input_count: Option<u64>,
    output_count: Option<u64>,
    s3_key: &'a str,
    updated_at: i64,
    version: UInt256,
}

impl<'a> DecisionRow<'a> {
    pub(super) fn new(record: &'a Record, decision: &'a Decision, now: i64) -> Self {
        DecisionRow {
            event_id: &decision.event_id,
            step_id: &decision.step_id,
            run_id: &decision.run_id,
            pipeline_id: &decision.pipeline_id,
            outcome: decision.outcome.as_str(),
            item_id: &decision.item_id,
            score: decision.score,
            timestamp: decision.timestamp.millis(),
            input_count: decision.input_count,
            output_count: decision.output_count,
            s3_key: &record.key,
            updated_at: now,
            version: number(Version::of_decision(record.event.sha256)),
        }
    }
}

#[derive(Debug, Row, Serialize)]
pub(super) struct StepReportRow<'a> {
    step_id: &'a str,
    run_id: &'a str,
    pipeline_id: &'a str,
    step_type: &'a str,
    step_name: &'a str,
    started_at: i64,
    completed_at: Option<i64>,
    input_count: Option<u64>,
    output_count: Option<u64>,
    s3_key: &'a str,
    updated_at: i64,
    version: UInt256,
}

impl<'a> StepReportRow<'a> {
    pub(super) fn new(record: &'a Record, report: &'a StepReport, now: i64) -> Self {
        StepReportRow {
            step_id: &report.step_id,
            run_id: &report.run_id,
            pipeline_id: &report.pipeline_id,
            step_type: &report.step_type,
            step_name: &report.step_name,
            started_at: report.started_at.millis(),
            completed_at: report.completed_at.map(|at| at.millis()),
            input_count: report.input_count,
            output_count: report.output_count,
            s3_key: &record.key,
            updated_at: now,
            version: number(ReportOrder::of_step(report, record.event.sha256).counter()),
        }
    }
}

/// That a report of a step named a run.
#[derive(Debug, Row, Serialize)]
pub(super) struct LinkRow<'a> {
    step_id: &'a str,
    run_id: &'a str,
    month: u32,
    kept: u64,
    eliminated: u64,
    scored: u64,
    max_input: Option<u64>,
    max_output: Option<u64>,
    version: UInt256,
}

impl<'a> LinkRow<'a> {
    /// `None` for a report that names none.
    pub(super) fn new(report: &'a StepReport) -> Option<Self> {
        let link = LinkRow {
            step_id: &report.step_id,
            run_id: &report.run_id,
            month: 0,
            kept: 0,
            eliminated: 0,
            scored: 0,
            max_input: None,
            max_output: None,
            version: UInt256::ZERO,
        };
        (!report.run_id.is_empty()).then_some(link)
    }
}

#[derive(Debug, Row, Serialize)]
pub(super) struct RunReportRow<'a> {
    run_id: &'a str,
    pipeline_id: &'a str,
    status: &'a str,
    started_at: i64,
    completed_at: Option<i64>,
    error: Option<&'a str>,
    metadata: &'a str,
    s3_key: &'a str,
    updated_at: i64,
    version: UInt256,
}

impl<'a> RunReportRow<'a> {
    pub(super) fn new(record: &'a Record, report: &'a RunReport, now: i64) -> Self {
        RunReportRow {
            run_id: &report.run_id,
            pipeline_id: &report.pipeline_id,
            status: report.status.as_str(),
            started_at: report.started_at.millis(),
            completed_at: report.completed_at.map(|at| at.millis()),
            error: report.error.as_deref(),
            metadata: &report.metadata,
            s3_key: &record.key,
            updated_at: now,
            version: number(ReportOrder::of_run(report, record.event.sha256).counter()),
        }
    }
}

#[derive(Debug, Row, Serialize)]
pub(super) struct DeadLetterRow<'a> {
    sha256: String,
    code: &'a str,
    reason: &'a str,
    source: &'a str,
    kind: &'a str,
    s3_key: String,
    bytes: u64,
    first_seen: i64,
    redriven_at: Option<i64>,
    version: UInt256,
}

impl<'a> DeadLetterRow<'a> {
    pub(super) fn new(letter: &'a DeadLetter) -> Self {
        DeadLetterRow {
            sha256: letter.sha256.to_string(),
            code: letter.code().as_str(),
            reason: &letter.rejection.reason,
            source: &letter.source,
            kind: letter.kind.map_or("", Kind::as_str),
            s3_key: letter.key(),
            bytes: letter.full_bytes,
            first_seen: letter.first_seen.timestamp_millis(),
            redriven_at: None,
            version: UInt256::ZERO,
        }
    }
}
