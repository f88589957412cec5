//! One POST of a CloudEvent, and what its answer means.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::Agent;
use ureq::http::header::{HeaderMap, RETRY_AFTER};

use super::board::Job;
use super::outcome::GivenUp;
use super::storing::REQUEST;
use super::webhook::Hand;
use super::{SinkError, Webhook};
use crate::domain::time::Timestamp;

/// What an answer may have to say beside its status.
const ANSWER: u64 = 64 << 10;
/// The longest that an answer may make us wait.
const LONGEST: Duration = Duration::from_secs(3600);

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was taken.
    Taken,
    /// Not now: why, and from when on.
    NotNow(String, Option<Duration>),
    /// Never.
    Refused(GivenUp),
}

/// Posts to one URL.
#[derive(Debug)]
pub(super) struct Poster {
    agent: Agent,
    url: String,
    token_file: Option<PathBuf>,
    /// The value of `Authorization`.
    token: Mutex<Option<Arc<str>>>,
    /// Somebody else keeps records.
    no_records: bool,
}

impl Poster {
    pub(super) fn new(url: &str, settings: &Webhook, no_records: bool) -> Result<Self, SinkError> {
        let config = Agent::config_builder()
            .timeout_global(Some(settings.timeout))
            .http_status_as_error(false)
            // A command is posted where the operator said, and nowhere else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .max_idle_connections_per_host(settings.concurrency)
            .max_idle_connections(settings.concurrency)
            .user_agent(concat!("deferd/", env!("CARGO_PKG_VERSION")))
            .build();
        let poster = Self {
            agent: config.into(),
            url: url.to_owned(),
            token_file: settings.token_file.clone(),
            token: Mutex::default(),
            no_records,
        };
        poster.read_token()?;
        Ok(poster)
    }

    /// Reads the token again.
    fn read_token(&self) -> Result<(), SinkError> {
        let Some(path) = &self.token_file else { return Ok(()) };
        let wrong = |why: String| SinkError::Token { path: path.clone(), why };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("expected one word of visible ASCII".into()));
        }
        let token = Some(format!("Bearer {token}").into());
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
        Ok(())
    }

    /// Posts an event; the same one again has the same `id`, and a higher `attempt`.
    fn post(&self, id: &str, tries: u32, body: &[u8], now: Timestamp) -> Answer {
        let mut request = self
            .agent
            .post(&self.url)
            .header("content-type", "application/cloudevents+json")
            .header("idempotency-key", id)
            .header("deferd-attempt", tries.to_string());
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(token) = token {
            request = request.header("authorization", &*token);
        }
        let mut response = match request.send(body) {
            Ok(response) => response,
            Err(error) => return Answer::NotNow(error.to_string(), None),
        };
        let status = response.status().as_u16();
        let wait = retry_after(response.headers(), now);
        // Read to its end, so that the connection serves again; what it says does not matter.
        let _ = response.body_mut().with_config().limit(ANSWER).read_to_vec();
        match status {
            200..=299 => Answer::Taken,
            408 | 429 | 500..=599 => Answer::NotNow(format!("it answers {status}"), wait),
            _ => Answer::Refused(GivenUp::Refused(status)),
        }
    }
}

impl Hand for Poster {
    fn wants(&self, kind: &str) -> bool {
        !(self.no_records && kind.starts_with(REQUEST))
    }

    fn offer(&self, job: &Job, now: Timestamp) -> Answer {
        self.post(&job.command.id, job.tries + 1, &job.body, now)
    }

    fn tells_success(&self) -> bool {
        false
    }

    fn reload(&self) {
        if let Err(error) = self.read_token() {
            tracing::error!("the token stays as it was: {error}");
        }
    }
}

/// How long an answer asks us to wait: seconds, or until a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
            Timestamp::from_millis(date.timestamp_millis()).since(now)
        }
    };
    Some(wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_say_when_to_come_back() {
        let now = "2026-11-21T08:00:00Z".parse().unwrap();
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("7"), Some(7));
        assert_eq!(wait("Sat, 21 Nov 2026 08:00:30 GMT"), Some(30));
        assert_eq!(wait("Sat, 21 Nov 2026 07:00:30 GMT"), Some(0));
        assert_eq!(wait("99999999"), Some(3600));
        assert_eq!(wait("soon"), None);
    }
}
