//! The numbers of steps and runs: how they follow from the facts, and how a row's version grows with them.
//!
//! Pure code without I/O. Everything here is a function of a **set** of facts: duplicates are told apart before they get
//! here, order does not matter. Stores that compute in SQL do the same sums and are tested against this.
//!
//! # Versions
//!
//! Two workers may recompute one row from different states of the facts and write in any order. The row with the
//! greater [`Version`] wins, so a version must grow with every fact its row may have seen. It is a sum of counters:
//!
//! | fact | counter |
//! |---|---|
//! | decision | 1 + the upper 160 bits of its SHA-256 |
//! | report | 1 + (`rank` << 204 \| `completedAt` in milliseconds, 0 where null << 160 \| the upper 160 bits of its SHA-256) |
//! | link (step, run) | 1 |
//!
//! - a **step** row counts its distinct decisions, its newest report, and for every run it was ever linked to the link
//!   and that run's newest report (from which its `pipeline_id` may come);
//! - a **run** row counts its newest report, and for every step that was ever linked to it the link, that step's distinct
//!   decisions and its newest report.
//!
//! A step is linked to a run by any report or decision that names both, also by one that lost to a newer report. Why it
//! has to be so:
//! - The hash is part of the counter because a fact may be *replaced*: by a newer report of equal rank, or by the
//!   greater of two conflicting decisions. A mere count would stay the same. What replaces is greater in exactly the order
//!   of the counters, so the sum grows.
//! - A link is never removed, and counts for ever. A step that moves to another run would otherwise take its counters
//!   with it, the version of the run it left would fall, and its stale row would win.
//! - A duplicate adds nothing, a clock plays no part: the version, like the row, is the same whatever the order.
//!
//! A report's counter is below 2^206 and a decision's is at most 2^160, so that no sum comes near 2^248. The bits from
//! there up are free for an epoch, which a repair that takes facts away can raise.

mod order;
mod rows;
#[cfg(test)]
mod tests;
mod totals;
mod version;

pub use order::{ReportOrder, report_order};
pub use rows::{LinkedRun, RunRow, StepFacts, StepRow, run_row, step_row};
pub use totals::StepTotals;
pub use version::Version;
