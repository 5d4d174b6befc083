//! `dead-letters`: listed, shown, sent again, discarded.

use serde_json::Value;

use crate::place::Place;
use crate::support::events::run;

fn decision(id: &str, run: &str, item: &str) -> Vec<u8> {
    format!(
        r#"{{"id":"{id}","stepId":"s","runId":"{run}","outcome":"kept","itemId":"{item}","timestamp":"2026-02-28T23:00:00Z"}}"#
    )
    .into_bytes()
}

fn list(place: &Place, args: &[&str]) -> Vec<Value> {
    let said = place.run(&[&["dead-letters", "list", "--output", "json"], args].concat());
    assert_eq!(said.code, 0, "{said:?}");
    said.json()
}

fn redrive(place: &Place, args: &[&str]) -> (u64, u64, u64) {
    let said = place.run(&[&["dead-letters", "redrive", "--output", "json"], args].concat());
    assert_eq!(said.code, 0, "{said:?}");
    let json = &said.json()[0];
    let count = |name: &str| json[name].as_u64().unwrap();
    (count("sent"), count("stillBad"), count("lost"))
}

fn whole_life(place: &Place) {
    place.store(&[run("r", "running").into_bytes()]);
    // A store that refuses one event for a while.
    place.sql(
        "CREATE TRIGGER picky BEFORE INSERT ON decision_events WHEN NEW.item_id = 'poison' BEGIN SELECT RAISE(ABORT, 'no'); END",
        "ALTER TABLE {db}.decision_events ADD CONSTRAINT picky CHECK item_id != 'poison'",
    );
    let step = br#"{"id":"s","type":"t","name":"n","startedAt":"2026-02-28T22:00:00Z"}"#.to_vec();
    let bodies = vec![
        run("r", "running").into_bytes(),
        step,
        decision("good", "r", "i"),
        decision("refused", "r", "poison"),
        decision("twice", "r", "i"),
        decision("twice", "r2", "i"),
        run("lost", "lost").into_bytes(),
        b"\xff\x00not text".to_vec(),
    ];
    place.store(&bodies);
    let all = list(place, &[]);
    let mut codes: Vec<&str> = all.iter().map(|letter| letter["code"].as_str().unwrap()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["bad_field", "conflict", "not_utf8", "store_refused"]);

    for (args, count) in [
        (&["--code", "bad_field,not_utf8"][..], 2),
        (&["--since", "2020-01-01"], 4),
        (&["--until", "2020-01-01"], 0),
        (&["--source", "input:"], 4),
        (&["--source", "kafka"], 0),
        (&["--text", "poison"], 1),
        (&["--text", "greater SHA-256"], 1),
        (&["--limit", "2"], 2),
        (&["--limit", "0"], 4),
        (&["--open"], 4),
    ] {
        assert_eq!(list(place, args).len(), count, "{args:?}");
    }
    let text = place.run(&["dead-letters", "list"]);
    assert!(text.stdout.lines().count() == 4 && text.stderr.contains("4 of 4"), "{text:?}");
    let id = |code: &str| {
        let letter = all.iter().find(|letter| letter["code"] == code).unwrap();
        letter["sha256"].as_str().unwrap().to_owned()
    };
    let shown = place.run(&["dead-letters", "show", &id("bad_field")[..12]]);
    assert!(shown.code == 0 && shown.stdout.contains(r#""status":"lost""#), "{shown:?}");
    let raw = crate::support::worker::output(&mut place.worker(&["dead-letters", "show", "--raw", &id("not_utf8")]));
    assert_eq!(raw.stdout, b"\xff\x00not text");
    let json = place.run(&["dead-letters", "show", "--output", "json", &id("store_refused")]).json();
    assert!(json[0]["body"].as_str().unwrap().contains("poison") && json[0]["deliveries"] == 1);
    assert_eq!(place.run(&["dead-letters", "show", "0000"]).code, 1);
    assert_eq!(place.run(&["dead-letters", "show", "xyz!"]).code, 2);

    // What is refused is no finding: a dead letter tells of it.
    let clean = place.run(&["verify", "--deep", "--min-age", "0s"]);
    assert_eq!(clean.code, 0, "{clean:?}");

    // As long as nothing is mended, nothing changes.
    assert_eq!(redrive(place, &["--all"]), (0, 4, 0));
    assert_eq!(list(place, &["--open"]).len(), 4);
    assert_eq!(place.run(&["dead-letters", "redrive"]).code, 2, "all of them, or which?");
    place.sql("DROP TRIGGER picky", "ALTER TABLE {db}.decision_events DROP CONSTRAINT picky");
    assert_eq!(redrive(place, &[&id("store_refused")[..8]]), (1, 0, 0));
    let marked = list(place, &["--code", "store_refused"]);
    assert!(marked[0]["redrivenAt"].as_str().unwrap().starts_with("20"), "{marked:?}");
    assert_eq!((list(place, &["--open"]).len(), list(place, &[]).len()), (3, 4));
    assert_eq!(redrive(place, &["--code", "store_refused"]), (0, 0, 0), "it was sent already");
    assert_eq!(redrive(place, &["--code", "store_refused", "--again"]), (1, 0, 0), "which does no harm");
    let wrong = place.run(&["dead-letters", "redrive", "--all", "--to-queue"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("QUEUE_TYPE"), "{wrong:?}");

    // What is discarded is gone, and the rest is as if it had never been.
    let asked = place.run(&["dead-letters", "discard", "--code", "store_refused"]);
    assert!(asked.code == 0 && asked.stdout.contains("nothing was done") && list(place, &[]).len() == 4, "{asked:?}");
    assert_eq!(place.run(&["dead-letters", "discard", "--code", "store_refused", "--yes"]).code, 0);
    place.assert_model(&bodies);
    let loser = id("conflict");
    let winner = crate::support::model::sha256_hex(&bodies[4]) == loser;
    assert_eq!(place.run(&["dead-letters", "discard", "--yes", &loser]).code, 0);
    let kept: Vec<Vec<u8>> = bodies
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != if winner { 4 } else { 5 })
        .map(|(_, body)| body.clone())
        .collect();
    place.assert_model(&kept);
    let clean = place.run(&["verify", "--deep", "--min-age", "0s"]);
    assert_eq!(clean.code, 0, "{clean:?}");
}

on_every_pair!(whole_life);

/// Of a body that was too large only the beginning was kept: it cannot be sent.
#[test]
fn what_was_cut_is_not_sent() {
    let place = Place::files();
    let input = crate::support::worker::write_lines(place.dir.path().join("input"), &[vec![b'x'; 5000]]);
    let output =
        crate::support::worker::output(place.worker(&["run", "--input", &input]).env("MAX_EVENT_BYTES", "2000"));
    assert!(output.status.success());
    assert_eq!(redrive(&place, &["--all"]), (0, 0, 1));
    let said = place.run(&["dead-letters", "show", list(&place, &[])[0]["sha256"].as_str().unwrap()]);
    assert!(said.stdout.contains("5,000, of which 2,000 were kept"), "{said:?}");
    assert_eq!(place.run(&["verify", "--deep", "--min-age", "0s"]).code, 0);
}
