use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

const VISIBILITY: Duration = Duration::from_secs(30);

fn ledger() -> (Ledger<Arc<()>>, Instant) {
    (Ledger::new(VISIBILITY), Instant::now())
}

fn ids(request: &[(u64, Arc<str>)]) -> Vec<u64> {
    request.iter().map(|(id, _)| *id).collect()
}

fn all(ids: &[u64], outcome: Outcome) -> Vec<(u64, Outcome)> {
    ids.iter().map(|id| (*id, outcome)).collect()
}

#[test]
fn what_is_stored_is_deleted_by_tens_until_it_works() {
    let (mut ledger, now) = ledger();
    let given: Vec<u64> = (0..12).map(|n| ledger.give(format!("h{n}"), 100, None, now)).collect();
    assert_eq!(ledger.held(), (12, 1200));
    let waited = Arc::new(());
    ledger.store(&given, Some(&waited));
    assert_eq!((ledger.held(), Arc::strong_count(&waited)), ((12, 12 * weight(0)), 13), "until they are deleted");
    let first = ledger.next(Act::Delete, now);
    assert_eq!((ids(&first), &*first[3].1), (given[..10].to_vec(), "h3"));
    assert_eq!(ids(&ledger.next(Act::Delete, now)), given[10..]);
    assert!(ledger.next(Act::Delete, now).is_empty());
    ledger.done(Act::Delete, now, [(given[0], Outcome::Again), (given[1], Outcome::Gone)]);
    ledger.done(Act::Delete, now, all(&given[2..], Outcome::Done));
    assert_eq!((ledger.len(), Arc::strong_count(&waited)), (1, 1), "who waits goes on after the first try");
    assert_eq!(ids(&ledger.next(Act::Delete, now)), given[..1]);
    ledger.done(Act::Delete, now, all(&given[..1], Outcome::Done));
    assert_eq!(ledger.len(), 0);
}

#[test]
fn what_is_held_is_renewed_at_half_of_its_time_for_as_long_as_it_is_held() {
    let (mut ledger, start) = ledger();
    let one = ledger.give("h".into(), 1, None, start);
    let later = ledger.give("h".into(), 1, None, start + VISIBILITY / 20);
    assert!(ledger.next(Act::Renew, start + VISIBILITY / 3).is_empty());
    let mut now = start;
    for _ in 0..1000 {
        now += VISIBILITY / 2;
        assert_eq!(ids(&ledger.next(Act::Renew, now)), [one, later], "both, as the second is due soon");
        ledger.done(Act::Renew, now, all(&[one, later], Outcome::Done));
    }
    ledger.store(&[one], None);
    assert_eq!(ids(&ledger.next(Act::Delete, now)), [one]);
    ledger.done(Act::Delete, now, all(&[one], Outcome::Again));
    now += VISIBILITY / 2;
    assert_eq!(ids(&ledger.next(Act::Renew, now)), [one, later], "also while it cannot be deleted");
    ledger.done(Act::Renew, now, [(one, Outcome::Gone), (later, Outcome::Again)]);
    assert_eq!(ids(&ledger.next(Act::Renew, now)), [later]);
    assert_eq!(ids(&ledger.next(Act::Delete, now)), [one]);
}

#[test]
fn what_is_renewed_at_this_moment_is_given_back_after_that() {
    let (mut ledger, start) = ledger();
    let one = ledger.give("h".into(), 7, None, start);
    let now = start + VISIBILITY / 2;
    assert_eq!(ids(&ledger.next(Act::Renew, now)), [one]);
    assert_eq!(ledger.release(&[one], None), [one]);
    assert!(ledger.next(Act::Return, now).is_empty(), "else it would be hidden again behind our back");
    ledger.done(Act::Renew, now, all(&[one], Outcome::Done));
    assert_eq!((ids(&ledger.next(Act::Return, now)), ledger.held()), (vec![one], (1, weight(0))));
    ledger.store(&[one], None);
    ledger.done(Act::Return, now, all(&[one], Outcome::Done));
    assert_eq!(ledger.len(), 0);
}

#[test]
fn before_sqs_ends_it_what_is_open_is_overdue() {
    let (mut ledger, start) = ledger();
    let one = ledger.give("h".into(), 1, None, start);
    ledger.give("h".into(), 1, None, start + Duration::from_secs(3600));
    assert!(ledger.overdue(start + Duration::from_secs(11 * 3600)).is_empty());
    let late = start + HELD_AT_MOST - VISIBILITY - MARGIN;
    assert_eq!(ledger.overdue(late), [one]);
    ledger.release(&[one], None);
    assert!(ledger.overdue(late).is_empty());
}

#[test]
fn a_group_is_deleted_in_order_and_goes_back_in_order() {
    let (mut ledger, now) = ledger();
    let group: Option<Arc<str>> = Some("g".into());
    let of: Vec<u64> = (0..5).map(|n| ledger.give(format!("h{n}"), 1, group.clone(), now)).collect();
    let other = ledger.give("o".into(), 1, Some("other".into()), now);
    let waited = Arc::new(());
    ledger.store(&[of[1], of[3], other], Some(&waited));
    assert_eq!(ids(&ledger.next(Act::Delete, now)), [other], "what is before them is open");
    assert_eq!(Arc::strong_count(&waited), 1, "nobody waits for it");
    ledger.store(&[of[0]], None);
    assert_eq!(ids(&ledger.next(Act::Delete, now)), of[..2]);
    // The third goes back, and takes those along that were stored behind it.
    assert_eq!(ledger.release(&[of[2]], None), of[2..]);
    let back = ledger.next(Act::Return, now);
    assert_eq!(ids(&back), of[2..]);
    ledger.store(&[of[4]], None);
    ledger.done(Act::Return, now, all(&of[2..], Outcome::Done));
    ledger.done(Act::Delete, now, all(&[of[0], of[1], other], Outcome::Done));
    assert_eq!(ledger.len(), 0);
}

