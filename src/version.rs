//! Which build this is.

use std::sync::LazyLock;

/// The version in `Cargo.toml`, which is the only place that has one.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit, or `unknown`; see `build.rs`.
pub const REVISION: &str = env!("XRAY_REVISION");

/// The queue backends it was built with.
pub const COMPILED_IN: &[&str] = &[
    #[cfg(feature = "memory")]
    "memory",
    #[cfg(feature = "kafka")]
    "kafka",
    #[cfg(feature = "rabbitmq")]
    "rabbitmq",
    #[cfg(feature = "nats")]
    "nats",
    #[cfg(feature = "sqs")]
    "sqs",
];

/// What `--version` says after the name.
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| format!("{VERSION} (revision {REVISION}; queues {})", COMPILED_IN.join(", ")));
    &TEXT
}
