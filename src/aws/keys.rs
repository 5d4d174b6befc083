//! Credentials for requests that are signed by ourselves.

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::identity::Identity;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;

/// So long before they expire they are asked for again, as the SDK does it.
const MARGIN: Duration = Duration::from_secs(10);

/// What a provider gives, kept until shortly before it expires.
#[derive(Debug)]
pub(crate) struct Keys {
    provider: SharedCredentialsProvider,
    known: RwLock<Option<Identity>>,
    /// Held across the question, so that all who need the answer ask once.
    asking: Mutex<()>,
}

impl Keys {
    pub(crate) fn new(provider: SharedCredentialsProvider) -> Self {
        Keys { provider, known: RwLock::new(None), asking: Mutex::new(()) }
    }

    /// The credentials of now. Cancel safe.
    pub(crate) async fn get(&self) -> Result<Identity, CredentialsError> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let _asking = self.asking.lock().await;
        // Somebody else may have asked meanwhile.
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let identity = Identity::from(self.provider.provide_credentials().await?);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(identity.clone());
        Ok(identity)
    }

    fn known(&self) -> Option<Identity> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let fresh = known.expiration().is_none_or(|at| at > SystemTime::now() + MARGIN);
        fresh.then_some(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::future;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    #[derive(Debug)]
    struct Short(Arc<AtomicU32>, Duration);

    impl ProvideCredentials for Short {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let expires = SystemTime::now() + self.1;
            future::ProvideCredentials::new(async move {
                tokio::task::yield_now().await;
                let asked = self.0.fetch_add(1, Relaxed);
                Ok(Credentials::new(format!("key {asked}"), "secret", None, Some(expires), "test"))
            })
        }
    }

    #[tokio::test]
    async fn asked_once_and_again_before_they_expire() {
        for (life, asked) in [(3600, 1), (5, 8)] {
            let count = Arc::new(AtomicU32::new(0));
            let provider = SharedCredentialsProvider::new(Short(count.clone(), Duration::from_secs(life)));
            let keys = Keys::new(provider);
            let all = futures_util::future::join_all((0..8).map(|_| keys.get())).await;
            assert!(all.iter().all(Result::is_ok));
            assert_eq!(count.load(Relaxed), asked);
        }
    }
}
