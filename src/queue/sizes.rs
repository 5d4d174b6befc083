//! How large messages have been of late. Pure code without I/O.

/// So many messages are one look at their sizes.
pub(super) const WINDOW: usize = 200;

/// Follows the sizes of the messages of one queue: the largest of late, not the mean, as a hundred small ones do not make
/// room for the next large one.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    /// The largest of the window before, and of this one.
    largest: (Option<usize>, Option<usize>),
    /// Of this window.
    seen: usize,
}

impl Sizes {
    /// A message with this body length came.
    pub(super) fn saw(&mut self, body_bytes: usize) {
        if self.seen == WINDOW {
            self.largest = (self.largest.1, None);
            self.seen = 0;
        }
        self.seen += 1;
        self.largest.1 = self.largest.1.max(Some(body_bytes));
    }

    /// The largest body of late; `None` where nothing was seen yet.
    pub(super) fn largest(&self) -> Option<usize> {
        self.largest.0.max(self.largest.1)
    }
}
