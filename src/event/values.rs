//! Typed values out of raw JSON slices, each failure a sentence that names the field and what was found.

use super::members::{EMPTY, Field, Members};
use super::reject::{Code, Rejection};
use super::timestamp::Timestamp;
use std::borrow::Cow;

/// Ids end here, in bytes.
const MAX_ID: usize = 512;
/// Counts end here.
const MAX_COUNT: u64 = 1_000_000_000_000;
/// How much of a wrong value a sentence shows, in characters.
const SHOWN: usize = 40;

/// Reads the fields of one object as a kind asks for them. Every field read is also checked to be there once.
pub(super) struct Reader<'m, 'a>(pub(super) &'m Members<'a>);

impl<'a> Reader<'_, 'a> {
    /// A field's raw value, `None` where absent or null.
    pub(super) fn raw(&self, field: Field) -> Result<Option<&'a str>, Rejection> {
        if self.0.is_doubled(field) { Err(doubled(field)) } else { Ok(self.0.get(field)) }
    }

    fn required<T>(
        &self,
        field: Field,
        read: impl FnOnce(Field, &'a str) -> Result<T, Rejection>,
    ) -> Result<T, Rejection> {
        match self.raw(field)? {
            Some(raw) => read(field, raw),
            None => Err(missing(field)),
        }
    }

    fn optional<T>(
        &self,
        field: Field,
        read: impl FnOnce(Field, &'a str) -> Result<T, Rejection>,
    ) -> Result<Option<T>, Rejection> {
        self.raw(field)?.map(|raw| read(field, raw)).transpose()
    }

    pub(super) fn id(&self, field: Field) -> Result<String, Rejection> {
        self.required(field, id)
    }

    /// An optional id; absent, null and empty are all the empty string.
    pub(super) fn optional_id(&self, field: Field) -> Result<String, Rejection> {
        if self.0.is_doubled_not_empty(field) {
            return Err(doubled(field));
        }
        self.0.get(field).filter(|raw| *raw != EMPTY).map_or_else(|| Ok(String::new()), |raw| id(field, raw))
    }

    pub(super) fn text(&self, field: Field) -> Result<String, Rejection> {
        self.required(field, string).map(Cow::into_owned)
    }

    pub(super) fn optional_text(&self, field: Field) -> Result<Option<String>, Rejection> {
        Ok(self.optional(field, string)?.map(Cow::into_owned))
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, field: Field, all: &[T], name: fn(T) -> &'static str) -> Result<T, Rejection> {
        self.required(field, |field, raw| {
            let text = string(field, raw)?;
            all.iter().copied().find(|one| name(*one) == text).ok_or_else(|| {
                let names: Vec<_> = all.iter().map(|one| name(*one)).collect();
                bad(field, &format!("one of {}", names.join(", ")), show(raw))
            })
        })
    }

    pub(super) fn time(&self, field: Field) -> Result<Timestamp, Rejection> {
        self.required(field, time)
    }

    pub(super) fn optional_time(&self, field: Field) -> Result<Option<Timestamp>, Rejection> {
        self.optional(field, time)
    }

    /// A finite number.
    pub(super) fn optional_number(&self, field: Field) -> Result<Option<f64>, Rejection> {
        self.optional(field, |field, raw| {
            number(raw).filter(|n| n.is_finite()).ok_or_else(|| bad(field, "a finite number or null", show(raw)))
        })
    }

    pub(super) fn optional_count(&self, field: Field) -> Result<Option<u64>, Rejection> {
        self.optional(field, |field, raw| count(raw).ok_or_else(|| bad(field, "an integer from 0 to 10^12", show(raw))))
    }
}

/// A count in free-form JSON: one that is none, or is there twice, is ignored.
pub(super) fn free_count(members: &Members<'_>, field: Field) -> Option<u64> {
    if members.is_doubled(field) { None } else { members.get(field).and_then(count) }
}

/// An id in free-form JSON, ignored likewise; empty where there is none.
pub(super) fn free_id(members: &Members<'_>, field: Field) -> String {
    let raw = members.get(field).filter(|_| !members.is_doubled_not_empty(field));
    let id = raw.and_then(|raw| string(field, raw).ok()).filter(|id| check_id(id).is_ok());
    id.map(Cow::into_owned).unwrap_or_default()
}

fn doubled(field: Field) -> Rejection {
    let name = field.name();
    let reason = format!("field `{name}` is there twice, or in both spellings: which one counts is ambiguous");
    Rejection::new(Code::DoubledField, reason)
}

pub(super) fn missing(field: Field) -> Rejection {
    Rejection::new(Code::MissingField, format!("field `{}` is missing", field.name()))
}

pub(super) fn bad(field: Field, expected: &str, found: impl AsRef<str>) -> Rejection {
    Rejection::new(Code::BadField, format!("field `{}` must be {expected}; found {}", field.name(), found.as_ref()))
}

pub(super) fn string<'a>(field: Field, raw: &'a str) -> Result<Cow<'a, str>, Rejection> {
    let Some(inner) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Err(bad(field, "a string", show(raw)));
    };
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw)
        .map(Cow::Owned)
        .map_err(|_| bad(field, "a string of valid Unicode", "a lone surrogate escape"))
}

