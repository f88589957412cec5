//! `GET /v1/users/{user}`: what is known now, asked from the shard that decides for this user.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::Serving;
use super::refusal::{Refusal, json_answer};
use super::routes::{is_set, query};
use crate::domain::address::Address;
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::domain::user::User;
use crate::engine::picture::{self, Shown};

/// Messages shown unless more are asked for.
const USUAL: usize = 100;
const MOST: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    with_content: Option<String>,
    limit: Option<usize>,
}

/// What a shard says of a user.
pub(super) struct Known {
    pub(super) user: User,
    pub(super) policy: Arc<Policy>,
    pub(super) now: Timestamp,
}

/// Shows a user.
pub(super) async fn user(
    State(serving): State<Arc<Serving>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let asked: Asked = query(request.uri())?;
    let limit = asked.limit.unwrap_or(USUAL);
    if limit > MOST {
        return Err(Refusal::bad("query", format!("limit={limit}, expected 0 to {MOST}")));
    }
    let address = address(&serving, &name)?;
    let known = known(&serving, &address).await?;
    let known = known.ok_or_else(|| nothing_known(&address))?;
    let shown = Shown { messages: limit, content: is_set(asked.with_content.as_deref()) };
    // Reasons are looked for among all messages of the user: that may take a while.
    let pictured = move || picture::of(&known.user, &known.policy, known.now, shown);
    let picture = tokio::task::spawn_blocking(pictured).await;
    let picture = picture.map_err(|error| Refusal::internal(error.to_string()))?;
    Ok(json_answer(StatusCode::OK, &picture))
}

/// The user of this name, in any form.
pub(super) fn address(serving: &Serving, name: &str) -> Result<Address, Refusal> {
    // In a query a plus sign that was not encoded has become a space.
    let name = match name.strip_prefix(' ') {
        Some(digits) => format!("+{digits}"),
        None => name.replacen(": ", ":+", 1),
    };
    Address::parse(&name, &serving.site.reader.home).map_err(|why| {
        let words = format!("`{name}` is no user: {why}; such as tel:+15145550100");
        Refusal::bad("user", words)
    })
}

/// What the user's shard says; `None`: it knows nothing.
pub(super) async fn known(serving: &Serving, address: &Address) -> Result<Option<Known>, Refusal> {
    let sought = address.clone();
    let name = address.to_string();
    let asked = serving.ask(&name, move |desk| {
        let now = desk.now();
        let state = desk.state();
        let user = state.users.get(state.users.key(&sought))?;
        Some(Known { user, policy: Arc::clone(&state.policy), now })
    });
    asked.await
}

pub(super) fn nothing_known(address: &Address) -> Refusal {
    Refusal::not_found(format!(
        "nothing is known of {address}: no message waits, and no fact is fresh; its journal may say \
         more: /v1/users/{address}/journal"
    ))
}
