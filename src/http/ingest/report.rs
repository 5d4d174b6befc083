use crate::http::probes::json;
use crate::pipeline::Settlement;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// How many rejected events an answer lists; beyond that it only says how many there are.
const MAX_LISTED: usize = 1000;

/// What became of the events of a request, all of them durable: stored, or kept as dead letters.
#[derive(Debug, Default)]
pub(super) struct Report {
    stored: u64,
    rejected: u64,
    listed: Vec<Rejected>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Rejected {
    /// Which event of the whole request, counted from 0.
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    code: &'static str,
    reason: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    stored: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rejected: Vec<Rejected>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected_total: Option<u64>,
}

impl Report {
    /// Adds the next message of the request.
    pub(super) fn add(&mut self, line: Option<u64>, settlement: Settlement) {
        let first = self.stored + self.rejected;
        self.stored += settlement.stored;
        self.rejected += settlement.rejected_total;
        let room = MAX_LISTED - self.listed.len();
        self.listed.extend(settlement.rejected.into_iter().take(room).map(|part| Rejected {
            index: first + part.index,
            line,
            code: part.rejection.code.as_str(),
            reason: part.rejection.reason,
        }));
    }
}

impl IntoResponse for Report {
    fn into_response(self) -> Response {
        let status = if self.rejected == 0 { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        let more = self.rejected > self.listed.len() as u64;
        let rejected_total = more.then_some(self.rejected);
        (status, json(&Answer { stored: self.stored, rejected: self.listed, rejected_total })).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Code, Rejection};
    use crate::pipeline::RejectedPart;
    use serde_json::{Value, json};

    fn settlement(stored: u64, rejected: &[u64]) -> Settlement {
        let part = |&index| RejectedPart { index, rejection: Rejection::new(Code::BadField, "`score` is a string") };
        Settlement { stored, rejected: rejected.iter().map(part).collect(), rejected_total: rejected.len() as u64 }
    }

    async fn answer(report: Report) -> (u16, Value) {
        let response = report.into_response();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn all_stored() {
        let mut report = Report::default();
        report.add(None, settlement(3, &[]));
        assert_eq!(answer(report).await, (200, json!({ "stored": 3 })));
    }

    #[tokio::test]
    async fn an_index_counts_the_events_of_the_whole_request() {
        let mut report = Report::default();
        report.add(Some(1), settlement(2, &[1])); // an array of three
        report.add(Some(2), settlement(0, &[])); // an empty one
        report.add(Some(4), settlement(1, &[]));
        report.add(Some(5), settlement(0, &[0]));
        let rejected =
            |index, line| json!({ "index": index, "line": line, "code": "bad_field", "reason": "`score` is a string" });
        assert_eq!(answer(report).await, (422, json!({ "stored": 3, "rejected": [rejected(1, 1), rejected(4, 5)] })));
    }

    #[tokio::test]
    async fn a_long_list_is_cut_and_counted() {
        let mut report = Report::default();
        for _ in 0..3 {
            report.add(None, settlement(0, &Vec::from_iter(0..400)));
        }
        let (status, answer) = answer(report).await;
        let listed = answer["rejected"].as_array().unwrap();
        assert_eq!((status, listed.len(), &answer["rejectedTotal"]), (422, 1000, &json!(1200)));
        assert_eq!((&listed[999]["index"], listed[999].get("line")), (&json!(999), None));
    }
}
