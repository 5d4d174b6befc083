//! How long something takes or has taken, for people.

/// `20 ms`, `1.5 s`, `12 s`, `5 min`, `3 h 20 min`, `4 days`.
pub(crate) fn span(seconds: f64) -> String {
    let seconds = seconds.clamp(0.0, 1e12);
    let whole = seconds as u64;
    match whole {
        0 => format!("{} ms", (seconds * 1000.0).round()),
        1..10 => format!("{} s", (seconds * 10.0).round() / 10.0),
        10..120 => format!("{whole} s"),
        120..7200 => format!("{} min", whole / 60),
        7200..172_800 if whole.is_multiple_of(3600) => format!("{} h", whole / 3600),
        7200..172_800 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} days", whole / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn in_words() {
        let words = [0.0, 0.0123, 3.21, 5.0, 59.9, 125.0, 7260.0, 7200.0, 500_000.0, -1.0, f64::INFINITY].map(span);
        let expected =
            ["0 ms", "12 ms", "3.2 s", "5 s", "59 s", "2 min", "2 h 1 min", "2 h", "5 days", "0 ms", "11574074 days"];
        assert_eq!(words, expected);
    }
}
