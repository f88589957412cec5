//! Is it alive, is it ready, what does it measure, and what is here.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::Serving;
use super::refusal::bytes_answer;
use super::routes::ROUTES;

const TEXT: &str = "text/plain; charset=utf-8";

/// 200 as long as starting it again would help nothing.
pub(super) async fn livez(State(serving): State<Arc<Serving>>) -> Response {
    match serving.site.host.dead() {
        None => bytes_answer(StatusCode::OK, TEXT, b"ok\n".to_vec()),
        Some(why) => {
            bytes_answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n").into_bytes())
        }
    }
}

/// 200 where events are welcome; `?verbose` says why or why not.
pub(super) async fn readyz(State(serving): State<Arc<Serving>>, request: Request) -> Response {
    let verbose = request.uri().query().is_some_and(|query| query.contains("verbose"));
    let mut checks = serving.site.host.checks();
    if *serving.closing.borrow() {
        let fault = Some("the daemon is stopping".to_owned());
        checks.push(super::Check { name: "running".to_owned(), fault });
    }
    let ready = checks.iter().all(|check| check.fault.is_none());
    let mut text = String::new();
    for check in checks.iter().filter(|check| verbose || check.fault.is_some()) {
        let _ = match &check.fault {
            None => writeln!(text, "[+]{} ok", check.name),
            Some(why) => writeln!(text, "[-]{} failed: {why}", check.name),
        };
    }
    text.push_str(if ready { "ok\n" } else { "not ready\n" });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    bytes_answer(status, TEXT, text.into_bytes())
}

/// What Prometheus reads.
pub(super) async fn metrics(State(serving): State<Arc<Serving>>) -> Response {
    let text = serving.site.host.metrics().into_bytes();
    bytes_answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}

/// What is here.
pub(super) async fn index() -> Response {
    let mut text = format!("deferd {}\n\n", env!("CARGO_PKG_VERSION"));
    for (method, path, says) in ROUTES {
        let _ = writeln!(text, "{method:<7}{path:<32}{says}");
    }
    bytes_answer(StatusCode::OK, TEXT, text.into_bytes())
}
