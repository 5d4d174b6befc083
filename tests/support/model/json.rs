//! A scanner that finds the exact slices of JSON values. It keeps its own stack: depth is limited by memory alone.

/// The JSON value that `text` consists of, without the white space around it; `None` if `text` is not JSON.
pub fn document(text: &str) -> Option<&str> {
    let start = skip_space(text, 0);
    let end = end_of_value(text, start)?;
    (skip_space(text, end) == text.len()).then(|| &text[start..end])
}

pub fn is_object(value: &str) -> bool {
    value.starts_with('{')
}

pub fn is_array(value: &str) -> bool {
    value.starts_with('[')
}

pub fn is_number(value: &str) -> bool {
    value.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// What a JSON string stands for; `None` for other values and for an unpaired surrogate.
pub fn string(value: &str) -> Option<String> {
    serde_json::from_str(value).ok()
}

/// The slices of the elements of a valid array.
pub fn elements(array: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut at = skip_space(array, 1);
    while !array[at..].starts_with(']') {
        let end = end_of_value(array, at).unwrap();
        found.push(&array[at..end]);
        at = skip_comma(array, end);
    }
    found
}

/// The members of a valid object, in order, as slices of name (with its quotes) and value.
pub fn members(object: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut at = skip_space(object, 1);
    while !object[at..].starts_with('}') {
        let name = &object[at..end_of_string(object, at).unwrap()];
        let start = skip_name(object, at).unwrap();
        let end = end_of_value(object, start).unwrap();
        found.push((name, &object[start..end]));
        at = skip_comma(object, end);
    }
    found
}

/// Where the value that starts at `at` ends, by the grammar of RFC 8259.
fn end_of_value(text: &str, mut at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut to_close = Vec::new();
    loop {
        // A value starts at `at`.
        match bytes.get(at)? {
            open @ (b'{' | b'[') => {
                let close = if *open == b'{' { b'}' } else { b']' };
                at = skip_space(text, at + 1);
                if *bytes.get(at)? == close {
                    at += 1;
                } else {
                    to_close.push(close);
                    if close == b'}' {
                        at = skip_name(text, at)?;
                    }
                    continue;
                }
            }
            b'"' => at = end_of_string(text, at)?,
            b'-' | b'0'..=b'9' => at = end_of_number(text, at)?,
            _ => at += ["true", "false", "null"].into_iter().find(|word| text[at..].starts_with(word))?.len(),
        }
        // A value ended at `at`: go on to the next one, closing all it was the last value of.
        loop {
            let Some(close) = to_close.last() else { return Some(at) };
            at = skip_space(text, at);
            match bytes.get(at)? {
                b',' => {
                    at = skip_space(text, at + 1);
                    if *close == b'}' {
                        at = skip_name(text, at)?;
                    }
                    break;
                }
                byte if byte == close => {
                    to_close.pop();
                    at += 1;
                }
                _ => return None,
            }
        }
    }
}

fn end_of_string(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    if *bytes.get(at)? != b'"' {
        return None;
    }
    let mut at = at + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => match bytes.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' if bytes.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit) => at += 6,
                _ => return None,
            },
            0..=0x1f => return None,
            _ => at += 1,
        }
    }
}

fn end_of_number(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        let count = bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then_some(from + count)
    };
    let start = if bytes[at] == b'-' { at + 1 } else { at };
    let mut end = digits(start)?;
    if bytes[start] == b'0' && end > start + 1 {
        return None;
    }
    if bytes.get(end) == Some(&b'.') {
        end = digits(end + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let signed = matches!(bytes.get(end + 1), Some(b'+' | b'-'));
        end = digits(end + if signed { 2 } else { 1 })?;
    }
    Some(end)
}

/// From the name of a member to its value.
fn skip_name(text: &str, at: usize) -> Option<usize> {
    let colon = skip_space(text, end_of_string(text, at)?);
    (text.as_bytes().get(colon) == Some(&b':')).then(|| skip_space(text, colon + 1))
}

/// From the end of one element or member to the next one or to the closing bracket.
fn skip_comma(text: &str, at: usize) -> usize {
    let at = skip_space(text, at);
    if text[at..].starts_with(',') { skip_space(text, at + 1) } else { at }
}

fn skip_space(text: &str, at: usize) -> usize {
    at + text.as_bytes()[at..].iter().take_while(|byte| b" \t\r\n".contains(byte)).count()
}
