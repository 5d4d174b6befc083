//! Several events for one key or row. Which of two bodies has the greater SHA-256 was found with `sha256sum`.

use super::*;

/// The SHA-256 of those of items 1, 2, 3 and 4 start with e6, bb, dd and 98.
fn decision_of(run: &str, item: &str, time: &str) -> String {
    format!(r#"{{"id":"e1","stepId":"s1","runId":"{run}","outcome":"kept","itemId":"{item}","timestamp":"{time}"}}"#)
}

const LATE: &str = "2026-01-31T23:59:59.123Z";

#[test]
fn repeats_and_order_change_nothing() {
    let bodies = [decision("e1", ""), step("s1", ""), run("r1", ""), "[".to_owned(), decision_of("r1", "i2", LATE)];
    let there_and_back = bodies.iter().chain(bodies.iter().rev()).map(String::as_str);
    assert_eq!(state(there_and_back), state(bodies.iter().map(String::as_str)));
}

#[test]
fn the_greatest_sha256_wins_a_conflict_and_the_others_are_dead_letters() {
    let [i1, i2, i3, i4] = ["i1", "i2", "i3", "i4"].map(|item| decision_of("r1", item, LATE));
    let state = state([i4.as_str(), &i1, &i3, &i2, &i4]);
    assert_eq!(objects(&state), [(DECISION_KEY, i1.as_str())]);
    assert_eq!(dead_letters(&state), [("conflict", i2.as_str()), ("conflict", &i3), ("conflict", &i4)]);
    let items: Vec<_> = state.decision_events.values().map(|row| row.item_id.as_str()).collect();
    assert_eq!(items, ["i1"]);
}

#[test]
fn the_loser_of_a_conflict_is_filed_without_its_envelope() {
    let (loser, winner) = (decision_of("r1", "i4", LATE), decision_of("r1", "i1", LATE));
    let body = format!(r#"{{"type":"decisions","data":[ {loser} , {winner} ]}}"#);
    assert_eq!(dead_letters(&state([body.as_str()])), [("conflict", loser.as_str())]);
}

#[test]
fn decisions_of_two_runs_share_an_object_but_keep_both_rows() {
    // e6… and a4…
    let (r1, r2) = (decision_of("r1", "i1", LATE), decision_of("r2", "i1", LATE));
    let state = state([r1.as_str(), &r2, &step("s1", "")]);
    assert_eq!(objects(&state)[0], (DECISION_KEY, r1.as_str()));
    assert_eq!(dead_letters(&state), [("conflict", r2.as_str())]);
    let rows: Vec<_> = state.decision_events.values().map(|row| (row.run_id.as_str(), row.s3_key.as_str())).collect();
    assert_eq!(rows, [("r1", DECISION_KEY), ("r2", DECISION_KEY)]);
    assert_eq!((state.steps["s1"].run_id.as_str(), state.steps["s1"].kept_count), ("r1", 2));
}

#[test]
fn decisions_of_two_days_are_no_conflict() {
    let (before, after) = (decision_of("r1", "i1", LATE), decision_of("r1", "i1", "2026-01-31T23:59:59.123-00:01"));
    let state = state([after.as_str(), &before]);
    assert_eq!(objects(&state), [(DECISION_KEY, before.as_str()), ("decisions/2026/02/01/e1.json", after.as_str())]);
    assert_eq!((dead_letters(&state), state.decision_events.len()), (vec![], 2));
}

#[test]
fn a_report_with_the_higher_rank_is_newer_even_if_it_ended_earlier() {
    let of =
        |status: &str, completed: &str| run("r1", &format!(r#","completedAt":{completed}"#)).replace("running", status);
    let (pending, running) = (of("pending", "1769900000000"), of("running", "1769890000000"));
    let (failed, completed) = (of("failed", "null"), of("completed", "1769880000000"));
    let newest = |bodies: &[&String]| {
        let state = state(bodies.iter().map(|body| body.as_str()));
        assert_eq!((state.objects.len(), state.dead_letters.len()), (1, 0));
        assert_eq!(state.runs.len(), 1);
        (objects(&state)[0].1.to_owned(), state.runs["r1"].status.clone())
    };
    assert_eq!(newest(&[&running, &pending]), (running.clone(), "running".to_owned()));
    assert_eq!(newest(&[&failed, &running]), (failed.clone(), "failed".to_owned()));
    assert_eq!(newest(&[&completed, &failed, &running]), (completed.clone(), "completed".to_owned()));
}

#[test]
fn equal_reports_are_ordered_by_their_sha256() {
    let report = |name: &str| {
        let times = r#""startedAt":"2026-01-31T10:00:00Z","completedAt":"2026-01-31T10:00:05Z""#;
        format!(r#"{{"id":"s1","type":"rank","name":"{name}",{times},"runId":"r1"}}"#)
    };
    // 6b…, c4… and 1a…
    let (a, b, c) = (report("a"), report("b"), report("c"));
    let state = state([a.as_str(), &b, &c, &step("s1", r#","name":null"#)]);
    assert_eq!(objects(&state), [(STEP_KEY, b.as_str())]);
    assert_eq!((state.steps["s1"].step_name.as_str(), dead_letters(&state)), ("b", vec![]));
}

#[test]
fn nothing_is_merged_from_older_reports() {
    let done = r#","completedAt":"2026-01-31T11:00:00Z""#;
    let start = step("s1", r#","runId":"r1","pipelineId":"p","inputCount":9,"config":{"outputCount":8}"#);
    let row = &state([start.as_str(), &step("s1", done)]).steps["s1"];
    assert_eq!((row.run_id.as_str(), row.pipeline_id.as_str(), row.input_count, row.output_count), ("", "", 0, 0));
}

#[test]
fn reports_of_two_days_keep_both_objects_and_one_row() {
    let (first, second) = (run("r1", ""), run("r1", "").replace("01-31", "02-01").replace("running", "pending"));
    let state = state([second.as_str(), &first]);
    assert_eq!(objects(&state), [(RUN_KEY, first.as_str()), ("runs/2026/02/01/r1.json", second.as_str())]);
    assert_eq!(state.runs["r1"].started_at, "2026-01-31T10:00:00.000Z");
}

#[test]
fn runs_steps_and_decisions_do_not_share_ids() {
    let state = state([decision("x", "").as_str(), &step("x", ""), &run("x", "")]);
    assert_eq!((state.objects.len(), state.dead_letters.len()), (3, 0));
}
