//! A JSON object with its members in the order an SDK would write them.

use std::fmt::Display;

/// How the names of members are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    CamelCase,
    SnakeCase,
}

/// The members of an object, in order. Names are given in camelCase.
#[derive(Debug, Clone, Default)]
pub(super) struct Members(Vec<(&'static str, Value)>);

#[derive(Debug, Clone)]
enum Value {
    Json(String),
    Object(Members),
}

impl Members {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds a string.
    pub(super) fn text(self, name: &'static str, text: &str) -> Self {
        self.json(name, quoted(text))
    }

    /// Adds what is JSON already.
    pub(super) fn json(self, name: &'static str, json: impl Display) -> Self {
        self.with(name, Value::Json(json.to_string()))
    }

    /// Adds an object.
    pub(super) fn object(self, name: &'static str, members: Members) -> Self {
        self.with(name, Value::Object(members))
    }

    /// Adds a string, if there is one.
    pub(super) fn maybe_text(self, name: &'static str, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    fn with(mut self, name: &'static str, value: Value) -> Self {
        self.0.push((name, value));
        self
    }

    /// Puts other JSON where the member of this name is, or adds it.
    pub(super) fn set(&mut self, name: &'static str, json: impl Display) {
        let value = Value::Json(json.to_string());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| *known != name);
    }

    /// The JSON of a member that is no object.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|(known, value)| match value {
            Value::Json(json) if *known == name => Some(json.as_str()),
            _ => None,
        })
    }

    /// The object of this name.
    pub(super) fn object_mut(&mut self, name: &str) -> Option<&mut Members> {
        self.0.iter_mut().find_map(|(known, value)| match value {
            Value::Object(members) if *known == name => Some(members),
            _ => None,
        })
    }

    /// Appends the object.
    pub(super) fn write(&self, spelling: Spelling, out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, (name, value)) in self.0.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.push(b'"');
            write_name(name, spelling, out);
            out.extend_from_slice(b"\":");
            match value {
                Value::Json(json) => out.extend_from_slice(json.as_bytes()),
                Value::Object(members) => members.write(spelling, out),
            }
        }
        out.push(b'}');
    }
}

fn write_name(name: &str, spelling: Spelling, out: &mut Vec<u8>) {
    for byte in name.bytes() {
        if spelling == Spelling::SnakeCase && byte.is_ascii_uppercase() {
            out.push(b'_');
            out.push(byte.to_ascii_lowercase());
        } else {
            out.push(byte);
        }
    }
}

/// `text` as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_spelling() {
        let mut members = Members::new().text("stepId", "a\"b").json("score", 1).object("meta", Members::new());
        members.set("score", 2);
        members.set("inputCount", 3);
        let mut camel = Vec::new();
        members.write(Spelling::CamelCase, &mut camel);
        assert_eq!(camel, br#"{"stepId":"a\"b","score":2,"meta":{},"inputCount":3}"#);
        let mut snake = Vec::new();
        members.write(Spelling::SnakeCase, &mut snake);
        assert_eq!(snake, br#"{"step_id":"a\"b","score":2,"meta":{},"input_count":3}"#);
        assert_eq!(members.get("score"), Some("2"));
        members.remove("score");
        assert_eq!(members.get("score"), None);
    }
}
