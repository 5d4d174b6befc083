//! What to do about a failure of ClickHouse. Decided here and nowhere else.
//!
//! Codes: <https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp>. The server sends them in the
//! text of the answer, `Code: 60. DB::Exception: …`, with an HTTP status that says less.

use super::NAME;
use super::genuine::NOT_GENUINE;
use crate::causes::{causes, chain};
use crate::hidden::without_secrets;
use crate::store::{Class, StoreError};
use clickhouse::error::Error;
use std::time::Duration;

/// The server's own limit on the time of a request, which is a little below ours.
const TIMEOUT_EXCEEDED: u32 = 159;

/// What answers is something else.
const STRANGER: &str = "does not answer as ClickHouse's HTTP interface does: something in between fails, or it is not the \
                        right port; its native protocol has another (9000) than HTTP (8123)";

/// A failed request.
#[derive(Debug)]
pub(super) struct Fault {
    error: StoreError,
    /// It was too much for one request, in partitions or in time: for fewer keys or rows it succeeds.
    pub(super) too_much: bool,
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        fault.error
    }
}

/// Longest part of a server's answer that is repeated: it may quote what was inserted.
const MAX_QUOTED: usize = 400;

impl Fault {
    /// The failure of `doing` ("insert into runs") on the server at `url`.
    pub(super) fn new(doing: &str, url: &str, error: &Error) -> Self {
        match error {
            Error::BadResponse(answer) => Fault::answered(doing, url, answer),
            Error::SchemaMismatch(_) | Error::InvalidColumnsHeader(_) => {
                Fault::of(Class::Us, format!("cannot {doing}: the table is not as this program made it")).because(error)
            }
            Error::Network(_) => {
                let advice = no_answer(error);
                Fault::of(Class::Transient, format!("cannot {doing}: {url} {advice}")).because(error)
            }
            Error::TimedOut => Fault::late(doing, url, None),
            // Half an answer, or bytes of another protocol.
            _ => Fault::of(Class::Transient, format!("cannot {doing}: {url} does not answer as ClickHouse does"))
                .because(error),
        }
    }

    /// `doing` took longer than `limit`. It may have been done.
    pub(super) fn late(doing: &str, url: &str, limit: Option<Duration>) -> Self {
        let limit = limit.map(|limit| format!(" within {} ms (CLICKHOUSE_TIMEOUT_MS)", limit.as_millis()));
        Fault::of(Class::Transient, format!("cannot {doing}: {url} gave no answer{}", limit.unwrap_or_default()))
    }

    /// The database holds what is not ours, or newer.
    pub(super) fn foreign(message: String) -> Self {
        Fault::of(Class::Foreign, message)
    }

    /// Somebody has to do something first.
    pub(super) fn us(message: String) -> Self {
        Fault::of(Class::Us, message)
    }

    fn answered(doing: &str, url: &str, answer: &str) -> Self {
        let Some(code) = code(answer) else {
            return Fault::of(Class::Transient, format!("cannot {doing}: {url} {STRANGER}")).because_of(answer);
        };
        let in_view = answer.contains("while pushing to view");
        let too_many_partitions = code == 252 && answer.contains("partitions for single INSERT");
        let (class, advice) = match judge(code, too_many_partitions) {
            // TYPE_MISMATCH, INCORRECT_DATA: of a column that is not ours, or of a value that a view cannot read.
            Some(known) if !(in_view && matches!(code, 53 | 117)) => known,
            // Whatever it is: if the view refuses all there is, nobody is at fault.
            _ if in_view => NOT_TAKEN,
            _ => (Class::Transient, None),
        };
        let message = match advice {
            Some(advice) => format!("cannot {doing}: {advice}"),
            None => format!("cannot {doing}"),
        };
        let too_much = too_many_partitions || code == TIMEOUT_EXCEEDED;
        Fault { too_much, ..Fault::of(class, message).because_of(answer) }
    }

    fn of(class: Class, message: String) -> Self {
        Fault { error: StoreError::new(NAME, class, message), too_much: false }
    }

    fn because(self, error: &Error) -> Self {
        self.because_of(&chain(error))
    }

    fn because_of(self, text: &str) -> Self {
        let line = without_secrets(text.lines().next().unwrap_or_default().trim());
        let end = line.char_indices().nth(MAX_QUOTED).map_or(line.len(), |(at, _)| at);
        let more = if end < line.len() { "…" } else { "" };
        Fault { error: self.error.because(format!("{}{more}", &line[..end])), ..self }
    }
}

