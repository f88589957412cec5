//! What is where: one table, for the router, for people and for the OpenAPI description.

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Query, Request};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use serde::de::DeserializeOwned;

use super::refusal::{Refusal, bytes_answer};
use super::{Serving, cpm, events, feeds, health, journals, switches, users, waiting};

/// Every route: method, path, and what it is for.
pub const ROUTES: &[(&str, &str, &str)] = &[
    ("POST", "/v1/events", "Hand in events, one or a batch: answered when they are durable"),
    ("GET", "/v1/users/{user}", "What is known of a user: devices, messages, what is in their way"),
    ("GET", "/v1/users", "The users for whom messages wait: ?limit=100&after=CURSOR"),
    ("GET", "/v1/users/{user}/journal", "The records of a user, a line each; newest, or ?from=SEQ"),
    (
        "PUT",
        "/v1/users/{user}/preferences",
        "Replace a user's rules or blacklist by an XDM document",
    ),
    ("GET", "/v1/messages/{id}", "Where a message stands, or how it ended; quicker with ?user="),
    ("GET", "/v1/messages/{id}/why", "What is in its way, because of what, what would release it"),
    ("GET", "/v1/deliveries", "Deliveries to make; keep the cursor: ?after=CURSOR&wait=30"),
    ("GET", "/v1/notifications", "Notifications to send, in the same way"),
    ("GET", "/v1/dead-letters", "Inputs that nobody could use, in the same way"),
    ("POST", "/v1/cpm/events", "Hand in an event report: a gateway's, or a client's for its store"),
    ("POST", "/v1/cpm/messages", "Hand in a MESSAGE for a user: answered by procedure 8.3.1.1"),
    ("GET", "/v1/switches/{switch}", "How a kill switch stands: access_cpm or access_sms"),
    ("PUT", "/v1/switches/{switch}", "Move a kill switch: on, hold or off"),
    ("DELETE", "/v1/switches/{switch}", "Let a kill switch stand as configured again"),
    ("GET", "/v1/openapi.json", "This interface, as OpenAPI 3.1"),
    ("GET", "/livez", "200 as long as the process works"),
    ("GET", "/readyz", "200 where events are welcome; ?verbose says why or why not"),
    ("GET", "/metrics", "What Prometheus reads"),
    ("GET", "/", "This list"),
];

/// Whether a token of `http.callers_file` is enough.
pub(super) fn is_for_callers(path: &str) -> bool {
    path.starts_with("/v1/cpm/")
}

/// Whether everybody may ask, token or not.
pub(super) fn is_open(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz")
}

pub(super) fn router(serving: Arc<Serving>) -> Router {
    let mut router = Router::new();
    for (method, path, _) in ROUTES {
        router = router.route(path, handler(method, path));
    }
    router
        .method_not_allowed_fallback(not_allowed)
        .fallback(not_found)
        .layer(from_fn(name_route))
        .with_state(serving)
}

fn handler(method: &str, path: &str) -> MethodRouter<Arc<Serving>> {
    match (method, path) {
        (_, "/v1/events") => post(events::post),
        (_, "/v1/users/{user}") => get(users::user),
        (_, "/v1/users") => get(waiting::users),
        (_, "/v1/users/{user}/journal") => get(journals::journal),
        (_, "/v1/users/{user}/preferences") => put(cpm::preferences),
        (_, "/v1/cpm/events") => post(cpm::events),
        (_, "/v1/cpm/messages") => post(cpm::messages),
        (_, "/v1/messages/{id}") => get(journals::message),
        (_, "/v1/messages/{id}/why") => get(journals::why),
        (_, "/v1/deliveries") => get(feeds::deliveries),
        (_, "/v1/notifications") => get(feeds::notifications),
        (_, "/v1/dead-letters") => get(feeds::dead_letters),
        ("PUT", "/v1/switches/{switch}") => put(switches::switch),
        ("DELETE", "/v1/switches/{switch}") => delete(switches::switch),
        (_, "/v1/switches/{switch}") => get(switches::switch),
        (_, "/v1/openapi.json") => get(described),
        (_, "/livez") => get(health::livez),
        (_, "/readyz") => get(health::readyz),
        (_, "/metrics") => get(health::metrics),
        (_, "/") => get(health::index),
        (method, path) => unreachable!("{method} {path} stands in ROUTES and has no handler"),
    }
}

/// Tells whoever counts requests which route this was: there are as many as stand in [`ROUTES`].
async fn name_route(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(path) = path {
        response.extensions_mut().insert(path);
    }
    response
}

async fn described() -> Response {
    bytes_answer(StatusCode::OK, "application/json", super::openapi().into_bytes())
}

async fn not_found(uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(200).collect();
    Refusal::not_found(format!("there is nothing at {path}; GET / lists what is here"))
}

async fn not_allowed(method: Method, path: MatchedPath) -> Response {
    let of = ROUTES.iter().filter(|(_, known, _)| *known == path.as_str());
    let allowed = of.map(|(method, ..)| *method).collect::<Vec<_>>().join(", ");
    let words = format!("{method} is not for {}: it takes {allowed}", path.as_str());
    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method", words);
    match allowed.parse() {
        Ok(allowed) => refusal.header(header::ALLOW, allowed).into_response(),
        Err(_) => refusal.into_response(),
    }
}

/// The query of a request.
///
/// # Errors
///
/// Which part of it cannot be read.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Refusal> {
    let read = Query::<T>::try_from_uri(uri).map(|Query(query)| query);
    read.map_err(|error| {
        Refusal::bad(
            "query",
            format!("{}; GET /v1/openapi.json says what there is", error.body_text()),
        )
    })
}

/// Whether a flag of a query is set: `?brief`, `?brief=true`.
pub(super) fn is_set(value: Option<&str>) -> bool {
    matches!(value, Some("" | "1" | "true" | "yes"))
}
