//! `POST /v1/events`: a batch is taken whole or not at all, and answered when it is durable.
//!
//! With Kafka it is checked whole before any of it is sent. Where the brokers fail in the middle some of
//! it may be there, and the answer says that nobody knows.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;

use super::Serving;
use super::body::whole;
use super::forms::{Form, apart, form_of};
use super::refusal::{Refusal, bytes_answer};
use crate::edge::reach::Became;
use crate::engine::intake::{Given, Settled};
use crate::engine::ports::Fate;
use crate::record::input::Rejected;

/// Whom a dead letter names as the one who handed an input in.
const TOPIC: &str = "http";
/// Bad events that one answer tells of.
const TELLS: usize = 100;
/// A body larger than this is not read on a thread that others wait for.
const AT_ONCE: usize = 64 << 10;

/// Why an event of a batch cannot be taken.
#[derive(Debug, Serialize)]
struct Bad {
    /// Its place in the batch, from 0.
    index: usize,
    /// The field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// In words, with what was expected.
    reason: String,
    /// In one word.
    code: &'static str,
}

impl Bad {
    fn new(index: usize, why: &Rejected) -> Self {
        Self { index, field: field_of(why), reason: why.to_string(), code: why.word() }
    }
}

/// Takes events.
pub(super) async fn post(
    State(serving): State<Arc<Serving>>,
    request: Request,
) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let form = form_of(&head.headers)?;
    if let Some(why) = serving.site.host.trouble() {
        return Err(Refusal::unavailable(format!(
            "nothing can be made durable now: {why}; nothing was taken"
        )));
    }
    let brief = head.uri.query().is_some_and(|query| query.split('&').any(|key| key == "brief"));
    let given = read(&serving, form, head.headers, body).await?;
    let settled = serving.site.reach.give(given).await?;
    Ok(answer(&settled, brief))
}

/// Reads all events of a body; nobody is told of any before all of them are good.
async fn read(
    serving: &Arc<Serving>,
    form: Form,
    headers: HeaderMap,
    body: Body,
) -> Result<Vec<Given>, Refusal> {
    let body = whole(serving, &headers, body).await?;
    if body.bytes.len() <= AT_ONCE {
        return checked(serving, form, &headers, &body.bytes);
    }
    let serving = Arc::clone(serving);
    let checked = move || checked(&serving, form, &headers, &body.bytes);
    let checked = tokio::task::spawn_blocking(checked).await;
    checked.unwrap_or_else(|error| Err(Refusal::internal(error.to_string())))
}

fn checked(
    serving: &Serving,
    form: Form,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Vec<Given>, Refusal> {
    let (reader, now) = (&serving.site.reader, serving.site.clock.now());
    let topic: Arc<str> = TOPIC.into();
    let (mut given, mut bad, mut too_large) = (Vec::new(), Vec::new(), false);
    let apart = apart(form, headers, body, |index, event| {
        match reader.read(event, now) {
            Ok(read) => given.push(Given {
                topic: Arc::clone(&topic),
                offset: None,
                user: Some(read.user.to_string().into()),
                bytes: event.into(),
            }),
            Err(why) => {
                too_large |= matches!(why, Rejected::TooLarge { .. });
                bad.push(Bad::new(index, &why));
            }
        }
        if bad.len() < TELLS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if let Err((index, why)) = apart {
        bad.push(Bad::new(index, &why));
    }
    if bad.is_empty() {
        return Ok(given);
    }
    let more = if bad.len() >= TELLS { " or more" } else { "" };
    let words = format!(
        "{}{more} of the events cannot be taken, so none was: mend or remove them, and send the rest again",
        bad.len()
    );
    let refusal =
        if too_large { Refusal::too_large(words) } else { Refusal::bad("bad-events", words) };
    Err(refusal.with("events", serde_json::to_value(bad).unwrap_or_default()))
}

#[derive(Serialize)]
struct Answer<'a> {
    taken: usize,
    /// Known of what is decided, as `rejected` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicates: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<Became<'a>>>,
}

fn answer(settled: &[Settled], brief: bool) -> Response {
    let is_decided = |settled: &Settled| matches!(settled, Settled::Decided { .. });
    let count = |of: fn(&Fate) -> bool| {
        let is_one = |one: &&Settled| matches!(one, Settled::Decided { fate, .. } if of(fate));
        settled.iter().all(is_decided).then(|| settled.iter().filter(is_one).count())
    };
    let answer = Answer {
        taken: settled.len(),
        duplicates: count(|fate| matches!(fate, Fate::Duplicate)),
        rejected: count(|fate| matches!(fate, Fate::Rejected(_))),
        events: (!brief).then(|| settled.iter().map(Became::from).collect()),
    };
    let mut bytes = serde_json::to_vec(&answer).unwrap_or_default();
    bytes.push(b'\n');
    bytes_answer(StatusCode::ACCEPTED, "application/json", bytes)
}

/// The field that a reason is about, as a path from the event.
fn field_of(why: &Rejected) -> Option<String> {
    let path = |words: &str| -> Option<String> {
        if let Some(rest) = words.strip_prefix("missing field `") {
            return rest.split('`').next().map(str::to_owned);
        }
        let cut = words.split_once(": ").or_else(|| words.split_once(" is "));
        let (field, _) = cut.or_else(|| words.split_once(" has "))?;
        let known = |c: char| c.is_ascii_alphanumeric() || "_.[]".contains(c);
        let is_path = !field.is_empty() && field.chars().all(known);
        is_path.then(|| field.to_owned())
    };
    match why {
        Rejected::NotCloudEvent(words) => path(words),
        Rejected::Data(words) if words.starts_with("not an object") => Some("data".into()),
        Rejected::Data(words) => {
            Some(path(words).map_or_else(|| "data".into(), |path| format!("data.{path}")))
        }
        Rejected::SpecVersion(_) => Some("specversion".into()),
        Rejected::UnknownType(_)
        | Rejected::NoVersion(_)
        | Rejected::NewerVersion { .. }
        | Rejected::NotFromOutside(_) => Some("type".into()),
        Rejected::NoSubject | Rejected::Subject(_) => Some("subject".into()),
        Rejected::Ahead(_) => Some("time".into()),
        Rejected::TooLarge { .. }
        | Rejected::NotUtf8 { .. }
        | Rejected::NotJson(_)
        | Rejected::TooDeep { .. }
        | Rejected::Probe(_)
        | Rejected::Conflict
        | Rejected::Misplaced { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_its_field() {
        let not_event = |words: &str| field_of(&Rejected::NotCloudEvent(words.into()));
        let data = |words: &str| field_of(&Rejected::Data(words.into()));
        assert_eq!(not_event("missing field `id`").as_deref(), Some("id"));
        assert_eq!(not_event("time: invalid value").as_deref(), Some("time"));
        assert_eq!(not_event("id is empty").as_deref(), Some("id"));
        assert_eq!(not_event("an array, expected one object"), None);
        assert_eq!(data("device.reg_id: invalid type").as_deref(), Some("data.device.reg_id"));
        assert_eq!(data("features[2]: invalid type").as_deref(), Some("data.features[2]"));
        assert_eq!(data("not an object, expected {\"field\": …}").as_deref(), Some("data"));
        assert_eq!(data("it names no message: expected message_id").as_deref(), Some("data"));
        assert_eq!(field_of(&Rejected::NoSubject).as_deref(), Some("subject"));
    }
}
