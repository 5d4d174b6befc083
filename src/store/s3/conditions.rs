//! Which conditions on a write the server enforces.

use std::sync::RwLock;

/// What was found out about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Enforced {
    /// To write only where nothing is.
    pub(super) if_none_match: bool,
    /// To write only over what was read.
    pub(super) if_match: bool,
}

impl Enforced {
    pub(super) const BOTH: Enforced = Enforced { if_none_match: true, if_match: true };

    /// What is lost without the missing ones, if any is missing.
    pub(super) fn warning(self) -> Option<String> {
        let missing = match self {
            Enforced::BOTH => return None,
            Enforced { if_none_match: false, if_match: false } => "If-None-Match and If-Match",
            Enforced { if_none_match: false, .. } => "If-None-Match",
            Enforced { if_match: false, .. } => "If-Match",
        };
        Some(format!(
            "this server ignores conditions on writes ({missing}): the worker looks before it writes instead, which is \
             right as long as it is the only one that writes to this bucket; with several workers an older report may \
             replace a newer one, and of two conflicting decisions one may be lost"
        ))
    }
}

/// What is known by now, shared by all that write.
#[derive(Debug)]
pub(super) struct Conditions(RwLock<Enforced>);

impl Default for Conditions {
    fn default() -> Self {
        Conditions(RwLock::new(Enforced::BOTH))
    }
}

impl Conditions {
    pub(super) fn get(&self) -> Enforced {
        *self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn set(&self, enforced: Enforced) {
        *self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = enforced;
    }
}
