use super::*;
use crate::digest::Sha256;
use crate::event::{Decision, Outcome, RunReport, Status, StepReport, Timestamp};
use proptest::prelude::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(Timestamp::MIN.millis() + millis).unwrap()
}

fn decision(run: &str, outcome: Outcome) -> Decision {
    Decision {
        event_id: String::new(),
        step_id: "s".into(),
        run_id: run.into(),
        pipeline_id: String::new(),
        outcome,
        item_id: "i".into(),
        score: None,
        timestamp: at(0),
        input_count: None,
        output_count: None,
    }
}

fn step(run: &str, completed_at: Option<Timestamp>) -> StepReport {
    StepReport {
        step_id: "s".into(),
        run_id: run.into(),
        pipeline_id: String::new(),
        step_type: "filter".into(),
        step_name: "n".into(),
        started_at: at(0),
        completed_at,
        input_count: None,
        output_count: None,
    }
}

fn run(status: Status) -> RunReport {
    RunReport {
        run_id: "r".into(),
        pipeline_id: "p".into(),
        status,
        started_at: at(0),
        completed_at: None,
        error: None,
        metadata: "{}".into(),
    }
}

fn sha(text: &str) -> Sha256 {
    Sha256::of(text.as_bytes())
}

fn facts(report: StepReport, decisions: &[Decision]) -> StepFacts {
    let mut totals = StepTotals::default();
    for (i, decision) in decisions.iter().enumerate() {
        totals.add(decision, sha(&i.to_string()));
    }
    let order = ReportOrder::of_step(&report, sha("report"));
    StepFacts { report: Some((report, order)), totals }
}

fn linked(run_id: &str, pipeline: Option<&str>) -> LinkedRun {
    let order = ReportOrder::of_run(&run(Status::Running), sha(run_id));
    LinkedRun { run_id: run_id.into(), report: pipeline.map(|pipeline| (pipeline.into(), order)) }
}

#[test]
fn counts_come_from_the_report_else_metadata_else_the_decisions() {
    let mut decisions = [Outcome::Kept, Outcome::Scored, Outcome::Eliminated, Outcome::Eliminated]
        .map(|outcome| decision("r", outcome))
        .to_vec();
    let numbers = |report: &StepReport, decisions: &[Decision]| {
        let row = step_row(&facts(report.clone(), decisions), &[]).unwrap();
        (row.input_count, row.output_count, row.elimination_ratio)
    };
    let mut report = step("r", None);
    assert_eq!(numbers(&report, &decisions), (4, 2, 0.5));
    (decisions[1].input_count, decisions[1].output_count) = (Some(3), Some(0));
    decisions[2].input_count = Some(10);
    assert_eq!(numbers(&report, &decisions), (10, 0, 1.0), "the largest of metadata, and 0 is a value");
    (report.input_count, report.output_count) = (Some(0), Some(7));
    assert_eq!(numbers(&report, &decisions), (0, 7, 0.0), "nothing went in");
    report.input_count = Some(2);
    assert_eq!(numbers(&report, &decisions), (2, 7, -2.5), "more came out than went in");
    let row = step_row(&facts(report, &decisions), &[]).unwrap();
    assert_eq!((row.kept_count, row.eliminated_count, row.scored_count), (1, 2, 1));
}

#[test]
fn run_and_pipeline_are_learnt() {
    let decisions = [decision("r2", Outcome::Kept), decision("r1", Outcome::Kept)];
    let row = |report: &StepReport, decisions: &[Decision], runs: &[LinkedRun]| {
        let row = step_row(&facts(report.clone(), decisions), runs).unwrap();
        (row.run_id, row.pipeline_id)
    };
    let runs = [linked("r2", Some("p2")), linked("r1", None), linked("r3", Some("p3"))];
    let mut report = step("", None);
    assert_eq!(row(&report, &[], &[]), (String::new(), String::new()));
    assert_eq!(row(&report, &decisions, &runs), ("r1".into(), String::new()), "the least; not reported yet");
    assert_eq!(row(&report, &decisions[..1], &runs), ("r2".into(), "p2".into()));
    report.run_id = "r3".into();
    assert_eq!(row(&report, &decisions, &runs), ("r3".into(), "p3".into()), "its own comes first");
    report.pipeline_id = "own".into();
    assert_eq!(row(&report, &decisions, &runs), ("r3".into(), "own".into()));
    assert_eq!(step_row(&StepFacts::default(), &runs), None, "no row before the first report");
}

