//! Which records were given out, and how far each partition may be committed. Pure code without I/O.
//!
//! Records of a partition come in rising order, but for two reasons to go back: we asked to fetch some once more, or the
//! log itself begins again, because its topic was deleted and created anew or its end was cut off. Then what has the same
//! offset is another record.

use crate::event::{Kind, kind_hint};
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
    /// What the name of the topic tells about its events.
    hint: Option<Kind>,
    frontier: Frontier,
    /// The last record that was fetched; what comes next lies beyond, unless the log begins again.
    fetched: Option<i64>,
    /// From here on not all is settled; `None` before the first record.
    from: Option<i64>,
    /// The offset to go on from, once all before it is settled; not yet stored.
    unstored: Option<i64>,
    /// Given out, and dropped unsettled by whoever held them: to be fetched once more.
    dropped: BTreeSet<u64>,
    /// Some of those were dropped since the last rewind.
    rewind: bool,
    /// It has gone so far beyond an open record that no more of it is fetched for now.
    held_back: bool,
}

/// What [`Offsets::give`] says of a record that somebody is to have.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) assignment: Assignment,
    /// Where it comes from, for people.
    pub(super) origin: Arc<str>,
    /// What the name of its topic tells about it.
    pub(super) hint: Option<Kind>,
    /// It is the first of a log that begins again, so it is from here that the partition is to be committed.
    pub(super) anew: bool,
}

