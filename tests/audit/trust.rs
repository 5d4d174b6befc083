//! What a repair must not take away, and what "all is well" must not hide.

use crate::damage::{bodies, found, found_and_mended, one_of, verify};
use crate::place::Place;
use crate::support::worker::{output, write_lines};

/// A step, a decision of it that was kept, and its run.
fn some_of(place: &Place) -> (String, String, String) {
    let state = place.state();
    let own = |step: &&crate::support::model::StepRow| {
        state.decision_events.values().any(|row| row.step_id == step.step_id && row.outcome == "kept")
    };
    let step = state.steps.values().find(own).unwrap();
    let is_own = |row: &&crate::support::model::DecisionRow| row.step_id == step.step_id && row.outcome == "kept";
    let decision = state.decision_events.values().find(is_own).unwrap();
    (step.step_id.clone(), decision.event_id.clone(), step.run_id.clone())
}

/// A changed fact makes right numbers look wrong: without `--deep` too, what is mended is the fact.
fn facts_before_what_comes_from_them(place: &Place) {
    let bodies = bodies(place);
    place.store(&bodies);
    let (step, decision, run) = some_of(place);
    for (table, set, id) in [
        ("decision_events", "outcome = 'eliminated'", format!("event_id = '{decision}'")),
        ("step_reports", "input_count = 4711", format!("step_id = '{step}'")),
        ("run_reports", "pipeline_id = 'x'", format!("run_id = '{run}'")),
    ] {
        place.sql(
            &format!("UPDATE {table} SET {set} WHERE {id}"),
            &format!("ALTER TABLE {{db}}.{table} UPDATE {set} WHERE {id}"),
        );
        let id = id.split('\'').nth(1).unwrap();
        let named = found(&verify(place, &[]), "different_row");
        assert_eq!(named.iter().filter(|named| named.contains(id)).count(), 1, "{named:?}");
        found_and_mended(place, &bodies, false, "different_row", id);
    }
}

/// What a repair inserts itself is no sign of a worker: numbers that depend on it are mended in the same go.
fn nothing_is_too_young_because_of_the_repair(place: &Place) {
    let bodies = bodies(place);
    place.store(&bodies);
    let (step, decision, _) = some_of(place);
    for table in ["decision_events", "step_reports", "run_reports"] {
        place.sql(
            &format!("UPDATE {table} SET updated_at = '2026-01-01T00:00:00.000Z'"),
            &format!("ALTER TABLE {{db}}.{table} UPDATE updated_at = '2026-01-01 00:00:00' WHERE 1"),
        );
    }
    place.both(&format!("DELETE FROM {{db}}.decision_events WHERE event_id = '{decision}'"));
    place.sql(
        &format!("UPDATE steps SET kept_count = 99 WHERE step_id = '{step}'"),
        &format!(
            "INSERT INTO {{db}}.steps SELECT * REPLACE (toUInt64(99) AS kept_count, version * 2 AS version)
             FROM (SELECT * FROM {{db}}.steps FINAL WHERE step_id = '{step}')"
        ),
    );
    // The objects are young, so all that is found of them is left out otherwise.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let said = place.run(&["verify", "--repair", "--min-age", "2s"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(verify(place, &["--deep"]).code, 0);
    place.assert_model(&bodies);
}

/// A time that is still to come is no reason to look away.
fn stamps_of_the_future(place: &Place) {
    let bodies = bodies(place);
    place.store(&bodies);
    let (step, ..) = some_of(place);
    place.sql(
        "UPDATE decision_events SET updated_at = '2199-01-01T00:00:00.000Z'",
        "ALTER TABLE {db}.decision_events UPDATE updated_at = '2199-01-01 00:00:00' WHERE 1",
    );
    place.sql(
        &format!("UPDATE steps SET kept_count = 99 WHERE step_id = '{step}'"),
        &format!("ALTER TABLE {{db}}.steps UPDATE kept_count = 99 WHERE step_id = '{step}'"),
    );
    found_and_mended(place, &bodies, false, "different_derived", &step);
}

/// A total that was changed, with the row that comes from it: no recompute of that row alone tells.
fn lookup_sees_wrong_totals(place: &Place) {
    place.store(&bodies(place));
    let (step, ..) = some_of(place);
    for table in ["step_totals", "steps"] {
        let column = if table == "steps" { "kept_count" } else { "kept" };
        place.sql(
            &format!("UPDATE {table} SET {column} = {column} + 5 WHERE step_id = '{step}'"),
            &format!("ALTER TABLE {{db}}.{table} UPDATE {column} = {column} + 5 WHERE step_id = '{step}'"),
        );
    }
    let said = place.run(&["lookup", &step, "--min-age", "0s"]);
    assert!(said.code == 3 && said.stdout.contains("step_totals"), "{said:?}");
}

