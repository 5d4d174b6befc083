//! Message bodies that mean harm, and bodies in another order.

use std::path::Path;

use super::worker::ran;

/// Generated pipelines with plenty of everything that goes wrong, and bodies that mean harm.
pub fn bodies(dir: &Path) -> Vec<Vec<u8>> {
    let shares =
        ["--duplicates", "0.1", "--reordered", "0.3", "--late", "0.2", "--conflicting", "0.05", "--malformed", "0.05"];
    let (code, _, stderr) = ran(dir, &[&["generate", "--runs", "20", "--output", "generated"], &shares[..]].concat());
    assert_eq!(code, 0, "{stderr}");
    let text = std::fs::read(dir.join("generated")).unwrap();
    let mut bodies: Vec<Vec<u8>> =
        text.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
    bodies.extend(hostile());
    bodies
}

/// Ids that are paths, quotes or too long, conflicts, steps that move, nesting, what is no event at all.
pub fn hostile() -> Vec<Vec<u8>> {
    let decision = |id: &str, step: &str, run: &str, rest: &str| {
        let id = serde_json::to_string(id).unwrap();
        format!(
            r#"{{"id":{id},"stepId":"{step}","runId":"{run}","outcome":"kept","itemId":"i","timestamp":"2026-02-28T23:59:59.999Z"{rest}}}"#
        )
    };
    let step =
        |rest: &str| format!(r#"{{"id":"moving","type":"rank","name":"n","startedAt":"2026-02-28T23:00:00Z"{rest}}}"#);
    let run = |id: &str, rest: &str| {
        format!(r#"{{"id":"{id}","pipelineId":"p-{id}","status":"running","startedAt":1772319600000{rest}}}"#)
    };
    let mut bodies: Vec<String> = ["../../x", "..", ".", "...", "/etc/passwd", "a\\b", "ü 漢 !", "%2E", "CON"]
        .iter()
        .map(|id| decision(id, "s'; DROP TABLE runs", "r", ""))
        .collect();
    bodies.extend([
        decision(&"x".repeat(512), "s", "r", ""),
        decision(&"漢".repeat(170), "s", "r", ""),
        decision(&"x".repeat(513), "s", "r", ""),
        decision("deep", "s", "r", &format!(r#","input":{}{}"#, "[".repeat(20_000), "]".repeat(20_000))),
        decision("nul", "s", "r", r#","reason":"a\u0000b","metadata":{"inputCount":3}"#),
        // Conflicts: same place; another run; another step.
        decision("conflict", "s", "r", r#","score":1"#),
        decision("conflict", "s", "r", r#","score":2"#),
        decision("conflict", "s", "r2", ""),
        decision("conflict", "s2", "r", ""),
        // A step that learns its run, and moves.
        decision("m1", "moving", "run-b", ""),
        decision("m2", "moving", "run-a", ""),
        step(""),
        step(r#","completedAt":"2026-02-28T23:30:00Z","runId":"run-c","inputCount":0"#),
        step(r#","completedAt":"2026-02-28T23:30:00Z","runId":"run-d","note":"equal rank"}"#.trim_end_matches('}')),
        run("run-a", ""),
        run("run-b", ""),
        run("run-c", r#","error":"\u0000 odd","metadata":{ "k" : 1 }"#),
        run("run-d", r#","completedAt":null"#),
        run("run-d", "").replace("running", "failed"),
        run("run-d", "").replace("running", "cancelled"),
        "[]".to_owned(),
        "[[]]".to_owned(),
        "{".repeat(5000),
    ]);
    let mut bodies: Vec<Vec<u8>> = bodies.into_iter().map(String::into_bytes).collect();
    bodies.extend([b"\xff\xfe".to_vec(), b"\0\0\0\0\x01{}".to_vec(), b"{\"id\":\"\xc3\x28\"}".to_vec()]);
    bodies
}

/// The same bodies in another order; the same order each time.
pub fn shuffled(bodies: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut order: Vec<usize> = (0..bodies.len()).collect();
    let mut state = 88_172_645_463_325_252_u64;
    for at in (1..order.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(at, (state % (at as u64 + 1)) as usize);
    }
    order.into_iter().map(|at| bodies[at].clone()).collect()
}
