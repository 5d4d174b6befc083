//! Text that brings events to the size asked for.

use super::dice::{Dice, Purpose};
use super::events::Event;

const CORPUS_BYTES: usize = 64 * 1024;
/// Of the member that holds the text.
const OVERHEAD: usize = br#","context":"""#.len();
const WORDS: [&str; 24] = [
    "the",
    "item",
    "was",
    "compared",
    "with",
    "query",
    "context",
    "and",
    "score",
    "above",
    "threshold",
    "because",
    "its",
    "description",
    "mentions",
    "price",
    "delivery",
    "in",
    "stock",
    "review",
    "candidate",
    "answer",
    "source",
    "model",
];

#[derive(Debug)]
pub(super) struct Padding {
    event_bytes: usize,
    /// Plain ASCII without anything that JSON escapes: its length in JSON is its length.
    corpus: String,
    dice: Dice,
}

impl Padding {
    pub(super) fn new(seed: u64, event_bytes: usize) -> Self {
        let mut dice = Dice::new(seed, Purpose::Padding);
        let mut corpus = String::with_capacity(CORPUS_BYTES + 16);
        while event_bytes > 0 && corpus.len() < CORPUS_BYTES {
            corpus.push_str(dice.pick(&WORDS));
            corpus.push(' ');
        }
        Padding { event_bytes, corpus, dice }
    }

    /// Brings an event that is too small near the size.
    pub(super) fn fill(&mut self, event: &mut Event) {
        if self.event_bytes == 0 {
            return;
        }
        let size = self.event_bytes as u64;
        let size = self.dice.between(size - size / 5..=size + size / 5) as usize;
        let missing = size.saturating_sub(event.json().len() + OVERHEAD);
        if missing > 0 {
            let text = self.text(missing);
            event.add_context(&text);
        }
    }

    fn text(&mut self, length: usize) -> String {
        let mut text = String::with_capacity(length);
        while text.len() < length {
            let from = self.dice.between(0..=self.corpus.len() as u64 / 2) as usize;
            let to = self.corpus.len().min(from + length - text.len());
            text.push_str(&self.corpus[from..to]);
        }
        text
    }
}
