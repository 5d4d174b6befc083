//! Subjects and the wildcards in them.

use crate::event::Kind;

/// Whether this can be the filter of a consumer: words between dots, `*` for any one and `>` for all that follow.
pub(super) fn is_valid(filter: &str) -> bool {
    let words: Vec<_> = filter.split('.').collect();
    words.iter().enumerate().all(|(at, word)| {
        let wild = word.contains(['*', '>']);
        let last = at + 1 == words.len();
        !word.is_empty() && !word.contains(char::is_whitespace) && (!wild || *word == "*" || (*word == ">" && last))
    })
}

/// Whether everything that `narrow` matches is matched by `wide` as well.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    let (mut wide, mut narrow) = (wide.split('.'), narrow.split('.'));
    loop {
        match (wide.next(), narrow.next()) {
            (None, None) | (Some(">"), Some(_)) => return true,
            (Some("*"), Some(word)) if word != ">" => {}
            (Some(left), Some(right)) if left == right => {}
            _ => return false,
        }
    }
}

/// Whether there is a subject that both match.
pub(super) fn overlap(left: &str, right: &str) -> bool {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        match (left.next(), right.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some("*"), Some(_)) | (Some(_), Some("*")) => {}
            (Some(left), Some(right)) if left == right => {}
            _ => return false,
        }
    }
}

/// Where messages are published that a consumer with this filter receives: one for each kind, where it leaves the last
/// word open. `None`: it leaves open more than that.
pub(crate) fn destinations(filter: &str) -> Option<Vec<String>> {
    let (before, last) = filter.rsplit_once('.').unwrap_or(("", filter));
    if before.contains('*') {
        return None;
    }
    if !matches!(last, "*" | ">") {
        return Some(vec![filter.to_owned()]);
    }
    let dot = if before.is_empty() { "" } else { "." };
    let kinds = [Kind::Decision, Kind::Step, Kind::Run];
    Some(kinds.map(|kind| format!("{before}{dot}{}", kind.plural())).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn which_can_be_filters() {
        for filter in ["xray.>", ">", "*", "a", "a.*.c", "a.b-c.d_e", "ä"] {
            assert!(is_valid(filter), "{filter}");
        }
        for filter in ["", ".", "a.", ".a", "a..b", "a.>.b", "a.b*", "a b", "a.\t", ">>"] {
            assert!(!is_valid(filter), "{filter}");
        }
    }

    #[test]
    fn where_to_publish() {
        let to = |filter| destinations(filter).map(|all| all.join(" "));
        assert_eq!(to("xray.>").unwrap(), "xray.decisions xray.steps xray.runs");
        assert_eq!(to("a.b.*").unwrap(), "a.b.decisions a.b.steps a.b.runs");
        assert_eq!(to(">").unwrap(), "decisions steps runs");
        assert_eq!(to("a.b").unwrap(), "a.b");
        assert_eq!(to("events").unwrap(), "events");
        assert_eq!(to("*.b.>"), None);
        assert_eq!(to("*.b"), None);
    }

    #[test]
    fn wider_and_narrower() {
        for (wide, narrow) in [("xray.>", "xray.>"), ("xray.>", "xray.runs"), (">", "a.b"), ("a.*", "a.b"), ("*", "*")]
        {
            assert!(covers(wide, narrow), "{wide} {narrow}");
        }
        for (wide, narrow) in
            [("xray.runs", "xray.>"), ("xray.>", "xray"), ("a.*", "a.>"), ("a.*", "a.b.c"), ("a", "b")]
        {
            assert!(!covers(wide, narrow), "{wide} {narrow}");
        }
        assert!(overlap("a.*", "*.b") && overlap("a.>", "*.*.c") && overlap("a", "a"));
        assert!(!overlap("a.*", "b.>") && !overlap("a.>", "a") && !overlap("a.b", "a"));
    }

    fn word() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "b", "*"])
    }

    fn filter() -> impl Strategy<Value = String> {
        (prop::collection::vec(word(), 1..4), any::<bool>())
            .prop_map(|(words, open)| words.join(".") + if open { ".>" } else { "" })
    }

    fn subject() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["a", "b"]), 1..5).prop_map(|words| words.join("."))
    }

    proptest! {
        #[test]
        fn what_covers_matches_all_and_what_overlaps_some(wide in filter(), narrow in filter(), subject in subject()) {
            if covers(&wide, &narrow) && covers(&narrow, &subject) {
                prop_assert!(covers(&wide, &subject));
            }
            if covers(&wide, &subject) && covers(&narrow, &subject) {
                prop_assert!(overlap(&wide, &narrow));
            }
            prop_assert_eq!(overlap(&wide, &narrow), overlap(&narrow, &wide));
        }
    }
}
