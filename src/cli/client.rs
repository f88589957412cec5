//! Asks a daemon that runs, over HTTP, and says what it answers.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Answer;
use super::args::{Daemon, Output};
use super::config::Loaded;
use super::replay::paint::{BAD, DIM, GOOD, paint};

/// For a connection on a machine that answers at all.
const CONNECT: Duration = Duration::from_secs(5);
/// Beyond what the daemon itself takes its time for: a whole journal may have to be read.
const ANSWER: Duration = Duration::from_secs(150);
/// Octets of an answer.
const MOST: u64 = 256 << 20;
/// What the daemon may say of an attempt that came too soon, before it is given up.
const TRIES: u32 = 5;

/// A daemon that is asked.
pub(super) struct Client {
    agent: ureq::Agent,
    base: String,
    token: Option<String>,
}

/// What it answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Client {
    /// The daemon that was named, or the one of this configuration.
    ///
    /// # Errors
    ///
    /// The name is none, or the token cannot be read.
    pub(super) fn new(daemon: &Daemon, config: &Loaded) -> anyhow::Result<Self> {
        let http = &config.config.http;
        let base = match &daemon.url {
            None => format!("http://{}", http.listen),
            Some(url) if url.starts_with("http://") => url.trim_end_matches('/').to_owned(),
            Some(url) => bail!("--url `{url}`: expected http://HOST:PORT"),
        };
        let file = &http.token_file;
        let token = if file.as_os_str().is_empty() {
            None
        } else {
            let read = std::fs::read_to_string(file);
            let text = read.with_context(|| format!("http.token_file: {}", file.display()))?;
            Some(text.trim().to_owned())
        };
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(ANSWER))
            .build();
        Ok(Self { agent: agent.into(), base, token })
    }

    /// Asks for something.
    ///
    /// # Errors
    ///
    /// Nobody answers.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Reply> {
        self.patiently(|| {
            let mut request = self.agent.get(format!("{}{path}", self.base));
            if let Some(token) = &self.token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            request.call()
        })
    }

    /// Hands something in.
    ///
    /// # Errors
    ///
    /// Nobody answers.
    pub(super) fn post(&self, path: &str, of: &str, body: &[u8]) -> anyhow::Result<Reply> {
        self.patiently(|| {
            let mut request = self.agent.post(format!("{}{path}", self.base)).content_type(of);
            if let Some(token) = &self.token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            request.send(body)
        })
    }

    /// Asks, and asks again where the daemon says so: an input that comes twice is a duplicate.
    fn patiently(
        &self,
        ask: impl Fn() -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> anyhow::Result<Reply> {
        let mut tries = 1;
        loop {
            let mut response = ask().map_err(|error| self.unanswered(error))?;
            let header = |name| {
                let value = response.headers().get(name).and_then(|value| value.to_str().ok());
                value.map(str::to_owned)
            };
            let status = response.status().as_u16();
            let wait = header("retry-after").and_then(|seconds| seconds.parse().ok());
            if let (429 | 503, Some(seconds)) = (status, wait)
                && tries < TRIES
            {
                tries += 1;
                std::thread::sleep(Duration::from_secs(seconds));
                continue;
            }
            let body = response.body_mut().with_config().limit(MOST).read_to_string();
            let body = body.map_err(|error| self.unanswered(error))?;
            return Ok(Reply { status, body });
        }
    }

    fn unanswered(&self, error: ureq::Error) -> anyhow::Error {
        let base = &self.base;
        let refused = matches!(&error, ureq::Error::Io(error)
            if error.kind() == std::io::ErrorKind::ConnectionRefused);
        if refused {
            anyhow!("no daemon at {base}: start one with `deferd run`, or name it with --url")
        } else {
            anyhow!(error).context(format!("the daemon at {base} does not answer"))
        }
    }
}

impl Reply {
    /// The answer; `None` where the daemon knows nothing of it, which is said.
    ///
    /// # Errors
    ///
    /// The daemon refuses: its words.
    pub(super) fn known(&self) -> anyhow::Result<Option<Value>> {
        match self.status {
            200..300 => self.read().map(Some),
            404 => {
                super::warn(&self.error());
                Ok(None)
            }
            _ => bail!("{}", self.error()),
        }
    }

    /// The answer.
    ///
    /// # Errors
    ///
    /// It is not what this program reads.
    pub(super) fn read<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_str(&self.body)
            .context("the daemon's answer is none that this program reads")
    }

    /// What it says is wrong, with all that it lists.
    pub(super) fn error(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let Some(message) = body.pointer("/error/message").and_then(Value::as_str) else {
            let start: String = self.body.chars().take(200).collect();
            return format!("the daemon answers {}: {}", self.status, start.trim());
        };
        let mut text = message.to_owned();
        for event in body.pointer("/error/events").and_then(Value::as_array).into_iter().flatten() {
            text.push_str(&format!(
                "\n  {}",
                event.get("reason").map_or("", |r| r.as_str().unwrap_or(""))
            ));
        }
        for user in body.pointer("/error/users").and_then(Value::as_array).into_iter().flatten() {
            text.push_str(&format!("\n  {} from {}", text_of(user, "user"), text_of(user, "from")));
        }
        text
    }
}