/// Rows of dead letters that name what is not theirs: it stays, and each is found.
fn letters_that_name_others(place: &Place) {
    let bodies = bodies(place);
    place.store(&bodies);
    let letters = place.state().dead_letters;
    let mut codes = letters.iter().filter(|(_, letter)| letter.code != "conflict").map(|(sha256, _)| sha256.clone());
    let (sha256, other) = (codes.next().unwrap(), codes.next().unwrap());
    // Behind that of the object, and before it.
    for ghost in ["f".repeat(64), "0".repeat(64)] {
        let key = format!("dead-letters/{}/{sha256}.json", &sha256[..2]);
        place.sql(
            &format!("INSERT INTO dead_letters VALUES ('{ghost}', 'empty', '', '', '', '{key}', 0, '2026-01-01T00:00:00.000Z', NULL, '')"),
            &format!("INSERT INTO {{db}}.dead_letters VALUES ('{ghost}', 'empty', '', '', '', '{key}', 0, 0, NULL, 0)"),
        );
        found_and_mended(place, &bodies, false, "orphan_letter", &sha256);
    }
    let (_, key) = one_of(&place.state(), &bodies, "decisions", 5);
    place.sql(
        &format!("UPDATE dead_letters SET s3_key = '{key}' WHERE sha256 = '{other}'"),
        &format!("ALTER TABLE {{db}}.dead_letters UPDATE s3_key = '{key}' WHERE sha256 = '{other}'"),
    );
    let said = place.run(&["dead-letters", "show", &other]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(place.run(&["dead-letters", "discard", &other, "--yes"]).code, 0);
    assert!(place.state().objects.contains_key(&key), "the object of a decision went with a dead letter");
    assert!(!place.state().dead_letters.contains_key(&other));
    assert_eq!(verify(place, &["--deep"]).code, 0);
}

/// A row that names the object of another: that one stays when the row's run is erased.
fn purge_takes_its_own(place: &Place) {
    let bodies = bodies(place);
    place.store(&bodies);
    let (_, decision, run) = some_of(place);
    let state = place.state();
    let other = state.runs.keys().find(|id| **id != run).unwrap();
    let (key, own) = (|part: &str| state.objects.keys().find(|key| key.contains(part)).unwrap().clone(), &decision);
    let (others, own) = (key(&format!("{other}.json")), key(own));
    place.sql(
        &format!("UPDATE decision_events SET s3_key = '{others}' WHERE event_id = '{decision}'"),
        &format!("ALTER TABLE {{db}}.decision_events UPDATE s3_key = '{others}' WHERE event_id = '{decision}'"),
    );
    assert_eq!(place.run(&["purge", "--run", &run, "--yes"]).code, 0);
    let left = place.state().objects;
    assert!(left.contains_key(&others) && !left.contains_key(&own), "{others} {own}");
    assert_eq!(verify(place, &["--deep"]).code, 0);
}

on_every_pair!(
    purge_takes_its_own,
    facts_before_what_comes_from_them,
    nothing_is_too_young_because_of_the_repair,
    stamps_of_the_future,
    lookup_sees_wrong_totals,
    letters_that_name_others
);

/// Nothing is counted in the row of a link; what somebody counts there is taken away, and not added to right numbers.
#[test]
fn counts_in_a_link() {
    let place = Place::servers("minio");
    let bodies = bodies(&place);
    place.store(&bodies);
    let (step, _, run) = some_of(&place);
    let other = place.state().runs.keys().find(|id| **id != run).unwrap().clone();
    for (run, version) in [(&other, 7), (&run, 0)] {
        let values = format!("('{step}', '{run}', 0, 5, 0, 0, NULL, 4711, {version})");
        place.servers.as_ref().unwrap().database.query(&format!("INSERT INTO {{db}}.step_totals VALUES {values}"));
        found_and_mended(&place, &bodies, false, "different_derived", &step);
    }
}

/// Of nothing all would be well: what leaves nothing to look at is refused.
#[test]
fn nothing_is_not_well() {
    let place = Place::files();
    place.store(&bodies(&place));
    let range = ["--from", "2026-02-02", "--to", "2026-02-01"];
    for wrong in [
        &["verify", "--run", ""][..],
        &["rebuild", "--kind", "run", "--anew"],
        &["rebuild", "--from", "2026-02-01", "--keep"],
        &[&["verify"], &range[..]].concat(),
        &[&["rebuild"], &range[..]].concat(),
        &[&["lookup", "x"], &range[..]].concat(),
    ] {
        let said = place.run(wrong);
        assert_eq!(said.code, 2, "{wrong:?}: {said:?}");
    }
    place.put("dead-letters/stray.json", b"{}");
    assert!(found(&verify(&place, &[]), "stray_object").contains(&"dead-letters/stray.json".to_owned()));
}

/// An object that cannot be read, as one that is archived: neither `verify` nor `rebuild` takes its row away.
#[test]
fn what_cannot_be_read_keeps_its_row() {
    let place = Place::files();
    let decision = |id: &str, input: &str| {
        format!(
            r#"{{"id":"{id}","stepId":"s","runId":"r","outcome":"kept","itemId":"i","timestamp":"2026-02-28T23:00:00Z","input":"{input}"}}"#
        )
        .into_bytes()
    };
    let bodies = [decision("small", ""), decision("large", &"x".repeat(65 << 20))];
    let input = write_lines(place.dir.path().join("input"), &bodies);
    let mut command = place.worker(&["run", "--input", &input]);
    let stored = output(command.env("MAX_EVENT_BYTES", "80000000").env("MAX_IN_FLIGHT_BYTES", "400000000"));
    assert!(stored.status.success(), "{stored:?}");
    // More than what is read with the limits as they are by default.
    let before = place.state().decision_events;
    assert_eq!(before.len(), 2);
    let said = verify(&place, &["--deep", "--repair"]);
    assert_eq!((said.code, found(&said, "unread_object").len(), said.json().len()), (3, 1, 2), "{said:?}");
    let said = place.run(&["rebuild"]);
    assert!(said.code == 1 && said.stderr.contains("1 objects cannot be read"), "{said:?}");
    assert_eq!(place.state().decision_events, before);
    assert_eq!(place.run(&["rebuild", "--kind", "decision"]).code, 3, "what was left out is said");
    assert_eq!(place.state().decision_events, before);
}
