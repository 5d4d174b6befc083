//! Which records were given out, and how far each partition may be committed. Pure code without I/O.

use crate::queue::frontier::Frontier;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// An assignment: one partition, from when it was assigned to us until it is taken away. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Assignment(u64);

/// A place in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

/// The partitions that are ours, each with the frontier of its assignment. What belongs to an older assignment of the
/// same partition settles nothing: somebody else may have gone on from the offset that was committed then.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    next: u64,
    live: BTreeMap<Assignment, Assigned>,
    by_topic: HashMap<Arc<str>, BTreeMap<i32, Assignment>>,
}

#[derive(Debug)]
struct Assigned {
    topic: Arc<str>,
    partition: i32,
    /// For people: topic and partition.
    origin: Arc<str>,
    frontier: Frontier,
    /// From here on not all is settled; `None` before the first record.
    from: Option<i64>,
    /// The offset to go on from, once all before it is settled; not yet stored.
    unstored: Option<i64>,
    /// Given out, and dropped unsettled by whoever held them: to be fetched once more.
    dropped: BTreeSet<u64>,
    /// Some of those were dropped since the last rewind.
    rewind: bool,
}

impl Offsets {
    /// The partition is ours from now on.
    pub(super) fn assign(&mut self, topic: &str, partition: i32) {
        self.revoke(topic, partition);
        let (assignment, topic) = (Assignment(self.next), Arc::<str>::from(topic));
        self.next += 1;
        self.by_topic.entry(topic.clone()).or_default().insert(partition, assignment);
        let assigned = Assigned {
            origin: format!("{topic}/{partition}").into(),
            topic,
            partition,
            frontier: Frontier::default(),
            from: None,
            unstored: None,
            dropped: BTreeSet::new(),
            rewind: false,
        };
        self.live.insert(assignment, assigned);
    }

    /// The partition is not ours any more. Returns the assignment that ended.
    pub(super) fn revoke(&mut self, topic: &str, partition: i32) -> Option<Assignment> {
        let assignment = self.by_topic.get_mut(topic)?.remove(&partition)?;
        self.live.remove(&assignment);
        Some(assignment)
    }

    /// None is ours any more.
    pub(super) fn revoke_all(&mut self) {
        self.by_topic.clear();
        self.live.clear();
    }

    /// A record was fetched. `None` where nobody is to have it: it is not ours, or was given out before and is held by
    /// somebody or settled. Else its assignment, and where it comes from, for people.
    pub(super) fn give(&mut self, topic: &str, partition: i32, offset: i64) -> Option<(Assignment, Arc<str>)> {
        let assignment = *self.by_topic.get(topic)?.get(&partition)?;
        let assigned = self.live.get_mut(&assignment)?;
        let at = u64::try_from(offset).ok()?;
        assigned.from.get_or_insert(offset);
        let given = assigned.frontier.give(at) || assigned.dropped.remove(&at);
        given.then(|| (assignment, assigned.origin.clone()))
    }

    /// A record is settled. Of an assignment that has ended that means nothing.
    pub(super) fn settle(&mut self, assignment: Assignment, offset: i64) {
        let (Some(assigned), Ok(at)) = (self.live.get_mut(&assignment), u64::try_from(offset)) else { return };
        if let Some(frontier) = assigned.frontier.settle(at).and_then(|last| i64::try_from(last).ok()) {
            assigned.from = Some(frontier + 1);
            assigned.unstored = assigned.from;
        }
    }

    /// A record was dropped by whoever held it.
    pub(super) fn dropped(&mut self, assignment: Assignment, offset: i64) {
        let (Some(assigned), Ok(at)) = (self.live.get_mut(&assignment), u64::try_from(offset)) else { return };
        if assigned.frontier.is_open(at) && assigned.dropped.insert(at) {
            assigned.rewind = true;
        }
    }

    /// How far each partition may be committed by now, where that has moved since it was last asked.
    pub(super) fn storable(&mut self) -> Vec<Position> {
        let moved = |it: &mut Assigned| it.unstored.take().map(|offset| it.at(offset));
        self.live.values_mut().filter_map(moved).collect()
    }

    /// Where to fetch from once more.
    pub(super) fn rewinds(&mut self) -> Vec<Position> {
        let from = |it: &mut Assigned| {
            let first = it.dropped.first().filter(|_| std::mem::take(&mut it.rewind))?;
            Some(it.at(i64::try_from(*first).ok()?))
        };
        self.live.values_mut().filter_map(from).collect()
    }

    /// That rewind did not work; it is to be tried again.
    pub(super) fn not_rewound(&mut self, position: &Position) {
        let assigned =
            self.live.values_mut().find(|it| it.topic == position.topic && it.partition == position.partition);
        if let Some(assigned) = assigned {
            assigned.rewind = true;
        }
    }

    /// From where on not all of a partition is settled, where a record of it was given out since it is ours.
    pub(super) fn unsettled_from(&self, topic: &str, partition: i32) -> Option<i64> {
        self.live.get(self.by_topic.get(topic)?.get(&partition)?)?.from
    }

