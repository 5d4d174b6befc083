use super::*;
use crate::support::model::{DecisionRow, RunRow, StepRow, diff};

fn of(outcome: &str, event_id: &str, more: &str) -> String {
    decision(event_id, more).replace("kept", outcome)
}

fn step_row<'a>(bodies: impl IntoIterator<Item = &'a str>) -> StepRow {
    state(bodies).steps.remove("s1").unwrap()
}

fn counts(row: &StepRow) -> (i64, i64, f64) {
    (row.input_count, row.output_count, row.elimination_ratio)
}

#[test]
fn every_column_of_a_small_pipeline() {
    let run = r#"{"id":"r1","pipelineId":"p1","status":"failed","startedAt":"2026-01-31T10:00:00.001Z",
        "completedAt":1769853660000,"error":"boom","metadata":{"k": 1}}"#;
    let step = r#"{"id":"s1","type":"filter","name":"price","startedAt":"2026-01-31T10:00:01Z","completedAt":null}"#;
    let (kept, scored) = (of("kept", "e1", r#","score":1"#), of("scored", "e2", ""));
    let gone = [of("eliminated", "e3", ""), of("eliminated", "e4", "")];
    let state = state([run, step, &kept, &scored, &gone[0], &gone[1]]);
    assert_eq!(
        state.runs["r1"],
        RunRow {
            run_id: "r1".into(),
            pipeline_id: "p1".into(),
            status: "failed".into(),
            started_at: "2026-01-31T10:00:00.001Z".into(),
            completed_at: Some("2026-01-31T10:01:00.000Z".into()),
            error: Some("boom".into()),
            total_steps: 1,
            total_input_count: 4,
            total_output_count: 2,
            overall_elimination_ratio: 0.5,
            metadata: r#"{"k": 1}"#.into(),
        }
    );
    assert_eq!(
        state.steps["s1"],
        StepRow {
            step_id: "s1".into(),
            run_id: "r1".into(),
            pipeline_id: "p1".into(),
            step_type: "filter".into(),
            step_name: "price".into(),
            input_count: 4,
            output_count: 2,
            elimination_ratio: 0.5,
            kept_count: 1,
            eliminated_count: 2,
            scored_count: 1,
            started_at: "2026-01-31T10:00:01.000Z".into(),
            completed_at: None,
        }
    );
    let id = ["r1", "s1", "e1", "2026-01-31"].map(String::from).into();
    assert_eq!(
        state.decision_events[&id],
        DecisionRow {
            event_id: "e1".into(),
            step_id: "s1".into(),
            run_id: "r1".into(),
            pipeline_id: "".into(),
            outcome: "kept".into(),
            item_id: "i1".into(),
            score: Some(1.0),
            timestamp: "2026-01-31T10:00:00.000Z".into(),
            s3_key: DECISION_KEY.into(),
        }
    );
}

#[test]
fn counts_of_the_step_win_over_config_over_metadata_over_counting() {
    let e1 = of("kept", "e1", r#","metadata":{"inputCount":5,"outputCount":4}"#);
    let e2 = of("eliminated", "e2", r#","metadata":{"input_count":8.0,"outputCount":-1}"#);
    let with = |more: &str| counts(&step_row([step("s1", more).as_str(), &e1, &e2]));
    assert_eq!(with(r#","inputCount":20,"outputCount":5,"config":{"inputCount":30}"#), (20, 5, 0.75));
    assert_eq!(with(r#","config":{"input_count":16,"outputCount":4}"#), (16, 4, 0.75));
    assert_eq!(with(""), (8, 4, 0.5));
    assert_eq!(
        counts(&step_row([step("s1", "").as_str(), &of("kept", "e1", ""), &of("eliminated", "e2", "")])),
        (2, 1, 0.5)
    );
}

#[test]
fn an_explicit_zero_is_a_count_and_the_ratio_may_be_negative() {
    let e1 = of("kept", "e1", r#","metadata":{"inputCount":5,"outputCount":4}"#);
    let with = |more: &str| counts(&step_row([step("s1", more).as_str(), &e1]));
    assert_eq!(with(r#","inputCount":0"#), (0, 4, 0.0));
    assert_eq!(with(r#","outputCount":0"#), (5, 0, 1.0));
    assert_eq!(with(r#","inputCount":2"#), (2, 4, -1.0));
    assert_eq!(counts(&step_row([step("s1", "").as_str()])), (0, 0, 0.0));
}

#[test]
fn a_count_in_free_form_that_is_none_or_there_twice_is_ignored() {
    let with = |config: &str| step_row([step("s1", &format!(r#","config":{config}"#)).as_str()]).input_count;
    assert_eq!(with(r#"{"inputCount":null,"input_count":3}"#), 3);
    for ignored in
        ["{\"inputCount\":3,\"input_count\":3}", "{\"inputCount\":1.5}", "{\"inputCount\":\"3\"}", "3", "[3]"]
    {
        assert_eq!(with(ignored), 0);
    }
}

#[test]
fn a_step_without_run_learns_it_from_its_decisions_the_least_of_them() {
    let of_run = |event_id: &str, run: &str| decision(event_id, "").replace(r#""r1""#, &format!(r#""{run}""#));
    let (r10, r9) = (of_run("e1", "r10"), of_run("e2", "r9"));
    let runs = [run("r10", "").replace("p1", "p10"), run("r9", "").replace("p1", "p9")];
    let state = state([step("s1", "").as_str(), &r10, &r9, &runs[0], &runs[1]]);
    assert_eq!((state.steps["s1"].run_id.as_str(), state.steps["s1"].pipeline_id.as_str()), ("r10", "p10"));
    assert_eq!((state.runs["r10"].total_steps, state.runs["r10"].total_input_count), (1, 2));
    assert_eq!((state.runs["r9"].total_steps, state.runs["r9"].total_input_count), (0, 0));
}

#[test]
fn a_step_moves_with_its_newest_report_and_takes_the_decisions_of_other_runs_along() {
    let done = r#","runId":"r2","completedAt":"2026-01-31T11:00:00Z""#;
    let state = state([
        step("s1", r#","runId":"r1","inputCount":7"#).as_str(),
        &step("s1", done),
        &decision("e1", ""),
        &run("r1", ""),
        &run("r2", "").replace("p1", "p2"),
    ]);
    let row = &state.steps["s1"];
    assert_eq!((row.run_id.as_str(), row.pipeline_id.as_str(), counts(row)), ("r2", "p2", (1, 1, 0.0)));
    assert_eq!((state.runs["r1"].total_steps, state.runs["r2"].total_steps), (0, 1));
}

#[test]
fn a_run_sums_its_reported_steps_only() {
    let state = state([
        run("r1", "").as_str(),
        &step("a", r#","runId":"r1","inputCount":10,"outputCount":5"#),
        &step("b", r#","runId":"r1","inputCount":5,"outputCount":1,"pipelineId":"own""#),
        &step("c", r#","inputCount":100"#),
        &decision("e1", "").replace(r#""s1""#, r#""unreported""#),
    ]);
    let row = &state.runs["r1"];
    assert_eq!((row.total_steps, row.total_input_count, row.total_output_count), (2, 15, 6));
    assert_eq!(row.overall_elimination_ratio, 1.0 - 6.0 / 15.0);
    assert_eq!(state.steps["b"].pipeline_id, "own");
    assert_eq!((state.steps["c"].run_id.as_str(), state.steps["c"].pipeline_id.as_str()), ("", ""));
    assert_eq!((state.steps.len(), state.decision_events.len()), (3, 1));
}

#[test]
fn a_row_exists_from_its_first_report_on_and_not_before() {
    let state = state([decision("e1", "").as_str(), &step("s2", r#","runId":"r1""#)]);
    assert_eq!(state.steps.keys().collect::<Vec<_>>(), ["s2"]);
    assert!(state.runs.is_empty());
}

#[test]
fn diff_names_what_differs() {
    let one = state([step("s1", "").as_str(), &run("r1", ""), "x"]);
    let mut other = state([step("s1", "").as_str(), &decision("e1", ""), "x"]);
    other.runs = one.runs.clone();
    assert_eq!(diff(&one, &one), Vec::<String>::new());
    assert_eq!(
        diff(&one, &other),
        [
            format!("object {RUN_KEY:?}: missing"),
            format!("object {DECISION_KEY:?}: not expected"),
            r#"decision_events ("r1", "s1", "e1", "2026-01-31"): not expected"#.to_owned(),
            r#"steps "s1" run_id: expected "", found "r1""#.to_owned(),
            r#"steps "s1" input_count: expected 0, found 1"#.to_owned(),
            r#"steps "s1" output_count: expected 0, found 1"#.to_owned(),
            r#"steps "s1" kept_count: expected 0, found 1"#.to_owned(),
        ]
    );
    let many = (0..30).map(|n| step(&format!("s{n}"), "")).collect::<Vec<_>>();
    let lines = diff(&state(many.iter().map(String::as_str)), &State::default());
    assert_eq!((lines.len(), lines[20].as_str()), (21, "… and 40 more"));
}
