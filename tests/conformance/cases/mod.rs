//! What only one broker does, or only its users expect.

#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod kafka_logins;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