    /// The longest way that any partition has gone beyond an open record.
    pub(super) fn longest_span(&self) -> usize {
        self.live.values().map(|it| it.frontier.span()).max().unwrap_or(0)
    }
}

impl Assigned {
    fn at(&self, offset: i64) -> Position {
        Position { topic: self.topic.clone(), partition: self.partition, offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stored(offsets: &mut Offsets) -> Vec<i64> {
        offsets.storable().into_iter().map(|position| position.offset).collect()
    }

    #[test]
    fn nothing_of_an_older_assignment_counts() {
        let mut offsets = Offsets::default();
        offsets.assign("t", 0);
        let (old, origin) = offsets.give("t", 0, 5).unwrap();
        assert_eq!(&*origin, "t/0");
        offsets.revoke("t", 0);
        offsets.settle(old, 5);
        offsets.dropped(old, 5);
        assert!(offsets.give("t", 0, 6).is_none(), "not ours");
        offsets.assign("t", 0);
        offsets.settle(old, 5);
        let (new, _) = offsets.give("t", 0, 5).unwrap();
        offsets.settle(old, 5);
        assert_eq!((stored(&mut offsets), offsets.rewinds()), (vec![], vec![]));
        assert_eq!(offsets.unsettled_from("t", 0), Some(5));
        offsets.settle(new, 5);
        assert_eq!((stored(&mut offsets), offsets.unsettled_from("t", 0)), (vec![6], Some(6)));
        assert_eq!(stored(&mut offsets), [0; 0], "once");
    }

    #[test]
    fn what_is_dropped_is_fetched_again_and_nothing_else() {
        let mut offsets = Offsets::default();
        offsets.assign("t", 3);
        let given: Vec<_> = (0..5).map(|at| offsets.give("t", 3, at).unwrap().0).collect();
        offsets.settle(given[2], 2);
        for dropped in [3, 1] {
            offsets.dropped(given[0], dropped);
        }
        let rewind = offsets.rewinds();
        assert_eq!(rewind, [Position { topic: "t".into(), partition: 3, offset: 1 }]);
        assert!(offsets.rewinds().is_empty());
        offsets.not_rewound(&rewind[0]);
        assert_eq!(offsets.rewinds(), rewind);
        let again: Vec<i64> = (1..6).filter(|&at| offsets.give("t", 3, at).is_some()).collect();
        assert_eq!(again, [1, 3, 5], "0 and 4 are held, 2 is settled, 5 is new");
        assert_eq!(offsets.longest_span(), 6);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Assign,
        Revoke,
        Fetch(u8),
        Settle(prop::sample::Index),
        Drop(prop::sample::Index),
        Rewind,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => Just(Step::Assign),
            1 => Just(Step::Revoke),
            6 => (1..4_u8).prop_map(Step::Fetch),
            6 => any::<prop::sample::Index>().prop_map(Step::Settle),
            2 => any::<prop::sample::Index>().prop_map(Step::Drop),
            2 => Just(Step::Rewind),
        ]
    }

    proptest! {
        /// One partition of a broker that gives from what was committed: whatever happens, everything below the
        /// committed offset was settled while it was ours, offsets only grow in an assignment, and nobody holds a
        /// record of one assignment twice.
        #[test]
        fn never_past_an_unsettled_record(steps in prop::collection::vec(step(), 0..200)) {
            let mut offsets = Offsets::default();
            let (mut ours, mut committed, mut next, mut floor) = (false, 0_i64, 0_i64, 0_i64);
            let mut settled = BTreeSet::new();
            let mut held: Vec<(Assignment, i64)> = Vec::new();
            for step in steps {
                match step {
                    Step::Assign if !ours => {
                        offsets.assign("t", 0);
                        (ours, next, floor) = (true, committed, committed);
                    }
                    Step::Revoke if ours => {
                        offsets.revoke("t", 0);
                        ours = false;
                    }
                    Step::Fetch(count) if ours => for _ in 0..count {
                        // Compaction leaves gaps.
                        next += i64::from(next % 7 == 3);
                        if let Some((assignment, _)) = offsets.give("t", 0, next) {
                            prop_assert!(!held.contains(&(assignment, next)));
                            held.push((assignment, next));
                        }
                        next += 1;
                    },
                    Step::Settle(index) if !held.is_empty() => {
                        let (assignment, at) = held.swap_remove(index.index(held.len()));
                        settled.insert(at);
                        offsets.settle(assignment, at);
                    }
                    Step::Drop(index) if !held.is_empty() => {
                        let (assignment, at) = held.swap_remove(index.index(held.len()));
                        offsets.dropped(assignment, at);
                    }
                    Step::Rewind => for position in offsets.rewinds() {
                        next = position.offset;
                    },
                    _ => {}
                }
                for position in offsets.storable() {
                    prop_assert!(ours && position.offset > floor);
                    (committed, floor) = (position.offset, position.offset);
                    for at in (0..committed).filter(|at| at % 7 != 3) {
                        prop_assert!(settled.contains(&at), "{at} is not settled, and {committed} committed");
                    }
                }
            }
        }
    }
}