#[test]
fn a_run_sums_the_steps_that_belong_to_it_and_saturates() {
    let with = |run: &str, input, output| {
        let report = StepReport { input_count: Some(input), output_count: Some(output), ..step(run, None) };
        facts(report, &[])
    };
    let report = run(Status::Completed);
    let order = ReportOrder::of_run(&report, sha("run"));
    let unreported = StepFacts { report: None, ..facts(step("r", None), &[decision("r", Outcome::Kept)]) };
    let row = run_row(&report, order, &[with("r", 8, 4), with("elsewhere", 100, 1), unreported, with("r", 2, 1)]);
    assert_eq!((row.total_steps, row.total_input_count, row.total_output_count), (2, 10, 5));
    assert_eq!(row.overall_elimination_ratio, 0.5);
    let row = run_row(&report, order, &[with("r", u64::MAX, 0), with("r", u64::MAX, 0)]);
    assert_eq!(row.total_input_count, i64::MAX as u64);
}

#[test]
fn reports_are_ordered_by_rank_then_end_then_hash() {
    let order = |rank, completed_at: Option<i64>, sha: u8| ReportOrder {
        rank,
        completed_at: completed_at.map(at),
        sha256: Sha256([sha; 32]),
    };
    let ascending = [
        order(0, None, 1),
        order(0, None, 2),
        order(1, None, 0),
        order(2, None, 9),
        order(2, Some(1), 3),
        order(2, Some(1), 4),
        order(2, Some(2), 0),
    ];
    assert!(ascending.is_sorted_by(|a, b| a < b));
    assert!(ascending.is_sorted_by(|a, b| a.counter() < b.counter()));
}

#[test]
fn counters_leave_the_top_bits_free() {
    let greatest = ReportOrder { rank: 2, completed_at: Some(Timestamp::MAX), sha256: Sha256([255; 32]) }.counter();
    assert!(greatest.to_be_bytes()[..6].iter().all(|byte| *byte == 0), "{greatest}");
    assert_eq!(greatest.to_be_bytes()[6] >> 4, 2, "the rank stands at bit 204: {greatest}");
    let decision = Version::of_decision(Sha256([255; 32]));
    assert_eq!(decision.to_string(), format!("{:0>64}", format!("1{}", "0".repeat(40))));
}

#[test]
fn versions_add_compare_and_print_as_numbers() {
    let version = |text: &str| Version::from_hex(&format!("{text:0>64}")).unwrap();
    assert_eq!(version("ffffffffffffffff") + Version::ONE, version("10000000000000000"));
    assert_eq!(version(&"f".repeat(48)) + Version::ONE, version(&format!("1{}", "0".repeat(48))));
    let greatest = version(&"f".repeat(64));
    assert_eq!(greatest + Version::ONE, greatest, "never falls");
    assert_eq!(Version::from_hex("12"), None);
    assert_eq!(Version::from_hex(&"x".repeat(64)), None);
}

fn any_decision() -> impl Strategy<Value = (Decision, Sha256)> {
    (0..3_usize, 0..3_u8, prop::option::of(0..9_u64), prop::option::of(0..9_u64), any::<[u8; 32]>()).prop_map(
        |(outcome, run, input_count, output_count, sha)| {
            let decision = decision(&format!("r{run}"), Outcome::ALL[outcome]);
            (Decision { input_count, output_count, ..decision }, Sha256(sha))
        },
    )
}

fn totals(decisions: &[(Decision, Sha256)]) -> StepTotals {
    let mut totals = StepTotals::default();
    decisions.iter().for_each(|(decision, sha)| totals.add(decision, *sha));
    totals
}

