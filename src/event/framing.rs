use super::*;
/// stub
#[derive(Debug)]
pub enum Part {
    /// an event
    Event(Event),
    /// rejected
    Rejected {
        /// slice
        body: Bytes,
        /// kind
        kind: Option<Kind>,
        /// why
        rejection: Rejection,
    },
}
/// stub
pub type Decoded = Vec<Part>;
/// Decodes a message body.
pub fn decode(_body: &Bytes, _hint: Option<Kind>, _max: usize) -> Decoded {
    Vec::new()
}
/// Parses one event of a known kind, e.g. a stored raw object.
pub fn parse_event(_kind: Kind, _raw: &Bytes) -> Result<Event, Rejection> {
    Err(Rejection::new(Code::Empty, "stub"))
}
