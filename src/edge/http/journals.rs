//! What the journal says of a user or a message: read from the partition, beside the work.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Serving;
use super::refusal::{Refusal, bytes_answer, json_answer};
use super::routes::{is_set, query};
use super::users::{Known, address, known};
use crate::domain::address::Address;
use crate::engine::history::{Answer, Followed, Holders, Line, Stories};
use crate::engine::intake::partition_of;
use crate::engine::picture;
use crate::engine::tail::TailError;

const USUAL: usize = 100;
const MOST: usize = 10_000;
/// Octets of one page of a journal.
const PAGE_BYTES: usize = 8 << 20;
/// Records between two looks at whether anybody still waits.
const LOOKS: u64 = 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageAsked {
    from: Option<u64>,
    limit: Option<usize>,
    with_content: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageAsked {
    user: Option<String>,
    with_content: Option<String>,
}

/// `GET /v1/users/{user}/journal`: the records of a user, a line each; the newest, or from one on.
pub(super) async fn journal(
    State(serving): State<Arc<Serving>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let asked: PageAsked = query(request.uri())?;
    let limit = asked.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(Refusal::bad("query", format!("limit={limit}, expected 1 to {MOST}")));
    }
    let user = address(&serving, &name)?.to_string();
    let (from, with_content) = (asked.from, is_set(asked.with_content.as_deref()));
    let (lines, next) = reading(&serving, move |reading| {
        let partition = partition_of(&user, reading.serving.partitions());
        let (mut lines, mut bytes, mut next) = (VecDeque::new(), 0, from.unwrap_or(0));
        reading.each(partition, from.unwrap_or(0), |line| {
            if line.user.as_deref() == Some(&*user) {
                if from.is_some() && (lines.len() == limit || bytes >= PAGE_BYTES) {
                    return Ok(ControlFlow::Break(()));
                }
                bytes += line.bytes.len();
                lines.push_back(line.bytes.to_vec());
                while lines.len() > limit || (bytes > PAGE_BYTES && lines.len() > 1) {
                    bytes -= lines.pop_front().map_or(0, |line| line.len());
                }
            }
            next = line.seq + 1;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((lines, next))
    })
    .await?;
    let mut text = Vec::new();
    for line in lines {
        text.extend_from_slice(&if with_content { line } else { without_content(line) });
        text.push(b'\n');
    }
    let mut response = bytes_answer(StatusCode::OK, "application/x-ndjson", text);
    response.headers_mut().insert(HeaderName::from_static("deferd-next"), next.into());
    Ok(response)
}

/// `GET /v1/messages/{id}`: where a message stands, or how it ended.
pub(super) async fn message(
    State(serving): State<Arc<Serving>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let asked: MessageAsked = query(request.uri())?;
    let user = holder(&serving, &id, asked.user.as_deref()).await?;
    let with_content = is_set(asked.with_content.as_deref());
    if let Some(known) = known(&serving, &user).await? {
        let (policy, now) = (&known.policy, known.now);
        let waiting = picture::waiting(&known.user, policy, now, &id, with_content);
        if let Some(waiting) = waiting {
            return Ok(json_answer(StatusCode::OK, &waiting));
        }
    }
    let answers = stories(&serving, &user, &id).await?;
    Ok(json_answer(StatusCode::OK, &picture::ended(&user, &answers)))
}

/// `GET /v1/messages/{id}/why`: what stands in its way, because of what, and what would release it.
pub(super) async fn why(
    State(serving): State<Arc<Serving>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let asked: MessageAsked = query(request.uri())?;
    let user = holder(&serving, &id, asked.user.as_deref()).await?;
    let answers = stories(&serving, &user, &id).await?;
    let answers = serde_json::to_value(answers).map_err(|e| Refusal::internal(e.to_string()))?;
    Ok(json_answer(StatusCode::OK, &answers))
}

/// Whose message it is: as asked, or as the whole journal says.
async fn holder(serving: &Arc<Serving>, id: &str, user: Option<&str>) -> Result<Address, Refusal> {
    if let Some(user) = user {
        return address(serving, user);
    }
    let holders = Holders::of(id);
    let found = reading(serving, move |reading| {
        let mut holders = holders;
        let reader = &reading.serving.site.reader;
        for partition in 0..reading.serving.partitions() {
            reading.each(partition, 0, |line| {
                holders.take(line, reader).map_err(|error| unreadable(line.seq, &error))?;
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(holders.found().to_vec())
    })
    .await?;
    let Some((first, _)) = found.first() else { return Err(unknown(id)) };
    if found.iter().all(|(user, _)| user == first) {
        return address(serving, first);
    }
    let users: Vec<Value> =
        found.iter().map(|(user, from)| json!({ "user": user, "from": from })).collect();
    let words =
        format!("several users have a message `{id}`: ask again with ?user= and one of these");
    Err(Refusal::new(StatusCode::MULTIPLE_CHOICES, "several", words).with("users", users))
}

/// All that the journal says of a message; where its beginning was removed, what its shard still knows.
async fn stories(serving: &Arc<Serving>, user: &Address, id: &str) -> Result<Vec<Answer>, Refusal> {
    let now = known(serving, user).await?;
    let (user, id) = (user.clone(), id.to_owned());
    let answers = reading(serving, move |reading| {
        let mut stories = Stories::new(&user, &id);
        let site = &reading.serving.site;
        let partition = partition_of(&user.to_string(), reading.serving.partitions());
        reading.each(partition, 0, |line| {
            stories.take(line, &site.reader).map_err(|error| unreadable(line.seq, &error))?;
            Ok(ControlFlow::Continue(()))
        })?;
        let mut answers = stories.answers(stories.at().max(site.clock.now()));
        let is_cut = site.journals.read(partition, 0).map_err(failed)?.next_seq() > 0;
        if let Some(now) = now.filter(|_| is_cut) {
            complete(&mut answers, now, &user, &id);
        }
        if answers.is_empty() { Err(unknown(&id)) } else { Ok(answers) }
    });
    answers.await
}

/// A message that was accepted before the oldest record waits as its shard says, and its history begins
/// with what is kept.
fn complete(answers: &mut Vec<Answer>, known: Known, user: &Address, id: &str) {
    let mut followed = Followed::new(user);
    followed.user = known.user;
    followed.policy = known.policy;
    for waiting in Stories::after(followed, id).answers(known.now) {
        match answers.iter_mut().find(|answer| answer.from == waiting.from) {
            Some(answer) if answer.accepted.is_some() => {}
            Some(answer) => answer.waits = waiting.waits,
            None => answers.push(waiting),
        }
    }
}

fn unknown(id: &str) -> Refusal {
    Refusal::not_found(format!(
        "no message `{id}` was accepted, as far as the journal is kept: is it the id that its sender \
         gave it, and this its user?"
    ))
}

fn unreadable(seq: u64, why: &dyn std::fmt::Display) -> Refusal {
    Refusal::internal(format!("record {seq} of the journal cannot be read: {why}"))
}

/// Reads journals on a thread of its own, as few at once as there may be.
async fn reading<T: Send + 'static>(
    serving: &Arc<Serving>,
    read: impl FnOnce(&Reading) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let permit = Arc::clone(&serving.readings).try_acquire_owned().map_err(|_| {
        let words =
            "others read the journal already, and each such reading costs: come back in a second";
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, "busy", words).again_in(1)
    })?;
    let waits = Arc::new(AtomicBool::new(true));
    let _gone = Gone(Arc::clone(&waits));
    let reading = Reading { serving: Arc::clone(serving), waits };
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        read(&reading)
    });
    done.await.unwrap_or_else(|error| Err(Refusal::internal(error.to_string())))
}

/// Whoever asked has gone when this is dropped.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

struct Reading {
    serving: Arc<Serving>,
    waits: Arc<AtomicBool>,
}

impl Reading {
    /// Hands out the records of a partition that are durable now, until `each` has seen enough.
    fn each(
        &self,
        partition: u32,
        from: u64,
        mut each: impl FnMut(&Line<'_>) -> Result<ControlFlow<()>, Refusal>,
    ) -> Result<(), Refusal> {
        let mut tail = self.serving.site.journals.read(partition, from).map_err(failed)?;
        while let Some(recorded) = tail.next().map_err(failed)? {
            if recorded.seq.is_multiple_of(LOOKS) && !self.waits.load(Ordering::SeqCst) {
                return Err(Refusal::unavailable("whoever asked has gone"));
            }
            let line = Line::of(recorded.at, recorded.line);
            let line = line.map_err(|error| unreadable(recorded.seq, &error))?;
            if each(&line)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn failed(error: TailError) -> Refusal {
    match error {
        TailError::Removed { oldest } => {
            let words = format!(
                "records before {oldest} were removed, since they were older than \
                                 the retention: ask from={oldest}"
            );
            Refusal::new(StatusCode::GONE, "removed", words).with("oldest", oldest)
        }
        TailError::Failed(why) => Refusal::internal(format!("the journal cannot be read: {why}")),
    }
}

/// A record without the content of its message, which is asked for by name.
fn without_content(line: Vec<u8>) -> Vec<u8> {
    let Ok(mut record) = serde_json::from_slice::<Value>(&line) else { return line };
    let Some(data) = record.pointer_mut("/input/data").and_then(Value::as_object_mut) else {
        return line;
    };
    let mut omitted = 0;
    for name in ["body", "body_base64"] {
        let body = data.remove(name);
        omitted += body.as_ref().and_then(Value::as_str).map_or(0, str::len);
    }
    if omitted == 0 {
        return line;
    }
    data.insert("body_omitted".to_owned(), omitted.into());
    record.to_string().into_bytes()
}
