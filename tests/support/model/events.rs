//! The three kinds: from the slice of an object to its fields, or to the code that says why it is no event.

use super::{json, key, values};

/// The code of a dead letter.
pub type Code = &'static str;

/// What every event has as an object.
pub struct Raw {
    pub bytes: Vec<u8>,
    pub sha256: String,
    pub key: String,
}

pub struct Decision {
    pub raw: Raw,
    pub event_id: String,
    pub step_id: String,
    pub run_id: String,
    pub pipeline_id: String,
    pub outcome: String,
    pub item_id: String,
    pub score: Option<f64>,
    pub timestamp: i64,
    pub input_count: Option<i64>,
    pub output_count: Option<i64>,
}

pub struct StepReport {
    pub raw: Raw,
    pub step_id: String,
    pub run_id: Option<String>,
    pub pipeline_id: Option<String>,
    pub step_type: String,
    pub step_name: String,
    pub started_at: i64,
    pub completed_at: Option<i64>,
    pub input_count: Option<i64>,
    pub output_count: Option<i64>,
}

pub struct RunReport {
    pub raw: Raw,
    pub run_id: String,
    pub pipeline_id: String,
    pub status: String,
    pub started_at: i64,
    pub completed_at: Option<i64>,
    pub error: Option<String>,
    pub metadata: String,
}

impl Decision {
    pub fn read(slice: &str) -> Result<Self, Code> {
        let fields = Fields::of(slice);
        let event_id = fields.needed("id", values::id)?;
        let step_id = fields.needed("stepId", values::id)?;
        let run_id = fields.needed("runId", values::id)?;
        let outcome = fields.needed("outcome", |value| one_of(&["kept", "eliminated", "scored"], value))?;
        let item_id = fields.needed("itemId", values::id)?;
        let timestamp = fields.needed("timestamp", values::time)?;
        let pipeline_id = fields.optional_id("pipelineId")?;
        let score = fields.optional("score", values::finite)?;
        let metadata = Fields::of_free_form(fields.single("metadata")?);
        Ok(Self {
            raw: raw(slice, key::object_key("decisions", timestamp, &event_id)),
            event_id,
            step_id,
            run_id,
            pipeline_id: pipeline_id.or(metadata.optional_id("pipelineId").ok().flatten()).unwrap_or_default(),
            outcome,
            item_id,
            score,
            timestamp,
            input_count: metadata.count_if_any("inputCount"),
            output_count: metadata.count_if_any("outputCount"),
        })
    }
}

impl StepReport {
    pub fn read(slice: &str) -> Result<Self, Code> {
        let fields = Fields::of(slice);
        let step_id = fields.needed("id", values::id)?;
        let step_type = fields.needed("type", values::string)?;
        let step_name = fields.needed("name", values::string)?;
        let started_at = fields.needed("startedAt", values::time)?;
        let completed_at = fields.optional("completedAt", values::time)?;
        let run_id = fields.optional_id("runId")?;
        let pipeline_id = fields.optional_id("pipelineId")?;
        let config = Fields::of_free_form(fields.single("config")?);
        let input_count = fields.optional("inputCount", values::count)?;
        let output_count = fields.optional("outputCount", values::count)?;
        Ok(Self {
            raw: raw(slice, key::object_key("steps", started_at, &step_id)),
            step_id,
            run_id,
            pipeline_id,
            step_type,
            step_name,
            started_at,
            completed_at,
            input_count: input_count.or(config.count_if_any("inputCount")),
            output_count: output_count.or(config.count_if_any("outputCount")),
        })
    }

    /// The newest of several reports is the greatest by this.
    pub fn newness(&self) -> (bool, Option<i64>, &str) {
        (self.completed_at.is_some(), self.completed_at, &self.raw.sha256)
    }
}

impl RunReport {
    pub fn read(slice: &str) -> Result<Self, Code> {
        let fields = Fields::of(slice);
        let run_id = fields.needed("id", values::id)?;
        let pipeline_id = fields.needed("pipelineId", values::id)?;
        let statuses = ["pending", "running", "completed", "failed", "cancelled"];
        let status = fields.needed("status", |value| one_of(&statuses, value))?;
        let started_at = fields.needed("startedAt", values::time)?;
        let completed_at = fields.optional("completedAt", values::time)?;
        let error = fields.optional("error", values::string)?;
        let metadata = fields.single("metadata")?.unwrap_or("{}").to_owned();
        Ok(Self {
            raw: raw(slice, key::object_key("runs", started_at, &run_id)),
            run_id,
            pipeline_id,
            status,
            started_at,
            completed_at,
            error,
            metadata,
        })
    }

    /// The newest of several reports is the greatest by this.
    pub fn newness(&self) -> (u8, Option<i64>, &str) {
        let rank = match self.status.as_str() {
            "pending" => 0,
            "running" => 1,
            _ => 2,
        };
        (rank, self.completed_at, &self.raw.sha256)
    }
}

fn raw(slice: &str, key: String) -> Raw {
    Raw { bytes: slice.as_bytes().to_vec(), sha256: key::sha256_hex(slice.as_bytes()), key }
}

fn one_of(allowed: &[&str], value: &str) -> Option<String> {
    json::string(value).filter(|string| allowed.contains(&string.as_str()))
}

/// The members of an object by name. Those that are null are left out: null is absence.
pub struct Fields<'a>(Vec<(String, &'a str)>);

impl<'a> Fields<'a> {
    pub fn of(object: &'a str) -> Self {
        let mut fields = Vec::new();
        for (name, value) in json::members(object) {
            // A name that is no Unicode (an unpaired surrogate) is none of ours.
            if let Some(name) = json::string(name)
                && value != "null"
            {
                fields.push((name, value));
            }
        }
        Self(fields)
    }

    /// Of any JSON value: one that is no object has no members.
    fn of_free_form(value: Option<&'a str>) -> Self {
        value.filter(|value| json::is_object(value)).map_or(Self(Vec::new()), Self::of)
    }

    /// All values of a field, in either spelling.
    fn all(&self, camel_case: &str) -> Vec<&'a str> {
        let snake_case = snake_case(camel_case);
        self.0.iter().filter(|(name, _)| name == camel_case || *name == snake_case).map(|(_, value)| *value).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    pub fn single(&self, name: &str) -> Result<Option<&'a str>, Code> {
        single(self.all(name))
    }

    fn needed<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, Code> {
        self.optional(name, read)?.ok_or("missing_field")
    }

    fn optional<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Code> {
        self.single(name)?.map(|value| read(value).ok_or("bad_field")).transpose()
    }

    /// An optional id that is empty counts as absent too.
    fn optional_id(&self, name: &str) -> Result<Option<String>, Code> {
        let there = self.all(name).into_iter().filter(|value| *value != "\"\"").collect();
        single(there)?.map(|value| values::id(value).ok_or("bad_field")).transpose()
    }

    /// A count in a free-form object: ignored if it is none, or there twice.
    fn count_if_any(&self, name: &str) -> Option<i64> {
        self.optional(name, values::count).ok().flatten()
    }
}

fn single(there: Vec<&str>) -> Result<Option<&str>, Code> {
    match there[..] {
        [] => Ok(None),
        [value] => Ok(Some(value)),
        _ => Err("doubled_field"),
    }
}

fn snake_case(camel_case: &str) -> String {
    let mut snake_case = String::new();
    for letter in camel_case.chars() {
        if letter.is_ascii_uppercase() {
            snake_case.push('_');
        }
        snake_case.push(letter.to_ascii_lowercase());
    }
    snake_case
}
