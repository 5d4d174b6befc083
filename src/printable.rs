//! What others wrote, for a terminal.

/// Without control characters, and without those that turn the direction of writing.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(harmless).collect()
}

/// The same for one.
pub(crate) fn harmless(char: char) -> char {
    let turns = matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if char.is_control() || turns { '\u{fffd}' } else { char }
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_terminal_obeys_nothing_of_it() {
        assert_eq!(
            printable("\u{1b}[2Jä\u{202e}x\u{2066}\r\n\u{9b}1m\u{61c}"),
            "\u{fffd}[2Jä\u{fffd}x\u{fffd}\u{fffd}\u{fffd}\u{fffd}1m\u{fffd}"
        );
    }
}