/// The code in a server's answer.
fn code(answer: &str) -> Option<u32> {
    let rest = answer.split_once("Code: ")?.1;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// Why there was no answer at all.
fn no_answer(error: &Error) -> &'static str {
    let causes: Vec<String> = causes(error).map(ToString::to_string).collect();
    let says = |word: &str| causes.iter().any(|cause| cause.contains(word));
    if says("UnknownIssuer") {
        "has a certificate of an authority that is not known here: name its CA in CLICKHOUSE_CA_FILE"
    } else if says("certificate") {
        "has a certificate that does not hold"
    } else if says("InvalidContentType") || says("corrupt message") {
        "does not speak TLS: use http:// in CLICKHOUSE_HOST, or the port of HTTPS"
    } else if says("invalid HTTP") {
        "does not speak HTTP: is that the right port, and should it be https://?"
    } else if says("dns error") || says("failed to lookup") {
        "cannot be found: does the name exist?"
    } else if says(NOT_GENUINE) {
        STRANGER
    } else if says("Connection refused") {
        "refuses connections: is the server up, and is that its port?"
    } else {
        "does not answer in HTTP: is that the right port?"
    }
}

const NOT_TAKEN: (Class, Option<&str>) =
    (Class::Item, Some("a constraint or a view on the table does not take a value"));

