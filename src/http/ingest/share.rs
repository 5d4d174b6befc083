use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What every request counts, whatever it has read: its buffers and its task.
const BASE_KIB: usize = 16;

/// Bounds what all requests together have read and not put in the queue yet.
#[derive(Debug, Clone)]
pub(super) struct Shares {
    /// A permit is a KiB: a semaphore gives out at most `u32::MAX` at once, which is little in bytes.
    kib: Arc<Semaphore>,
}

/// A request's part of it. It only grows; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Share {
    shares: Shares,
    permit: OwnedSemaphorePermit,
}

/// The others have it all.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoShare;

impl Shares {
    /// Room for `bytes` that one request has read, or several together.
    pub(super) fn new(bytes: usize) -> Self {
        let kib = bytes.div_ceil(1024).saturating_add(BASE_KIB).min(Semaphore::MAX_PERMITS);
        Shares { kib: Arc::new(Semaphore::new(kib)) }
    }

    /// The share of a request that has read next to nothing so far.
    pub(super) fn take(&self) -> Result<Share, NoShare> {
        Ok(Share { shares: self.clone(), permit: self.permit(BASE_KIB)? })
    }

    fn permit(&self, kib: usize) -> Result<OwnedSemaphorePermit, NoShare> {
        let permits = u32::try_from(kib).map_err(|_| NoShare)?;
        self.kib.clone().try_acquire_many_owned(permits).map_err(|_| NoShare)
    }
}

impl Share {
    /// Makes it large enough for a request that has read `bytes`.
    pub(super) fn cover(&mut self, bytes: usize) -> Result<(), NoShare> {
        let missing = bytes.div_ceil(1024).saturating_sub(self.permit.num_permits());
        if missing > 0 {
            self.permit.merge(self.shares.permit(missing)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_grow_until_all_is_given_out() {
        let shares = Shares::new(100 << 10);
        let mut one = shares.take().unwrap();
        assert_eq!(one.cover(100 << 10), Ok(()), "one request may have all of it");
        assert_eq!(one.cover(10), Ok(()), "a share does not shrink");
        let mut other = shares.take().unwrap();
        assert_eq!(other.cover(16 << 10), Ok(()));
        assert_eq!(other.cover((16 << 10) + 1), Err(NoShare));
        assert!(shares.take().is_err());
        drop(one);
        assert_eq!(other.cover(100 << 10), Ok(()));
    }
}