fn id(field: Field, raw: &str) -> Result<String, Rejection> {
    let id = string(field, raw)?;
    check_id(&id).map_err(|found| bad(field, "an id of 1 to 512 bytes without control characters", found))?;
    Ok(id.into_owned())
}

fn check_id(id: &str) -> Result<(), String> {
    match id.len() {
        0 => Err("an empty string".into()),
        len if len > MAX_ID => Err(format!("{len} bytes")),
        _ => match id.chars().find(|c| c.is_control()) {
            Some(control) => Err(format!("the control character U+{:04X}", control as u32)),
            None => Ok(()),
        },
    }
}

fn number(raw: &str) -> Option<f64> {
    // Values of other types start with a quote, a bracket or a letter; Rust would take the letters of `inf`.
    raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()).then(|| raw.parse().ok()).flatten()
}

/// A count, in whatever way JSON spells an integer: `15`, `15.0`, `1.5e1`. Exact: `15.00000000000000000001` is none.
fn count(raw: &str) -> Option<u64> {
    let plain = raw.parse().ok().or_else(|| {
        let (mantissa, exponent) = raw.split_once(['e', 'E']).unwrap_or((raw, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_end_matches('0');
        if significant.is_empty() || significant == "-" {
            return Some(0);
        }
        // The value is `significant` × 10^shift.
        let zeros = (digits.len() - significant.len()) as i64;
        let shift = exponent.parse::<i64>().ok()?.checked_add(zeros - fraction.len() as i64)?;
        let scale = 10_u64.checked_pow(u32::try_from(shift).ok()?)?;
        significant.parse::<u64>().ok()?.checked_mul(scale)
    });
    plain.filter(|count| *count <= MAX_COUNT)
}

fn time(field: Field, raw: &str) -> Result<Timestamp, Rejection> {
    const EXPECTED: &str = "an RFC 3339 time or epoch milliseconds, from 2000-01-01 to 2261-12-31";
    let millis = if raw.starts_with('"') { Timestamp::parse_millis(&string(field, raw)?) } else { raw.parse().ok() };
    let Some(millis) = millis else { return Err(bad(field, EXPECTED, show(raw))) };
    Timestamp::from_millis(millis).ok_or_else(|| {
        let in_seconds = millis.checked_mul(1000).and_then(Timestamp::from_millis);
        match in_seconds.filter(|_| !raw.starts_with('"')) {
            Some(_) => bad(field, EXPECTED, format!("{}, which looks like epoch seconds", show(raw))),
            None => bad(field, EXPECTED, show(raw)),
        }
    })
}

/// A wrong value, or its type, short enough for a sentence.
pub(super) fn show(raw: &str) -> String {
    match raw.as_bytes().first() {
        Some(b'{') => "an object".into(),
        Some(b'[') => "an array".into(),
        _ if raw.chars().count() <= SHOWN => raw.into(),
        _ => format!("{}… ({} bytes)", raw.chars().take(SHOWN).collect::<String>(), raw.len()),
    }
}
