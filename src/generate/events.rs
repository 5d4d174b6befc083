//! Runs, steps and decisions as JSON.

use super::members::{Members, Spelling, quoted};
use super::pipelines::{Pipeline, Stage};
use super::sdk::{PipelineId, Sdk};
use crate::event::{Kind, Outcome, Status};

/// An event to send.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) kind: Kind,
    members: Members,
    spelling: Spelling,
}

impl Event {
    pub(super) fn json(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(512);
        self.write(&mut json);
        json
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.members.write(self.spelling, out);
    }

    /// Makes it larger: with a text in the object where its kind has room for one.
    pub(super) fn add_context(&mut self, text: &str) {
        let roomy = match self.kind {
            Kind::Decision | Kind::Run => "input",
            Kind::Step => "config",
        };
        if let Some(object) = self.members.object_mut(roomy) {
            object.set("context", quoted(text));
        }
    }

    /// A decision with the same ids and time, and another outcome.
    pub(super) fn rival(&self) -> Event {
        let mut rival = self.clone();
        let outcomes = Outcome::ALL.map(|outcome| quoted(outcome.as_str()));
        if let Some(other) = outcomes.iter().find(|other| rival.members.get("outcome") != Some(other)) {
            rival.members.set("outcome", other);
        }
        rival.members.set("reason", quoted("decided again after a retry"));
        rival
    }
}

/// A run, as its reports and steps know it.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: String,
    pub(super) started: i64,
    pub(super) request: &'static str,
    pub(super) pipeline: &'static Pipeline,
    pub(super) sdk: &'static Sdk,
    /// Whether its steps have a `runId`.
    pub(super) named_by_steps: bool,
}

/// A step of a run.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) run: &'a Run,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) stage: &'static Stage,
    pub(super) started: i64,
    pub(super) input_count: usize,
    pub(super) output_count: usize,
}

/// What goes through the steps of a run.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) input: Members,
}

/// What a step made of an item.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    /// In ten-thousandths.
    pub(super) score: Option<u64>,
    pub(super) reason: &'static str,
}

impl Run {
    /// A report; with an end, an error or an output where it has them.
    pub(super) fn report(
        &self,
        status: Status,
        completed: Option<i64>,
        error: Option<&str>,
        output: Option<Members>,
    ) -> Event {
        let mut members = Members::new()
            .text("id", &self.id)
            .text("pipelineId", self.pipeline.id)
            .text("status", status.as_str())
            .json("startedAt", self.time(self.started))
            .json("completedAt", self.time_or_null(completed))
            .object("input", Members::new().text(self.pipeline.request, self.request))
            .maybe_text("error", error);
        if let Some(output) = output {
            members = members.object("output", output);
        }
        let metadata = Members::new().text("sdk", self.sdk.name).text("environment", "production");
        self.event(Kind::Run, members.object("metadata", metadata))
    }

    fn time(&self, millis: i64) -> String {
        self.sdk.clock.json(millis)
    }

    fn time_or_null(&self, millis: Option<i64>) -> String {
        millis.map_or_else(|| "null".to_owned(), |millis| self.time(millis))
    }

    fn event(&self, kind: Kind, members: Members) -> Event {
        Event { kind, members, spelling: self.sdk.spelling }
    }
}

impl Step<'_> {
    /// A report; the one of its end also says how many items came out.
    pub(super) fn report(&self, completed: Option<i64>) -> Event {
        let run = self.run;
        let config = self.stage.config.iter().fold(Members::new(), |config, (name, json)| config.json(name, json));
        let counted = |members: Members| {
            let members = members.json("inputCount", self.input_count);
            if completed.is_some() { members.json("outputCount", self.output_count) } else { members }
        };
        let members = Members::new()
            .text("id", &self.id)
            .maybe_text("runId", run.named_by_steps.then_some(run.id.as_str()))
            .text("type", self.stage.kind)
            .text("name", &self.name)
            .json("startedAt", run.time(self.started))
            .json("completedAt", run.time_or_null(completed));
        let members = if run.sdk.count_fields {
            counted(members).object("config", config)
        } else {
            members.object("config", counted(config))
        };
        run.event(Kind::Step, members)
    }

    /// The decision with this id about an item.
    pub(super) fn decision(&self, id: &str, item: &Item, verdict: Verdict, at: i64) -> Event {
        let run = self.run;
        let pipeline_in = |place| (run.sdk.pipeline == place).then_some(run.pipeline.id);
        let mut members = Members::new()
            .text("id", id)
            .text("stepId", &self.id)
            .text("runId", &run.id)
            .maybe_text("pipelineId", pipeline_in(PipelineId::Field))
            .text("itemId", &item.id)
            .text("outcome", verdict.outcome.as_str());
        if let Some(score) = verdict.score {
            members = members.json("score", format_args!("0.{score:04}"));
        }
        members = if self.stage.kind == "llm" {
            let reason = Members::new().text("explanation", verdict.reason).text("confidence", "high");
            members.object("reason", reason)
        } else {
            members.text("reason", verdict.reason)
        };
        let metadata = Members::new()
            .json("inputCount", self.input_count)
            .json("outputCount", self.output_count)
            .text("stepType", self.stage.kind)
            .maybe_text("pipelineId", pipeline_in(PipelineId::Metadata));
        let members = members
            .json("timestamp", run.time(at))
            .object("input", item.input.clone())
            .json("output", "null")
            .object("metadata", metadata);
        run.event(Kind::Decision, members)
    }
}
