//! The kill switches: a person stops an access at once, with name and reason, and lets it go on.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Serving;
use super::body::whole;
use super::refusal::{Refusal, json_answer};
use crate::domain::event::Access;
use crate::domain::policy::AccessSwitch;
use crate::domain::time::Timestamp;

/// How a switch stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// What it says now.
    pub value: AccessSwitch,
    /// Who moved it and why, and when; `None`: it stands as configured.
    pub moved: Option<(Change, Timestamp)>,
}

/// What a person wants of a switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where it is to stand; `None`: as configured.
    pub value: Option<AccessSwitch>,
    /// Who wants it.
    pub operator: String,
    /// Why.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    value: Option<AccessSwitch>,
    operator: String,
    reason: String,
}

/// Shows a switch, moves it (PUT), or lets it stand as configured again (DELETE).
pub(super) async fn switch(
    State(serving): State<Arc<Serving>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let access = match name.as_str() {
        "access_cpm" => Access::Cpm,
        "access_sms" => Access::Sms,
        _ => {
            let words = format!("there is no switch `{name}`: there are access_cpm and access_sms");
            return Err(Refusal::not_found(words));
        }
    };
    let (head, body) = request.into_parts();
    if head.method == Method::GET || head.method == Method::HEAD {
        let switch = serving.site.host.switch(access);
        let switch = switch.ok_or_else(|| Refusal::not_found("there are no switches here"))?;
        return Ok(shown(&name, &switch));
    }
    let body = whole(&serving, &head.headers, body).await?;
    let wanted: Wanted =
        serde_json::from_slice(&body.bytes).map_err(|error| bad(&error.to_string()))?;
    let put = head.method == Method::PUT;
    if put != wanted.value.is_some() {
        return Err(bad(if put {
            "value is missing"
        } else {
            "value has no business in a DELETE"
        }));
    }
    for (field, text) in [("operator", &wanted.operator), ("reason", &wanted.reason)] {
        if text.trim().is_empty() || text.len() > 1024 {
            return Err(bad(&format!("{field} is empty, or longer than 1024 bytes")));
        }
    }
    let change = Change { value: wanted.value, operator: wanted.operator, reason: wanted.reason };
    // The journal is written before it returns.
    let host = Arc::clone(&serving.site.host);
    let moved = tokio::task::spawn_blocking(move || host.set_switch(access, &change)).await;
    let moved = moved.map_err(|error| Refusal::internal(error.to_string()))?;
    moved.map(|switch| shown(&name, &switch)).map_err(Refusal::unavailable)
}

fn bad(why: &str) -> Refusal {
    let form = r#"{"value":"on|hold|off","operator":"…","reason":"…"}"#;
    Refusal::bad("switch", format!("{why}; expected {form}, and no value to DELETE"))
}

fn shown(name: &str, switch: &Switch) -> Response {
    let mut answer = Map::new();
    answer.insert("switch".into(), name.into());
    answer.insert("value".into(), serde_json::to_value(switch.value).unwrap_or_default());
    answer.insert("moved".into(), switch.moved.is_some().into());
    if let Some((change, at)) = &switch.moved {
        answer.insert("operator".into(), change.operator.as_str().into());
        answer.insert("reason".into(), change.reason.as_str().into());
        answer.insert("at".into(), at.to_string().into());
    }
    json_answer(StatusCode::OK, &Value::Object(answer))
}
