//! `GET /v1/users`: the users for whom messages wait, in slices that hold no shard up.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Serving;
use super::refusal::{Refusal, json_answer};
use super::routes::query;
use crate::domain::user::User;
use crate::engine::picture;
use crate::engine::shard::Desk;
use crate::engine::users::TABLES;

const USUAL: usize = 100;
const MOST: usize = 1000;
/// Tables of users that a shard looks through between two steps.
const SLICE: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    // It says what it lists, and lists nothing else yet.
    #[serde(rename = "waiting")]
    _waiting: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
}

/// How far a listing has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    partition: u32,
    table: usize,
    /// The first user of this table that was not listed.
    key: u64,
}

impl Place {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let place = Self {
            partition: parts.next()?.parse().ok()?,
            table: parts.next()?.parse().ok()?,
            key: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(place)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.partition, self.table, self.key)
    }
}

/// Lists them.
pub(super) async fn users(
    State(serving): State<Arc<Serving>>,
    request: Request,
) -> Result<Response, Refusal> {
    let asked: Asked = query(request.uri())?;
    let limit = asked.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(Refusal::bad("query", format!("limit={limit}, expected 1 to {MOST}")));
    }
    let mut place = match asked.after.as_deref() {
        None => Place::default(),
        Some(text) => Place::read(text).ok_or_else(|| {
            Refusal::bad(
                "cursor",
                format!("after=`{text}` is no cursor: send `next` of the answer before"),
            )
        })?,
    };
    let (mut users, mut elsewhere): (Vec<Value>, Vec<u32>) = (Vec::new(), Vec::new());
    while place.partition < serving.partitions() && users.len() < limit {
        if serving.site.reach.desks.of(place.partition).is_none() {
            elsewhere.push(place.partition);
            place = Place { partition: place.partition + 1, ..Place::default() };
            continue;
        }
        let (from, most) = (place, limit - users.len());
        let slice = serving.ask_partition(place.partition, move |desk| slice(desk, from, most));
        let (found, next) = slice.await?;
        users.extend(found);
        place = next;
    }
    let more = place.partition < serving.partitions();
    let next = more.then(|| place.to_string());
    let mut answer = json!({ "users": users, "next": next });
    if let (Value::Object(answer), false) = (&mut answer, elsewhere.is_empty()) {
        // Partitions whose users another member of the group knows.
        answer.insert("elsewhere".to_owned(), elsewhere.into());
    }
    Ok(json_answer(StatusCode::OK, &answer))
}

/// The next users of a shard, and where to go on.
fn slice(desk: &dyn Desk, from: Place, most: usize) -> (Vec<Value>, Place) {
    let now = desk.now();
    let state = desk.state();
    let shown = |user: &User| picture::in_brief(user, &state.policy, now);
    let mut found = Vec::new();
    for table in from.table..TABLES.min(from.table + SLICE) {
        let after = if table == from.table { from.key } else { 0 };
        let (_, keys) = state.users.waiting(table);
        for key in keys.into_iter().filter(|key| key.number() >= after) {
            if found.len() == most {
                return (found, Place { table, key: key.number(), ..from });
            }
            found.extend(state.users.see(key, shown));
        }
    }
    let table = from.table + SLICE;
    let next = if table < TABLES {
        Place { table, key: 0, ..from }
    } else {
        Place { partition: from.partition + 1, ..Place::default() }
    };
    (found, next)
}
