//! The types of the fields: id, time, count, score. Each takes the slice of a JSON value that is not null.

use chrono::{DateTime, NaiveDate, SecondsFormat};

use super::json;

/// 1 to 512 bytes without control characters.
pub fn id(value: &str) -> Option<String> {
    let id = json::string(value)?;
    ((1..=512).contains(&id.len()) && !id.contains(char::is_control)).then_some(id)
}

pub fn string(value: &str) -> Option<String> {
    json::string(value)
}

pub fn finite(value: &str) -> Option<f64> {
    json::is_number(value).then(|| value.parse().unwrap()).filter(|number: &f64| number.is_finite())
}

/// An integer from 0 to 10^12, however it is spelled.
pub fn count(value: &str) -> Option<i64> {
    if !json::is_number(value) {
        return None;
    }
    let (mantissa, exponent) = value.split_once(['e', 'E']).unwrap_or((value, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    // An exponent that does not fit makes it a fraction or far too large: no count either way.
    let exponent = i64::from(exponent.parse::<i32>().ok()?);
    let zeros = exponent - fraction.len() as i64 + (digits.len() - significant.len()) as i64;
    if whole.starts_with('-') || !(0..=12).contains(&zeros) {
        return None;
    }
    let count = format!("{significant}{}", "0".repeat(zeros as usize)).parse().ok()?;
    (count <= 1_000_000_000_000).then_some(count)
}

/// Epoch milliseconds of an RFC 3339 string, in UTC where it has no offset, or of an integer.
pub fn time(value: &str) -> Option<i64> {
    let millis = match json::string(value) {
        Some(text) => rfc3339(&text)?,
        None => value.parse().ok()?,
    };
    let midnight = |year| NaiveDate::from_ymd_opt(year, 1, 1).unwrap().and_hms_opt(0, 0, 0).unwrap();
    let (from, end) = (midnight(2000).and_utc().timestamp_millis(), midnight(2262).and_utc().timestamp_millis());
    (from..end).contains(&millis).then_some(millis)
}

/// chrono alone would also take a space for the `T` and a typographic minus.
fn rfc3339(text: &str) -> Option<i64> {
    if !text.is_ascii() || !matches!(text.as_bytes().get(10), Some(b'T' | b't')) {
        return None;
    }
    let time = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc3339(&format!("{text}Z")));
    Some(time.ok()?.timestamp_millis())
}

/// As the tables show it: `2026-01-31T23:59:59.123Z`.
pub fn iso(millis: i64) -> String {
    DateTime::from_timestamp_millis(millis).unwrap().to_rfc3339_opts(SecondsFormat::Millis, true)
}
