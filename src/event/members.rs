//! One pass over an object's members: the fields that matter as raw slices, everything else skipped without recursion.

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

macro_rules! fields {
    ($($variant:ident $camel:literal $($snake:literal)?),* $(,)?) => {
        /// A field that some kind, or a framing, looks at.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Field { $($variant),* }

        impl Field {
            const COUNT: usize = [$(Field::$variant),*].len();

            /// Its camelCase name.
            pub(super) fn name(self) -> &'static str {
                match self { $(Field::$variant => $camel),* }
            }

            fn bit(self) -> u32 {
                1 << self as u32
            }

            fn from_name(name: &str) -> Option<Field> {
                match name {
                    $($camel $(| $snake)? => Some(Field::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

fields! {
    Id "id",
    StepId "stepId" "step_id",
    RunId "runId" "run_id",
    PipelineId "pipelineId" "pipeline_id",
    ItemId "itemId" "item_id",
    Outcome "outcome",
    Score "score",
    Timestamp "timestamp",
    Metadata "metadata",
    Type "type",
    Name "name",
    StartedAt "startedAt" "started_at",
    CompletedAt "completedAt" "completed_at",
    Config "config",
    InputCount "inputCount" "input_count",
    OutputCount "outputCount" "output_count",
    Status "status",
    Error "error",
    Data "data",
    SpecVersion "specversion",
}

/// The empty string, as JSON.
pub(super) const EMPTY: &str = "\"\"";

/// The members of one object. Null is absence, so a member that is null is not there.
#[derive(Debug)]
pub(super) struct Members<'a> {
    values: [Option<&'a str>; Field::COUNT],
    doubled: u32,
    doubled_not_empty: u32,
}

impl<'a> Members<'a> {
    /// Reads `text`, which must be one JSON object and nothing else.
    pub(super) fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        let members = json.deserialize_map(MembersVisitor)?;
        json.end()?;
        Ok(members)
    }

    /// The raw value of a field; one that is no empty string where there are several.
    pub(super) fn get(&self, field: Field) -> Option<&'a str> {
        self.values[field as usize]
    }

    /// Whether a field is there twice, or in both spellings.
    pub(super) fn is_doubled(&self, field: Field) -> bool {
        self.doubled & field.bit() != 0
    }

    /// The same for a field where the empty string is absence too.
    pub(super) fn is_doubled_not_empty(&self, field: Field) -> bool {
        self.doubled_not_empty & field.bit() != 0
    }

    fn set(&mut self, field: Field, value: &'a str) {
        let place = &mut self.values[field as usize];
        if let Some(before) = place {
            self.doubled |= field.bit();
            if *before != EMPTY && value != EMPTY {
                self.doubled_not_empty |= field.bit();
            }
        }
        if value != EMPTY || place.is_none() {
            *place = Some(value);
        }
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members { values: [None; Field::COUNT], doubled: 0, doubled_not_empty: 0 };
        // Raw, and checked as such: read as text, names with lone surrogates would be refused; as bytes, nothing would be.
        while let Some(name) = map.next_key::<&RawValue>()? {
            let Some(field) = field(name.get()) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value::<&RawValue>()?.get();
            if value != "null" {
                members.set(field, value);
            }
        }
        Ok(members)
    }
}

/// The field of this name, which stands in its quotes. One with a lone surrogate has no text, but is legal and ignored.
fn field(name: &str) -> Option<Field> {
    if name.contains('\\') {
        return Field::from_name(&serde_json::from_str::<String>(name).ok()?);
    }
    Field::from_name(name.strip_prefix('"')?.strip_suffix('"')?)
}

/// The elements of `text`, which must be one JSON array and nothing else, as raw slices.
pub(super) fn elements(text: &str) -> Result<Vec<&str>, serde_json::Error> {
    struct Elements;
    impl<'de> Visitor<'de> for Elements {
        type Value = Vec<&'de str>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = seq.next_element::<&RawValue>()? {
                elements.push(element.get());
            }
            Ok(elements)
        }
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let elements = json.deserialize_seq(Elements)?;
    json.end()?;
    Ok(elements)
}
