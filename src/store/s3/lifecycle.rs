//! Rules of a bucket that take raw objects away, or put them where they cannot be read. Pure but for where they come from.

use crate::check::Findings;
use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule, TransitionStorageClass};

/// What our objects are below.
const OURS: [&str; 4] = ["decisions/", "steps/", "runs/", "dead-letters/"];

/// A rule that is enabled and may concern our objects.
#[derive(Debug, Clone, Default)]
pub(super) struct Rule {
    id: String,
    prefix: String,
    /// When objects are deleted, in words.
    expires: Option<String>,
    /// When they are archived, in words.
    archives: Option<String>,
}

impl Rule {
    /// `None` for one that does nothing, or that asks for tags, which our objects do not have.
    pub(super) fn of(rule: &LifecycleRule) -> Option<Rule> {
        let filter = rule.filter();
        let and = filter.and_then(|filter| filter.and());
        let tagged =
            filter.is_some_and(|filter| filter.tag().is_some()) || and.is_some_and(|and| !and.tags().is_empty());
        if rule.status() != &ExpirationStatus::Enabled || tagged {
            return None;
        }
        #[allow(deprecated)] // servers other than AWS's still answer so
        let old = rule.prefix();
        let prefix = filter.and_then(|filter| filter.prefix()).or(and.and_then(|and| and.prefix())).or(old);
        let when = |days: Option<i32>, dated: bool| match days {
            Some(days) => format!("after {days} days"),
            None if dated => "from a date on".to_owned(),
            None => "at some time".to_owned(),
        };
        let expiration = rule.expiration().filter(|it| it.days().is_some() || it.date().is_some());
        let archive = rule.transitions().iter().find(|transition| {
            matches!(
                transition.storage_class(),
                Some(TransitionStorageClass::Glacier | TransitionStorageClass::DeepArchive)
            )
        });
        Some(Rule {
            id: rule.id().unwrap_or("without a name").to_owned(),
            prefix: prefix.unwrap_or_default().to_owned(),
            expires: expiration.map(|it| when(it.days(), it.date().is_some())),
            archives: archive.map(|it| when(it.days(), it.date().is_some())),
        })
    }

    fn concerns(&self) -> Vec<&'static str> {
        let concerned = |ours: &&&str| ours.starts_with(&self.prefix) || self.prefix.starts_with(**ours);
        OURS.iter().filter(concerned).copied().collect()
    }
}

/// Says which of them would take what away.
pub(super) fn judge(rules: impl Iterator<Item = Rule>, found: &mut Findings) {
    let mut any = false;
    for rule in rules {
        let below = rule.concerns().join(", ");
        let (Rule { id, expires, archives, .. }, concerned) = (&rule, !below.is_empty());
        if let (Some(when), true) = (expires, concerned) {
            any = true;
            found.warn(
                format!("the lifecycle rule {id} deletes objects below {below} {when}"),
                "see that their rows go before them (docs/retention.md), or take the rule away: raw objects are what tables \
                 are rebuilt from",
            );
        }
        if let (Some(when), true) = (archives, concerned) {
            any = true;
            found.warn(
                format!("the lifecycle rule {id} archives objects below {below} {when}"),
                "an event that comes again later becomes a dead letter, as it cannot be compared any more; archive later than \
                 events repeat",
            );
        }
    }
    if !any {
        found.ok("no lifecycle rule takes our objects away");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use aws_sdk_s3::types::{LifecycleExpiration, LifecycleRuleFilter, Tag, Transition};

    fn said(rule: aws_sdk_s3::types::builders::LifecycleRuleBuilder) -> Vec<(Level, String)> {
        let mut found = Findings::about("s3");
        judge(Rule::of(&rule.id("r").build().unwrap()).into_iter(), &mut found);
        found.into_all().into_iter().map(|finding| (finding.level, finding.text)).collect()
    }

    fn expiring(prefix: &str) -> aws_sdk_s3::types::builders::LifecycleRuleBuilder {
        LifecycleRule::builder()
            .status(ExpirationStatus::Enabled)
            .expiration(LifecycleExpiration::builder().days(30).build())
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
    }

    #[test]
    fn what_would_eat_raw_objects() {
        for (prefix, below) in [
            ("", "decisions/, steps/, runs/, dead-letters/"),
            ("runs/2026/", "runs/"),
            ("de", "decisions/, dead-letters/"),
        ] {
            let expected = format!("the lifecycle rule r deletes objects below {below} after 30 days");
            assert_eq!(said(expiring(prefix)), [(Level::Warn, expected)], "{prefix:?}");
        }
        let archive = Transition::builder().days(7).storage_class(TransitionStorageClass::Glacier).build();
        let archiving = LifecycleRule::builder().status(ExpirationStatus::Enabled).transitions(archive);
        assert!(said(archiving)[0].1.contains("archives objects below decisions/"));
    }

    #[test]
    fn what_would_not() {
        let tagged = LifecycleRuleFilter::builder().tag(Tag::builder().key("a").value("b").build().unwrap()).build();
        let cool = Transition::builder().days(7).storage_class(TransitionStorageClass::StandardIa).build();
        for harmless in [
            expiring("logs/"),
            expiring("").status(ExpirationStatus::Disabled),
            expiring("").filter(tagged),
            LifecycleRule::builder().status(ExpirationStatus::Enabled).transitions(cool),
        ] {
            assert_eq!(said(harmless)[0].0, Level::Ok);
        }
    }
}
