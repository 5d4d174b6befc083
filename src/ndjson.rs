//! NDJSON taken apart as it arrives. Pure code without I/O.

use crate::digest::Sha256;
use crate::pipeline::Cut;
use bytes::Bytes;
use memchr::memchr;
use sha2::Digest;

/// Splits a stream of bytes, in whatever chunks it comes, into lines. Blank lines are skipped, but counted; `\n` and
/// `\r\n` end a line, and so does the end of the stream. Holds no more than `max` bytes.
#[derive(Debug)]
pub struct Lines {
    max: usize,
    /// The line that has begun, counted from 1.
    number: u64,
    /// Its beginning, at most `max` bytes.
    kept: Vec<u8>,
    /// How long the line before was: mostly the next one is no longer, and then does not grow step by step.
    usual: usize,
    /// Set once it is longer than that.
    excess: Option<Excess>,
    /// It ends with a `\r`, for now: part of it only if more than a `\n` follows.
    carriage_return: bool,
}

/// What is known of all of something that is too long to be kept.
#[derive(Debug)]
pub(crate) struct Excess {
    bytes: u64,
    hash: sha2::Sha256,
}

impl Excess {
    /// Of what begins like this.
    pub(crate) fn after(beginning: &[u8]) -> Self {
        Excess { bytes: beginning.len() as u64, hash: sha2::Sha256::new_with_prefix(beginning) }
    }

    /// And goes on like this.
    pub(crate) fn add(&mut self, more: &[u8]) {
        self.bytes += more.len() as u64;
        self.hash.update(more);
    }

    /// It has ended.
    pub(crate) fn cut(self) -> Cut {
        Cut { full_bytes: self.bytes, sha256: Sha256(self.hash.finalize().into()) }
    }
}

/// A line without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which line of the stream, counted from 1.
    pub number: u64,
    /// All of it, or its first `max` bytes where `cut` is set. Shares memory with nothing.
    pub body: Bytes,
    /// Set where it is longer than `max` bytes.
    pub cut: Option<Cut>,
}

impl Lines {
    /// Lines of at most `max` bytes; longer ones are cut.
    pub fn new(max: usize) -> Self {
        Lines { max, number: 1, kept: Vec::new(), usual: 0, excess: None, carriage_return: false }
    }

    /// The next line that ends within `chunk`, which is advanced past it; `None` once the chunk is used up.
    pub fn next(&mut self, chunk: &mut &[u8]) -> Option<Line> {
        while let Some(end) = memchr(b'\n', chunk) {
            self.append(&chunk[..end]);
            *chunk = &chunk[end + 1..];
            if let Some(line) = self.end() {
                return Some(line);
            }
        }
        self.append(chunk);
        *chunk = &[];
        None
    }

    /// The last line, where the stream did not end with the end of a line.
    pub fn finish(mut self) -> Option<Line> {
        self.end()
    }

    /// How many bytes it holds of a line whose end has not come yet.
    pub fn held(&self) -> usize {
        self.kept.len()
    }

    fn append(&mut self, bytes: &[u8]) {
        let Some((last, before)) = bytes.split_last() else { return };
        if self.carriage_return {
            self.keep(b"\r");
        }
        self.carriage_return = *last == b'\r';
        self.keep(if self.carriage_return { before } else { bytes });
    }

    fn keep(&mut self, bytes: &[u8]) {
        let (fits, over) = bytes.split_at(bytes.len().min(self.max - self.kept.len()));
        if self.excess.is_none() {
            if self.kept.is_empty() {
                self.kept.reserve_exact(self.usual.max(fits.len()));
            }
            self.kept.extend_from_slice(fits);
            if !over.is_empty() {
                self.excess = Some(Excess::after(&self.kept));
            }
        }
        if let Some(excess) = &mut self.excess {
            excess.add(over);
        }
    }

    fn end(&mut self) -> Option<Line> {
        let number = self.number;
        self.number += 1;
        self.carriage_return = false;
        let body = std::mem::take(&mut self.kept);
        self.usual = body.len();
        let cut = self.excess.take().map(Excess::cut);
        let blank = cut.is_none() && body.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
        // A boxed slice, so that the line takes as many bytes as it is long.
        (!blank).then(|| Line { number, body: Bytes::from(body.into_boxed_slice()), cut })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(max: usize, chunks: &[&[u8]]) -> Vec<Line> {
        let mut lines = Lines::new(max);
        let mut found = Vec::new();
        for mut chunk in chunks.iter().copied() {
            while let Some(line) = lines.next(&mut chunk) {
                found.push(line);
            }
            assert!(lines.held() <= max);
        }
        found.extend(lines.finish());
        found
    }

    /// The same, with all of the text at hand.
    fn expected(max: usize, text: &[u8]) -> Vec<Line> {
        let lines = text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let not_blank = lines
            .zip(1..)
            .filter(|(line, _)| line.len() > max || line.iter().any(|byte| !matches!(byte, b' ' | b'\t' | b'\r')));
        let line = |(line, number): (&[u8], u64)| Line {
            number,
            body: Bytes::copy_from_slice(&line[..line.len().min(max)]),
            cut: (line.len() > max).then(|| Cut { full_bytes: line.len() as u64, sha256: Sha256::of(line) }),
        };
        not_blank.map(line).collect()
    }

    fn bodies(lines: &[Line]) -> Vec<(u64, &[u8])> {
        lines.iter().map(|line| (line.number, &line.body[..])).collect()
    }

    #[test]
    fn blank_lines_are_counted_but_skipped() {
        let lines = split(100, &[b"{}\r\n\r\n  \t\n[1]\n\n{\"a\":2}"]);
        assert_eq!(bodies(&lines), [(1, &b"{}"[..]), (4, b"[1]"), (6, b"{\"a\":2}")]);
    }

    #[test]
    fn the_limit_does_not_count_the_end_of_the_line() {
        let lines = split(3, &[b"abc\r", b"\nabc\nabcd\r\nab\rc\n"]);
        assert_eq!(bodies(&lines), [(1, &b"abc"[..]), (2, b"abc"), (3, b"abc"), (4, b"ab\r")]);
        let cuts: Vec<Option<u64>> = lines.iter().map(|line| line.cut.map(|cut| cut.full_bytes)).collect();
        assert_eq!(cuts, [None, None, Some(4), Some(4)]);
        assert_eq!(lines[2].cut.unwrap().sha256, Sha256::of(b"abcd"));
    }

    #[test]
    fn nothing_in_nothing_out() {
        assert_eq!(split(10, &[]), []);
        assert_eq!(split(10, &[b"\n\r\n"]), []);
    }

    proptest! {
        #[test]
        fn chunks_make_no_difference(
            chunks in prop::collection::vec("[a \r\n]{0,9}", 0..12),
            max in 1_usize..8,
        ) {
            let text = chunks.concat();
            let chunks: Vec<&[u8]> = chunks.iter().map(String::as_bytes).collect();
            prop_assert_eq!(split(max, &chunks), expected(max, text.as_bytes()));
        }
    }
}
