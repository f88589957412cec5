//! The standards' documents over HTTP: the body is the document, the SIP headers that matter are headers.
//!
//! The status is the one that SIP has, and every answer says it again as `sip`. What goes on as it is
//! (`sip` is null) is answered with 200: whoever sent it relays it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use super::Serving;
use super::body::whole;
use super::refusal::{Refusal, bytes_answer};
use super::users::address;
use crate::edge::front::{self, Answer, Caller, Denial, Headers, reason};

/// Takes an event report.
pub(super) async fn events(
    State(serving): State<Arc<Serving>>,
    request: Request,
) -> Result<Response, Refusal> {
    let request = carried(&serving, request).await?;
    Ok(answered(serving.site.front.event(request).await))
}

/// Takes a message.
pub(super) async fn messages(
    State(serving): State<Arc<Serving>>,
    request: Request,
) -> Result<Response, Refusal> {
    let request = carried(&serving, request).await?;
    Ok(answered(serving.site.front.message(request).await))
}

/// Takes a document of a user's preferences.
pub(super) async fn preferences(
    State(serving): State<Arc<Serving>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let user = address(&serving, &name)?.to_string();
    let request = carried(&serving, request).await?;
    Ok(answered(serving.site.front.preferences(&user, request).await))
}

/// The request, as any protocol carries it.
async fn carried(serving: &Serving, request: Request) -> Result<front::Request, Refusal> {
    if let Some(why) = serving.site.host.trouble() {
        let words = format!("nothing can be made durable now: {why}; nothing was taken");
        return Err(Refusal::unavailable(words));
    }
    let (head, body): (Parts, Body) = request.into_parts();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let lines = head.headers.iter().map(|(name, value)| (name.as_str(), text(value)));
    let lines: Vec<(&str, String)> = lines.collect();
    let headers = Headers::of(lines.iter().map(|(name, value)| (*name, value.as_str())));
    let caller = head.extensions.get::<Caller>().cloned();
    let caller = caller.ok_or_else(|| Refusal::internal("nobody looked at its token"))?;
    let body = whole(serving, &head.headers, body).await?;
    Ok(front::Request { caller, headers, body: body.bytes })
}

/// What SIP says of it.
#[derive(Serialize)]
struct Sip<'a> {
    status: u16,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'a str>,
}

#[derive(Serialize)]
struct Done {
    sip: Option<Sip<'static>>,
    message: String,
    #[serde(flatten)]
    more: BTreeMap<&'static str, Value>,
}

#[derive(Serialize)]
struct NotDone<'a> {
    error: Error<'a>,
    sip: Sip<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
}

fn answered(answer: Result<Answer, Denial>) -> Response {
    let denial = match answer {
        Ok(Answer { status, says, more }) => {
            let sip = status.map(|status| Sip { status, reason: reason(status), warning: None });
            let done = Done { sip, message: says, more: more.into_iter().collect() };
            return said(status.unwrap_or(200), &done);
        }
        Err(denial) => denial,
    };
    let Denial { status, code, says, warning, at, again_in } = &denial;
    let error =
        Error { code, message: says, line: at.map(|at| at.line), column: at.map(|at| at.column) };
    let sip = Sip { status: *status, reason: reason(*status), warning: warning.as_deref() };
    let mut response = said(*status, &NotDone { error, sip });
    if let Some(seconds) = again_in {
        response.headers_mut().insert(header::RETRY_AFTER, (*seconds).into());
    }
    if let Some(warning) = warning.as_ref().and_then(|warning| warning.parse().ok()) {
        response.headers_mut().insert(header::WARNING, warning);
    }
    response
}

fn said(status: u16, what: &impl Serialize) -> Response {
    let mut bytes = serde_json::to_vec(what).unwrap_or_default();
    bytes.push(b'\n');
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    bytes_answer(status, "application/json", bytes)
}
