//! What only one broker does, or only its users expect.

#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod kafka_logins;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "nats")]
mod nats_logins;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(feature = "sqs")]
mod sqs;
#[cfg(feature = "sqs")]
mod sqs_proxy;
#[cfg(any(feature = "nats", feature = "rabbitmq"))]
mod taking;