/// A field of an answer, as text.
pub(super) fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// An event of ours: seen now, with an id of its own.
///
/// # Errors
///
/// There is no randomness.
pub(super) fn event(kind: &str, user: &str, data: &Value) -> anyhow::Result<Value> {
    Ok(json!({
        "specversion": "1.0", "id": random()?, "source": "/deferd/cli", "type": kind,
        "subject": user, "data": data,
    }))
}

/// A name that nobody else has.
///
/// # Errors
///
/// There is no randomness.
pub(super) fn random() -> anyhow::Result<String> {
    let mut octets = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut octets))
        .context("/dev/urandom")?;
    Ok(octets.iter().map(|octet| format!("{octet:02x}")).collect())
}

/// What became of an input.
#[derive(Debug)]
pub(super) struct Told {
    /// For programs.
    pub(super) json: Value,
    /// Whether it was taken.
    taken: bool,
    words: String,
}

impl Told {
    /// What the answer for one event says.
    pub(super) fn of(json: Value) -> Self {
        let fate = text_of(&json, "fate");
        let reason = Some(text_of(&json, "reason")).filter(|reason| !reason.is_empty());
        let words = match (fate, reason) {
            ("decided", _) => "something followed from it".to_owned(),
            ("duplicate", _) => "it was taken before: nothing was done twice".to_owned(),
            ("ignored", Some(why)) => format!("nothing followed from it: {why}"),
            ("", None) => "its topic has it, and it is decided in its turn".to_owned(),
            (_, Some(why)) => why.to_owned(),
            (_, None) => String::new(),
        };
        Self { taken: fate != "rejected", json, words }
    }

    /// It was not let in.
    pub(super) fn rejected(reason: &str) -> Self {
        Self::of(json!({ "fate": "rejected", "reason": reason }))
    }

    /// Where it stands, for people.
    fn place(&self) -> Option<String> {
        let partition = self.json.get("partition")?;
        Some(match (self.json.get("seq"), self.json.get("offset")) {
            (Some(seq), _) => format!("partition {partition}, #{seq}"),
            (None, Some(offset)) => {
                format!("{}, partition {partition}, offset {offset}", text_of(&self.json, "topic"))
            }
            (None, None) => return None,
        })
    }
}

/// Hands one event in, and hears what became of it.
///
/// # Errors
///
/// Nobody answers, or the daemon takes nothing now.
pub(super) fn give(client: &Client, event: &[u8]) -> anyhow::Result<Told> {
    let reply = client.post("/v1/events", "application/cloudevents+json", event)?;
    if matches!(reply.status, 400 | 413) {
        let body: Value = reply.read()?;
        let reason = body.pointer("/error/events/0/reason").and_then(Value::as_str);
        return Ok(Told::rejected(&reason.map_or_else(|| reply.error(), str::to_owned)));
    }
    if reply.status != 202 {
        bail!("{}", reply.error());
    }
    let answer: Value = reply.read()?;
    Ok(Told::of(answer.pointer("/events/0").cloned().unwrap_or_default()))
}

/// Writes what became of an input, for people behind `what`.
///
/// # Errors
///
/// It cannot be written.
pub(super) fn tell(
    told: &Told,
    what: &str,
    output: Output,
    out: &mut dyn Write,
) -> anyhow::Result<Answer> {
    if output == Output::Table {
        let fate = Some(text_of(&told.json, "fate")).filter(|fate| !fate.is_empty());
        let fate = paint(if told.taken { GOOD } else { BAD }, fate.unwrap_or("taken"));
        let place = told.place().map_or_else(String::new, |place| paint(DIM, format!("  {place}")));
        writeln!(out, "{what}: {fate}, {}{place}", told.words)?;
    } else {
        writeln!(out, "{}", told.json)?;
    }
    out.flush()?;
    Ok(if told.taken { Answer::Done } else { Answer::No })
}

/// Text as a part of a path or a query.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            encoded.push(char::from(octet));
        } else {
            encoded.push_str(&format!("%{octet:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_every_octet() {
        assert_eq!(encoded("tel:+1 514"), "tel%3A%2B1%20514");
        assert_eq!(encoded("m/1?é"), "m%2F1%3F%C3%A9");
    }

    #[test]
    fn an_error_is_told_with_all_that_it_lists() {
        let reply = |body: &str| Reply { status: 400, body: body.to_owned() };
        let several = r#"{"error":{"message":"several","users":[{"user":"tel:+1","from":"a"}]}}"#;
        assert_eq!(reply(several).error(), "several\n  tel:+1 from a");
        assert_eq!(reply("<html>").error(), "the daemon answers 400: <html>");
    }
}
