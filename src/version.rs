//! Which build this is.

use crate::queue::COMPILED_IN;
use std::sync::LazyLock;

/// The version in `Cargo.toml`, which is the only place that has one.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit, or `unknown`; see `build.rs`.
pub const REVISION: &str = env!("XRAY_REVISION");

/// What `--version` says after the name.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| format!("{VERSION} (revision {REVISION}; queues {})", COMPILED_IN.join(", ")));
    &TEXT
}