fn any_order() -> impl Strategy<Value = ReportOrder> {
    (0..3_u8, prop::option::of(0..3_i64), any::<[u8; 32]>()).prop_map(|(rank, completed_at, sha)| ReportOrder {
        rank,
        completed_at: completed_at.map(at),
        sha256: Sha256(sha),
    })
}

proptest! {
    #[test]
    fn totals_do_not_depend_on_order_or_grouping(
        decisions in prop::collection::vec(any_decision(), 0..12), cut in 0..12_usize, seed in any::<u64>(),
    ) {
        let mut shuffled = decisions.clone();
        shuffled.sort_by_key(|(_, Sha256(bytes))| bytes[0] as u64 ^ (seed % 251));
        prop_assert_eq!(totals(&decisions), totals(&shuffled));
        let (left, right) = shuffled.split_at(cut.min(shuffled.len()));
        let mut merged = totals(left);
        merged.merge(&totals(right));
        prop_assert_eq!(totals(&decisions), merged);
    }

    #[test]
    fn versions_grow_with_each_fact(
        decisions in prop::collection::vec(any_decision(), 1..8), orders in (any_order(), any_order()),
        runs in prop::collection::vec(prop::option::of(any_order()), 0..4),
    ) {
        let linked: Vec<_> = runs.iter().enumerate().map(|(i, order)| LinkedRun {
            run_id: format!("r{i}"),
            report: order.map(|order| ("p".to_owned(), order)),
        }).collect();
        let version = |decisions: &[(Decision, Sha256)], order, linked: &[LinkedRun]| {
            let facts = StepFacts { report: Some((step("", None), order)), totals: totals(decisions) };
            step_row(&facts, linked).unwrap().version
        };
        let (older, newer) = (orders.0.min(orders.1), orders.0.max(orders.1));
        let all = version(&decisions, older, &linked);
        prop_assert!(version(&decisions[1..], older, &linked) < all, "a decision more");
        prop_assert!(older == newer || all < version(&decisions, newer, &linked), "a newer report");
        let mut won = decisions.clone();
        won[0].1 = Sha256([255; 32]);
        prop_assert!(all < version(&won, older, &linked), "a conflict won by another");
        for i in 0..linked.len() {
            let mut fewer = linked.clone();
            if linked[i].report.is_some() {
                fewer[i].report = None;
                prop_assert!(version(&decisions, older, &fewer) < all, "a linked run's first report");
            }
            fewer.remove(i);
            prop_assert!(version(&decisions, older, &fewer) < all, "a link more");
        }

        let facts = StepFacts { report: Some((step("", None), older)), totals: totals(&decisions) };
        let report = run(Status::Running);
        let version = |steps: &[StepFacts]| run_row(&report, newer, steps).version;
        let unreported = StepFacts { report: None, ..facts.clone() };
        let moved = StepFacts { report: Some((step("elsewhere", None), newer)), ..facts.clone() };
        prop_assert!(version(&[]) < version(&[StepFacts::default()]));
        prop_assert!(version(std::slice::from_ref(&unreported)) < version(std::slice::from_ref(&facts)));
        prop_assert!(older == newer || version(&[facts]) < version(&[moved]), "also when the step leaves");
    }

    #[test]
    fn version_text_and_bytes_keep_the_number(a in any::<[u8; 32]>(), b in any::<[u8; 32]>()) {
        let (a, b) = (Version::from_be_bytes(a), Version::from_be_bytes(b));
        prop_assert_eq!(Version::from_be_bytes(a.to_be_bytes()), a);
        prop_assert_eq!(Version::from_hex(&a.to_string()), Some(a));
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        prop_assert_eq!(a + b, b + a);
        prop_assert!(a + b >= a.max(b));
    }

    #[test]
    fn counters_are_in_the_order_of_reports(a in any_order(), b in any_order()) {
        prop_assert_eq!(a.cmp(&b), a.counter().cmp(&b.counter()));
    }
}