impl Offsets {
    /// The partition is ours from now on. Everything before `committed` has been given out to somebody, where that is known.
    pub(super) fn assign(&mut self, topic: &str, partition: i32, committed: Option<i64>) {
        self.revoke(topic, partition);
        let (assignment, topic) = (Assignment(self.next), Arc::<str>::from(topic));
        self.next += 1;
        self.by_topic.entry(topic.clone()).or_default().insert(partition, assignment);
        let assigned = Assigned {
            origin: format!("{topic}/{partition}").into(),
            hint: kind_hint(None, &topic),
            topic,
            partition,
            frontier: Frontier::default(),
            fetched: committed.map(|offset| offset - 1),
            from: None,
            unstored: None,
            dropped: BTreeSet::new(),
            rewind: false,
            held_back: false,
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

    /// Whether none is ours.
    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// A record was fetched. `None` where nobody is to have it: it is not ours, or was given out before and is held by
    /// somebody or settled. Where its log begins again that is a new assignment; the one before has ended.
    pub(super) fn give(&mut self, topic: &str, partition: i32, offset: i64) -> Option<Given> {
        let at = u64::try_from(offset).ok()?;
        let mut assignment = *self.by_topic.get(topic)?.get(&partition)?;
        let anew = self.live.get(&assignment)?.fetched.is_some_and(|fetched| offset <= fetched);
        if anew {
            self.assign(topic, partition, None);
            assignment = *self.by_topic.get(topic)?.get(&partition)?;
        }
        let assigned = self.live.get_mut(&assignment)?;
        assigned.fetched = Some(offset);
        assigned.from.get_or_insert(offset);
        let given = assigned.frontier.give(at) || assigned.dropped.remove(&at);
        given.then(|| Given { assignment, origin: assigned.origin.clone(), hint: assigned.hint, anew })
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

    /// Storing these did not work; they are to be told of again.
    pub(super) fn not_stored(&mut self, positions: &[Position]) {
        for position in positions {
            if let Some(assigned) = self.assigned(position) {
                assigned.unstored.get_or_insert(position.offset);
            }
        }
    }

    /// Where to fetch from once more.
    pub(super) fn rewinds(&mut self) -> Vec<Position> {
        let from = |it: &mut Assigned| {
            let first = it.dropped.first().filter(|_| std::mem::take(&mut it.rewind))?;
            let first = i64::try_from(*first).ok()?;
            it.fetched = it.fetched.map(|fetched| fetched.min(first - 1));
            Some(it.at(first))
        };
        self.live.values_mut().filter_map(from).collect()
    }

    /// That rewind did not work; it is to be tried again.
    pub(super) fn not_rewound(&mut self, position: &Position) {
        if let Some(assigned) = self.assigned(position) {
            assigned.rewind = true;
        }
    }

    fn assigned(&mut self, position: &Position) -> Option<&mut Assigned> {
        self.live.get_mut(self.by_topic.get(&position.topic)?.get(&position.partition)?)
    }

    /// Decides which partitions are held back: those that have gone `most` beyond an open record, until they are within half
    /// of that again. Returns those that were not before. What was dropped could not come again if its partition was held
    /// back.
    pub(super) fn hold_back(&mut self, most: usize) -> Vec<Position> {
        let mut newly = Vec::new();
        for it in self.live.values_mut() {
            let bound = if it.held_back { most / 2 } else { most };
            let far = it.frontier.span() >= bound && it.dropped.is_empty();
            if far && !it.held_back {
                newly.push(it.at(it.fetched.unwrap_or_default()));
            }
            it.held_back = far;
        }
        newly
    }

    /// What is ours: topic, partition, whether it is held back.
    pub(super) fn partitions(&self) -> impl Iterator<Item = (&Arc<str>, i32, bool)> {
        self.live.values().map(|it| (&it.topic, it.partition, it.held_back))
    }

    /// From where on not all of a partition is settled, where a record of it was given out since it is ours.
    pub(super) fn unsettled_from(&self, topic: &str, partition: i32) -> Option<i64> {
        self.live.get(self.by_topic.get(topic)?.get(&partition)?)?.from
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
        offsets.assign("t", 0, None);
        let Given { assignment: old, origin, .. } = offsets.give("t", 0, 5).unwrap();
        assert_eq!(&*origin, "t/0");
        offsets.revoke("t", 0);
        offsets.settle(old, 5);
        offsets.dropped(old, 5);
        assert!(offsets.give("t", 0, 6).is_none(), "not ours");
        offsets.assign("t", 0, None);
        offsets.settle(old, 5);
        let new = offsets.give("t", 0, 5).unwrap().assignment;
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
        offsets.assign("t", 3, None);
        let given: Vec<_> = (0..5).map(|at| offsets.give("t", 3, at).unwrap().assignment).collect();
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
        assert!(!offsets.give("t", 3, 9).unwrap().anew, "that was no log that begins again");
    }

    #[test]
    fn a_log_that_begins_again() {
        let mut offsets = Offsets::default();
        offsets.assign("t", 0, None);
        let old: Vec<_> = (0..4).map(|at| offsets.give("t", 0, at).unwrap().assignment).collect();
        offsets.settle(old[0], 0);
        offsets.dropped(old[2], 2);
        assert_eq!(offsets.rewinds()[0].offset, 2);
        let first = offsets.give("t", 0, 1).unwrap();
        assert!(first.anew && first.assignment != old[1], "lower than where we went back to");
        assert!(offsets.give("t", 0, 2).is_some_and(|given| !given.anew));
        offsets.settle(old[1], 1);
        assert_eq!((stored(&mut offsets), offsets.rewinds()), (vec![], vec![]));
        offsets.settle(first.assignment, 1);
        assert_eq!(stored(&mut offsets), [2]);
        assert!(offsets.give("t", 0, 2).unwrap().anew, "the same offset is another record");
    }

    #[test]
    fn a_log_that_began_again_while_it_was_nobodys() {
        let mut offsets = Offsets::default();
        offsets.assign("t", 0, Some(200));
        assert!(offsets.give("t", 0, 0).unwrap().anew);
        assert!(!offsets.give("t", 0, 1).unwrap().anew);
        offsets.assign("t", 0, Some(200));
        assert!(!offsets.give("t", 0, 200).unwrap().anew);
    }

    #[test]
    fn what_could_not_be_stored_is_told_of_again() {
        let mut offsets = Offsets::default();
        offsets.assign("t", 0, None);
        let assignment = [0, 1].map(|at| offsets.give("t", 0, at).unwrap().assignment)[0];
        offsets.settle(assignment, 0);
        let positions = offsets.storable();
        offsets.not_stored(&positions);
        assert_eq!(offsets.storable(), positions);
        offsets.settle(assignment, 1);
        offsets.not_stored(&positions);
        assert_eq!(stored(&mut offsets), [2], "never back");
    }

    #[test]
    fn only_the_partition_that_has_gone_too_far_is_held_back() {
        let mut offsets = Offsets::default();
        offsets.assign("t", 0, None);
        offsets.assign("t", 1, None);
        let given: Vec<_> = (0..10).map(|at| offsets.give("t", 0, at).unwrap().assignment).collect();
        offsets.give("t", 1, 0);
        let held_back = |offsets: &mut Offsets| {
            let newly = offsets.hold_back(10).len();
            let all: Vec<_> =
                offsets.partitions().filter(|(_, _, held)| *held).map(|(_, partition, _)| partition).collect();
            (newly, all)
        };
        assert_eq!(held_back(&mut offsets), (1, vec![0]));
        assert_eq!(held_back(&mut offsets), (0, vec![0]));
        offsets.dropped(given[0], 0);
        assert_eq!(held_back(&mut offsets), (0, vec![]), "or it would never come again");
        offsets.rewinds();
        offsets.give("t", 0, 0);
        assert_eq!(held_back(&mut offsets), (1, vec![0]));
        (0..4).for_each(|at| offsets.settle(given[0], at));
        assert_eq!(held_back(&mut offsets), (0, vec![0]));
        (4..6).for_each(|at| offsets.settle(given[0], at));
        assert_eq!(held_back(&mut offsets), (0, vec![]));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Assign,
        Revoke,
        Fetch(u8),
        Settle(prop::sample::Index),
        Drop(prop::sample::Index),
        Rewind,
        Recreate,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => Just(Step::Assign),
            1 => Just(Step::Revoke),
            6 => (1..4_u8).prop_map(Step::Fetch),
            6 => any::<prop::sample::Index>().prop_map(Step::Settle),
            2 => any::<prop::sample::Index>().prop_map(Step::Drop),
            2 => Just(Step::Rewind),
            1 => Just(Step::Recreate),
        ]
    }

    proptest! {
        /// One partition of a broker that gives from what was committed, and whose log now and then begins again: whatever
        /// happens, everything below the committed offset was settled while it was ours, offsets only grow in an
        /// assignment, nobody holds a record of one assignment twice, and of a new log no record is skipped.
        #[test]
        fn never_past_an_unsettled_record(steps in prop::collection::vec(step(), 0..200)) {
            let mut offsets = Offsets::default();
            let (mut ours, mut committed, mut next, mut floor) = (false, 0_i64, 0_i64, 0_i64);
            // Which log a record is of: offsets alone do not tell.
            let (mut log, mut fetched, mut begins) = (0_u32, false, false);
            // Having just gone back to the very beginning nobody could tell a new log from the old one.
            let mut at_the_beginning = false;
            let mut settled = BTreeSet::new();
            let mut held: Vec<(Assignment, u32, i64)> = Vec::new();
            for step in steps {
                match step {
                    Step::Assign if !ours => {
                        offsets.assign("t", 0, Some(committed).filter(|offset| *offset > 0));
                        (ours, next, floor, fetched, begins) = (true, committed, committed, committed > 0, false);
                        at_the_beginning = false;
                    }
                    Step::Revoke if ours => {
                        offsets.revoke("t", 0);
                        ours = false;
                    }
                    Step::Recreate if !at_the_beginning => {
                        // Of an old one that had nothing there is nothing to take the new one for.
                        (log, next, committed, floor, begins) = (log + 1, 0, 0, 0, ours && fetched);
                    }
                    Step::Fetch(count) if ours => for _ in 0..count {
                        // Compaction leaves gaps.
                        next += i64::from(next % 7 == 3);
                        if let Some(Given { assignment, anew, .. }) = offsets.give("t", 0, next) {
                            prop_assert!(!held.iter().any(|(of, _, at)| (*of, *at) == (assignment, next)));
                            prop_assert_eq!(anew, begins);
                            held.push((assignment, log, next));
                        } else {
                            prop_assert!(!begins, "{next} of a new log is skipped");
                        }
                        next += 1;
                        (fetched, begins, at_the_beginning) = (true, false, false);
                    },
                    Step::Settle(index) if !held.is_empty() => {
                        let (assignment, of, at) = held.swap_remove(index.index(held.len()));
                        settled.insert((of, at));
                        offsets.settle(assignment, at);
                    }
                    Step::Drop(index) if !held.is_empty() => {
                        let (assignment, _, at) = held.swap_remove(index.index(held.len()));
                        offsets.dropped(assignment, at);
                    }
                    // Until it is noticed that the log begins again nothing can be fetched from where we were.
                    Step::Rewind if !begins => for position in offsets.rewinds() {
                        (next, at_the_beginning) = (position.offset, position.offset == 0);
                    },
                    _ => {}
                }
                for position in offsets.storable() {
                    // Of the old log until that is noticed: then it is committed from the new one's beginning.
                    if begins {
                        continue;
                    }
                    prop_assert!(ours && position.offset > floor);
                    (committed, floor) = (position.offset, position.offset);
                    for at in (0..committed).filter(|at| at % 7 != 3) {
                        prop_assert!(settled.contains(&(log, at)), "{at} is not settled, and {committed} committed");
                    }
                }
            }
        }
    }
}