/// `None`: it is none of those that one would act on.
fn judge(code: u32, too_many_partitions: bool) -> Option<(Class, Option<&'static str>)> {
    Some(match code {
        // TOO_MANY_PARTS has two meanings: more parts in a partition than merges keep up with, which passes; and one
        // insert into more partitions than max_partitions_per_insert_block, which does not (but we split those).
        252 if too_many_partitions => (Class::Us, Some("one insert may not go into so many months")),
        252 => (Class::Transient, Some("merges do not keep up with inserts for now")),

        TIMEOUT_EXCEEDED => (
            Class::Transient,
            Some("it takes longer than CLICKHOUSE_TIMEOUT_MS: raise that, or give the server more to work with"),
        ),
        // TOO_MANY_SIMULTANEOUS_QUERIES, NO_FREE_CONNECTION, SOCKET_TIMEOUT, NETWORK_ERROR, QUERY_WAS_CANCELLED
        202 | 203 | 209 | 210 | 394 => (Class::Transient, None),
        // MEMORY_LIMIT_EXCEEDED
        241 => (Class::Transient, Some("the server is short of memory for now")),
        // TABLE_IS_READ_ONLY: a replica that has lost its Keeper. NO_ZOOKEEPER, UNEXPECTED_ZOOKEEPER_ERROR,
        // KEEPER_EXCEPTION
        242 | 225 | 244 | 999 => (Class::Transient, Some("the replica has lost its Keeper")),
        // TOO_FEW_LIVE_REPLICAS, UNSATISFIED_QUORUM, UNKNOWN_STATUS_OF_INSERT, REPLICA_IS_NOT_IN_QUORUM
        285 | 286 | 319 | 289 => (Class::Transient, Some("too few replicas answer")),

        // AUTHENTICATION_FAILED, UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD
        516 | 192 | 193 | 194 => (
            Class::Us,
            Some("the server does not know this user and password: check CLICKHOUSE_USER and CLICKHOUSE_PASSWORD"),
        ),
        // ACCESS_DENIED
        497 => (Class::Us, Some("the user lacks a right: grant it")),
        // READONLY
        164 => (
            Class::Us,
            Some(
                "the user may only read: take `readonly` out of its profile (2 is enough for `verify` and `lookup`), or use another user",
            ),
        ),
        // UNKNOWN_DATABASE
        81 => (
            Class::Us,
            Some("the database is not there: check CLICKHOUSE_DATABASE, or run `xray-processor-worker migrate`"),
        ),
        // UNKNOWN_TABLE
        60 => (Class::Us, Some("a table is not there: run `xray-processor-worker migrate`")),
        // NO_SUCH_COLUMN_IN_TABLE, THERE_IS_NO_COLUMN, UNKNOWN_IDENTIFIER, NUMBER_OF_COLUMNS_DOESNT_MATCH; and where a
        // column has another type, TYPE_MISMATCH, INCORRECT_DATA
        16 | 8 | 47 | 20 | 53 | 117 => (Class::Us, Some("a table is not as this program made it")),
        // UNKNOWN_SETTING, SETTING_CONSTRAINT_VIOLATION
        115 | 452 => (Class::Us, Some("the server or the user's profile does not allow a setting that is needed")),
        // NOT_ENOUGH_SPACE
        243 => (Class::Us, Some("the server's disk is full: free some space; the worker goes on by itself")),
        // QUOTA_EXCEEDED
        201 => (Class::Us, Some("the user's quota is used up")),
        // SYNTAX_ERROR
        62 => (Class::Us, Some("the server does not understand this program's SQL: is it older than 23.8?")),

        // Our values fit our columns; these come from constraints and views that somebody added: VIOLATED_CONSTRAINT,
        // CANNOT_PARSE_TEXT, CANNOT_PARSE_ESCAPE_SEQUENCE, CANNOT_PARSE_DATE, CANNOT_PARSE_DATETIME,
        // ARGUMENT_OUT_OF_BOUND, CANNOT_CONVERT_TYPE, CANNOT_PARSE_NUMBER, CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN,
        // DECIMAL_OVERFLOW, FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
        469 | 6 | 25 | 38 | 41 | 69 | 70 | 72 | 349 | 407 | 395 => NOT_TAKEN,
        // CANNOT_PARSE_QUOTED_STRING, CANNOT_PARSE_INPUT_ASSERTION_FAILED, ATTEMPT_TO_READ_AFTER_EOF (an empty text is no
        // number), CANNOT_READ_ARRAY_FROM_TEXT, TOO_LARGE_ARRAY_SIZE, TOO_LARGE_STRING_SIZE, ILLEGAL_DIVISION,
        // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE, CANNOT_PARSE_UUID, CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING, CANNOT_PARSE_BOOL,
        // CANNOT_PARSE_IPV4, CANNOT_PARSE_IPV6, UNKNOWN_ELEMENT_OF_ENUM
        26 | 27 | 32 | 130 | 128 | 131 | 153 | 321 | 376 | 441 | 467 | 675 | 676 | 691 => NOT_TAKEN,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(answer: &str) -> Fault {
        Fault::new("insert into runs", "http://ch:8123", &Error::BadResponse(answer.to_owned()))
    }

    #[test]
    fn the_two_meanings_of_252() {
        let parts =
            "Code: 252. DB::Exception: Too many parts (3001) in all data parts. Merges are slower. (TOO_MANY_PARTS)";
        let partitions = "Code: 252. DB::Exception: Too many partitions for single INSERT block (more than 100).";
        assert_eq!((fault(parts).error.class, fault(parts).too_much), (Class::Transient, false));
        assert!(fault(partitions).too_much);
    }

    #[test]
    fn classes_and_sentences() {
        for (answer, class, says) in [
            ("Code: 516. DB::Exception: worker: Authentication failed", Class::Us, "CLICKHOUSE_PASSWORD"),
            ("Code: 60. DB::Exception: Table xray.runs does not exist", Class::Us, "migrate"),
            ("Code: 159. DB::Exception: Timeout exceeded: elapsed 9 s", Class::Transient, "CLICKHOUSE_TIMEOUT_MS"),
            ("Code: 241. DB::Exception: (total) memory limit exceeded", Class::Transient, "memory"),
            ("Code: 469. DB::Exception: Constraint `c` is violated", Class::Item, "value"),
            ("Code: 376. DB::Exception: Cannot parse uuid x: while pushing to view xray.v.", Class::Item, "value"),
            ("Code: 117. DB::Exception: Cannot parse JSON: while pushing to view xray.v.", Class::Item, "value"),
            (
                "Code: 117. DB::Exception: Type of 'x' must be String, not UInt8",
                Class::Us,
                "not as this program made it",
            ),
            ("Code: 4711. DB::Exception: a new one", Class::Transient, "4711"),
            ("<html>404 Not Found</html>", Class::Transient, "right port"),
        ] {
            let error = StoreError::from(fault(answer));
            assert_eq!(error.class, class, "{answer}");
            let text = error.chain();
            assert!(text.starts_with("cannot insert into runs") && text.contains(says), "{text}");
        }
    }

    #[test]
    fn an_answer_is_quoted_in_one_line_and_not_at_length() {
        let text = StoreError::from(fault(&format!("Code: 62. {}\nmore", "x".repeat(9000)))).chain();
        assert!(text.len() < 700 && !text.contains("more"), "{text}");
    }
}