#[test]
fn of_a_group_one_request_at_a_time_goes_back() {
    let (mut ledger, now) = ledger();
    let of: Vec<u64> = (0..15).map(|_| ledger.give("h".into(), 1, Some("g".into()), now)).collect();
    assert_eq!(ledger.release(&of[..1], None), of);
    assert_eq!(ids(&ledger.next(Act::Return, now)), of[..10]);
    assert!(ledger.next(Act::Return, now).is_empty());
    ledger.done(Act::Return, now, all(&of[..10], Outcome::Done));
    assert_eq!(ids(&ledger.next(Act::Return, now)), of[10..]);
}

#[derive(Debug, Clone)]
enum Step {
    Give(u8),
    Store(usize),
    Release(usize),
    Ask(u8),
    Answer(usize, u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8).prop_map(Step::Give),
        4 => (0..40_usize).prop_map(Step::Store),
        1 => (0..40_usize).prop_map(Step::Release),
        4 => (0..3_u8).prop_map(Step::Ask),
        4 => (0..10_usize, 0..3_u8).prop_map(|(which, outcome)| Step::Answer(which, outcome)),
        2 => (0..20_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Against a list of what was stored and what was given back, whatever SQS answers, and in whatever order.
    #[test]
    fn only_what_is_stored_is_deleted_once_and_in_order(steps in vec(step(), 0..200)) {
        let (mut ledger, mut now) = ledger();
        let (mut group_of, mut stored, mut back, mut gone) =
            (Vec::<u8>::new(), BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut asked: Vec<(Act, Instant, Vec<u64>)> = Vec::new();
        let acts = [Act::Renew, Act::Delete, Act::Return];
        let end = std::iter::repeat_n([Step::Ask(1), Step::Ask(2), Step::Answer(0, 0)], 400).flatten();
        for step in steps.into_iter().chain(end) {
            let open = |at: usize, stored: &BTreeSet<u64>, back: &BTreeSet<u64>| {
                (0..group_of.len() as u64).filter(|id| !stored.contains(id) && !back.contains(id)).nth(at)
            };
            match step {
                // Group 0 is none.
                Step::Give(group) => {
                    let name = (group > 0).then(|| Arc::from(format!("g{group}")));
                    prop_assert_eq!(ledger.give(format!("h{}", group_of.len()), 3, name, now), group_of.len() as u64);
                    group_of.push(group);
                }
                Step::Store(at) => if let Some(id) = open(at, &stored, &back) {
                    ledger.store(&[id], None);
                    stored.insert(id);
                },
                Step::Release(at) => if let Some(id) = open(at, &stored, &back) {
                    let released = ledger.release(&[id], None);
                    prop_assert!(released.contains(&id));
                    for other in &released {
                        let same = group_of[*other as usize] == group_of[id as usize];
                        prop_assert!(*other == id || (same && *other > id && group_of[id as usize] > 0));
                    }
                    back.extend(released);
                },
                Step::Ask(act) => {
                    let act = acts[act as usize];
                    let request = ledger.next(act, now);
                    prop_assert!(request.len() <= BATCH);
                    let request = ids(&request);
                    for id in &request {
                        prop_assert!(!gone.contains(id) && !asked.iter().any(|(_, _, ids)| ids.contains(id)));
                        match act {
                            Act::Renew => {}
                            Act::Return => prop_assert!(back.contains(id)),
                            Act::Delete => {
                                prop_assert!(stored.contains(id) && !back.contains(id));
                                let before = (0..*id).filter(|before| {
                                    group_of[*id as usize] > 0 && group_of[*before as usize] == group_of[*id as usize]
                                });
                                for before in before {
                                    let done = stored.contains(&before) || back.contains(&before);
                                    prop_assert!(done, "{before} before {id}");
                                }
                            }
                        }
                    }
                    if !request.is_empty() {
                        asked.push((act, now, request));
                    }
                }
                Step::Answer(which, outcome) => if which < asked.len() {
                    let (act, sent, ids) = asked.remove(which);
                    let outcome = [Outcome::Done, Outcome::Gone, Outcome::Again][outcome as usize];
                    ledger.done(act, sent, all(&ids, outcome));
                    if act != Act::Renew && outcome != Outcome::Again {
                        gone.extend(ids);
                    }
                },
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
            }
            let open = (0..group_of.len() as u64).filter(|id| !stored.contains(id) && !back.contains(id)).count();
            let all = group_of.len() - gone.len();
            prop_assert_eq!(ledger.held(), (all, open * 3 + (all - open) * weight(0)));
        }
        // In the end all is said, but for what waits behind an open one of its group.
        for id in stored.union(&back).filter(|id| !gone.contains(*id)) {
            let blocked = (0..*id).any(|before| {
                group_of[before as usize] == group_of[*id as usize] && !stored.contains(&before) && !back.contains(&before)
            });
            prop_assert!(group_of[*id as usize] > 0 && blocked, "{id} was forgotten");
        }
    }
}
