//! What is not done, and what to do about it: JSON, always of one form.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::edge::reach::{NotTaken, Silent};
use crate::engine::intake::Refused;

/// The answer to a request that is not done.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// In one word, for programs.
    code: &'static str,
    /// In a sentence, with what to do.
    message: String,
    /// Beside them, inside `error`.
    more: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let (message, more, headers) = (message.into(), Map::new(), Vec::new());
        Self { status, code, message, more, headers }
    }

    pub(super) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", message)
    }

    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// Not now: again in a second.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message).again_in(1)
    }

    pub(super) fn stopping() -> Self {
        let message = "the daemon is stopping; send it again when it is back";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", message).again_in(5)
    }

    /// Another process decides for this partition.
    pub(super) fn elsewhere(partition: u32) -> Self {
        let message = format!(
            "partition {partition}, where this user is, is not decided here now: ask another member of \
             the group, or the journal, with `deferd why` or `deferd user show`"
        );
        Self::new(StatusCode::MISDIRECTED_REQUEST, "elsewhere", message)
    }

    pub(super) fn unauthorized() -> Self {
        let message = "the token is missing or wrong: send `Authorization: Bearer TOKEN`, with the \
                       token of http.token_file";
        let mut refusal = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
        let asks = HeaderValue::from_static("Bearer realm=\"deferd\"");
        refusal.headers.push((WWW_AUTHENTICATE, asks));
        refusal
    }

    /// A token of one caller opens what is that caller's.
    pub(super) fn not_for_callers() -> Self {
        let message = "this token is a caller's (http.callers_file), and opens /v1/cpm/ alone; the rest \
                       takes the token of http.token_file";
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub(super) fn again_in(mut self, seconds: u64) -> Self {
        self.headers.push((RETRY_AFTER, seconds.into()));
        self
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl From<NotTaken> for Refusal {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::Refused(refused @ Refused::Full) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "full",
                format!("{refused}; none of these was taken"),
            )
            .again_in(1),
            NotTaken::Refused(refused @ Refused::TooMany(_)) => {
                Self::too_large(format!("{refused}; none of these was taken"))
            }
            NotTaken::Refused(Refused::Closed) => Self::stopping(),
            NotTaken::Unknown(why) => {
                let words = format!(
                    "{why}: these events may or may not be taken. Send them again with the same ids: \
                     what was taken is answered as a duplicate, or changes nothing"
                );
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unknown", words).again_in(1)
            }
        }
    }
}

impl From<Silent> for Refusal {
    fn from(why: Silent) -> Self {
        match why {
            Silent::Elsewhere(partition) => Self::elsewhere(partition),
            Silent::Stopping => Self::stopping(),
            Silent::Slow => Self::unavailable("the partition does not answer: see /readyz"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut error = Map::new();
        error.insert("code".into(), self.code.into());
        error.insert("message".into(), self.message.into());
        error.extend(self.more);
        let mut response = json_answer(self.status, &json!({ "error": error }));
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// An answer of JSON.
pub(super) fn json_answer(status: StatusCode, value: &Value) -> Response {
    bytes_answer(status, "application/json", format!("{value}\n").into_bytes())
}

/// An answer of this type.
pub(super) fn bytes_answer(status: StatusCode, of: &'static str, bytes: Vec<u8>) -> Response {
    (status, [(CONTENT_TYPE, HeaderValue::from_static(of))], bytes).into_response()
}
