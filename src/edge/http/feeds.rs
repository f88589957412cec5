//! What others are asked to do, page by page: the reader keeps its cursor, and asks again.
//!
//! At least once: a page that was read and not worked through is asked for again with the cursor before
//! it. In order a user, since a user stands in one partition. What one record asks for is never split
//! across pages, so that a cursor is a record's number and no more.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use tokio::time::Instant;

use super::cursor::Cursor;
use super::refusal::{Refusal, bytes_answer};
use super::routes::query;
use super::{Feeds, Serving};
use crate::engine::tail::{Tail, TailError, Tails};

/// The longest wait for news: shorter than what stands in between usually waits.
pub(super) const LONGEST_WAIT: u64 = 60;
const MOST: usize = 1000;
const USUAL: usize = 100;
/// A page that is longer than this in octets ends.
const PAGE_BYTES: usize = 4 << 20;
/// Records looked at in one go, whether or not they ask for anything.
const LOOKS: usize = 20_000;
/// Commits that follow each other closely make one page.
const GATHER: Duration = Duration::from_millis(2);
/// Followers that are kept; the oldest goes first.
const KEEPS: usize = 64;

/// Deliveries and copies to storage.
pub(super) async fn deliveries(
    State(serving): State<Arc<Serving>>,
    request: Request,
) -> Result<Response, Refusal> {
    feed(serving, "cpm.deliveries", request).await
}

/// Notifications and answers to revocations.
pub(super) async fn notifications(
    State(serving): State<Arc<Serving>>,
    request: Request,
) -> Result<Response, Refusal> {
    feed(serving, "cpm.notifications", request).await
}

/// What nobody could use.
pub(super) async fn dead_letters(
    State(serving): State<Arc<Serving>>,
    request: Request,
) -> Result<Response, Refusal> {
    feed(serving, "cpm.dead-letters", request).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    after: Option<String>,
    wait: Option<u64>,
    limit: Option<usize>,
}

async fn feed(
    serving: Arc<Serving>,
    topic: &'static str,
    request: Request,
) -> Result<Response, Refusal> {
    let asked: Asked = query(request.uri())?;
    let wait = asked.wait.unwrap_or(0);
    if wait > LONGEST_WAIT {
        let words = format!("wait={wait}, expected 0 to {LONGEST_WAIT} seconds");
        return Err(Refusal::bad("query", words));
    }
    let limit = asked.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(Refusal::bad("query", format!("limit={limit}, expected 1 to {MOST}")));
    }
    let tails = match &serving.site.feeds {
        Feeds::Here(tails) => Arc::clone(tails),
        Feeds::Topics(prefix) => return Err(on_a_topic(prefix, topic)),
    };
    let after = after(&serving, &*tails, asked.after.as_deref())?;
    let until = Instant::now() + Duration::from_secs(wait);
    let (mut news, mut closing) = (serving.news.clone(), serving.closing.clone());
    let (opening, of) = (Arc::clone(&serving), Arc::clone(&tails));
    let open = move || opening.kept.open(&*of, after.as_ref());
    let mut followers = blocking(open).await?;
    loop {
        news.borrow_and_update();
        let of = Arc::clone(&tails);
        let (back, page) = blocking(move || {
            // What is read in a page that fails was told to nobody: it is gone on with from before it.
            let before = place_of(&followers);
            let page = page(&mut followers, topic, limit);
            let page = page.map_err(|error| failed(&*of, &error, Some(&before)))?;
            Ok((followers, page))
        })
        .await?;
        followers = back;
        let over = Instant::now() >= until || *closing.borrow();
        // A long way without a word for this reader is gone on with, as far as a request may take.
        let enough = Instant::now() >= until + serving.site.limits.timeout;
        if !page.events.is_empty() || (over && page.at_end) || enough {
            return Ok(serving.kept.answer(followers, page, &request_form(request.headers())));
        }
        if !page.at_end {
            continue;
        }
        tokio::select! {
            _ = news.changed() => tokio::time::sleep(GATHER).await,
            () = async { drop(closing.wait_for(|closing| *closing).await) } => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}

fn on_a_topic(prefix: &str, topic: &str) -> Refusal {
    let words = format!(
        "with log=kafka this stands on a topic of its own: read {prefix}{topic}, with isolation.level \
         read_committed"
    );
    Refusal::new(StatusCode::NOT_IMPLEMENTED, "elsewhere", words)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Refusal::internal(error.to_string())))
}

/// Where the reader wants to go on; `None`: at the oldest record.
fn after(
    serving: &Serving,
    tails: &dyn Tails,
    text: Option<&str>,
) -> Result<Option<Cursor>, Refusal> {
    let partitions = serving.partitions();
    let Some(text) = text else { return Ok(None) };
    if text == "now" {
        return Ok(Some(Cursor::new(partitions, |partition| tails.end(partition))));
    }
    let bad = |why: &str| {
        Refusal::bad(
            "cursor",
            format!(
                "after=`{}` {why}: send `next` of the answer before, nothing for the oldest, or `now`",
                text.chars().take(100).collect::<String>()
            ),
        )
    };
    let cursor: Cursor = text.parse().map_err(|()| bad("is no cursor"))?;
    if cursor.stranger(partitions).is_some() {
        return Err(bad("names a partition that is not there"));
    }
    let is_past =
        |partition: u32| cursor.place(partition).is_some_and(|at| at > tails.end(partition));
    if (0..partitions).any(is_past) {
        return Err(bad("is past the end: it is from another data directory"));
    }
    Ok(Some(cursor))
}

/// Followers between pages: to open one walks a segment, and a reader usually comes back for more.
#[derive(Default)]
pub(super) struct Kept(Mutex<VecDeque<(u32, Box<dyn Tail>)>>);

type Followers = Vec<(u32, Box<dyn Tail>)>;

impl Kept {
    fn open(&self, tails: &dyn Tails, after: Option<&Cursor>) -> Result<Followers, Refusal> {
        let one = |partition: u32| {
            let place = after.and_then(|cursor| cursor.place(partition));
            let kept = place.and_then(|seq| self.take(partition, seq));
            let tail = match kept {
                Some(tail) => Ok(tail),
                None => tails.from(partition, place.unwrap_or(0)),
            };
            match (tail, place) {
                // Record 0 is asked for as such, and not as the oldest.
                (Ok(tail), Some(0)) if tail.next_seq() > 0 => {
                    let removed = TailError::Removed { oldest: tail.next_seq() };
                    Err(failed(tails, &removed, after))
                }
                (Ok(tail), _) => Ok((partition, tail)),
                (Err(error), _) => Err(failed(tails, &error, after)),
            }
        };
        (0..tails.partitions()).map(one).collect()
    }

    fn take(&self, partition: u32, seq: u64) -> Option<Box<dyn Tail>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(of, tail)| *of == partition && tail.next_seq() == seq)?;
        kept.remove(at).map(|(_, tail)| tail)
    }

    /// The answer, once its followers are kept for the next page.
    fn answer(&self, followers: Followers, page: Page, form: &Answer) -> Response {
        let next = place_of(&followers).to_string();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(followers);
        while kept.len() > KEEPS {
            kept.pop_front();
        }
        drop(kept);
        let mut response = match form {
            Answer::Page => {
                let (start, end) = (b"{\"events\":[", b"],\"next\":\"");
                let mut bytes = Vec::with_capacity(page.bytes + page.events.len() + 64);
                bytes.extend_from_slice(start);
                bytes.extend_from_slice(&page.events.join(&b','));
                bytes.extend_from_slice(end);
                bytes.extend_from_slice(next.as_bytes());
                bytes.extend_from_slice(b"\"}\n");
                bytes_answer(StatusCode::OK, "application/json", bytes)
            }
            Answer::Lines => {
                let lines = page.events.into_iter().flat_map(|mut line| {
                    line.push(b'\n');
                    line
                });
                bytes_answer(StatusCode::OK, "application/x-ndjson", lines.collect())
            }
        };
        if let Ok(next) = HeaderValue::try_from(next) {
            response.headers_mut().insert(HeaderName::from_static("deferd-next"), next);
        }
        response
    }
}

/// How far followers have come.
fn place_of(followers: &Followers) -> Cursor {
    let partitions = u32::try_from(followers.len()).unwrap_or(u32::MAX);
    Cursor::new(partitions, |partition| {
        let follower = followers.iter().find(|(of, _)| *of == partition);
        follower.map_or(0, |(_, tail)| tail.next_seq())
    })
}

/// How a page is written.
enum Answer {
    /// One object, the cursor in it.
    Page,
    /// A line an event, the cursor in the header `deferd-next`.
    Lines,
}

fn request_form(headers: &HeaderMap) -> Answer {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("ndjson")) {
        Answer::Lines
    } else {
        Answer::Page
    }
}

#[derive(Default)]
struct Page {
    events: Vec<Vec<u8>>,
    bytes: usize,
    /// There was nothing more to look at.
    at_end: bool,
}

/// The next events of a topic, from all partitions in turn.
fn page(followers: &mut Followers, topic: &str, limit: usize) -> Result<Page, TailError> {
    let mut page = Page::default();
    let mut looks = 0;
    loop {
        let mut ended = 0;
        for (_, tail) in followers.iter_mut() {
            loop {
                let Some(recorded) = tail.next()? else {
                    ended += 1;
                    break;
                };
                looks += 1;
                let before = page.events.len();
                for asked in recorded.outputs.iter().filter(|asked| asked.topic == topic) {
                    page.bytes += asked.bytes.len();
                    page.events.push(asked.bytes.to_vec());
                }
                if page.events.len() > before || looks >= LOOKS {
                    break;
                }
            }
            if page.events.len() >= limit || page.bytes >= PAGE_BYTES || looks >= LOOKS {
                return Ok(page);
            }
        }
        if ended == followers.len() {
            return Ok(Page { at_end: true, ..page });
        }
    }
}

/// Why a feed cannot go on.
fn failed(tails: &dyn Tails, error: &TailError, after: Option<&Cursor>) -> Refusal {
    match error {
        TailError::Removed { .. } => {
            let oldest = Cursor::new(tails.partitions(), |partition| {
                let kept = tails.from(partition, 0).map_or(0, |tail| tail.next_seq());
                after.and_then(|cursor| cursor.place(partition)).unwrap_or(0).max(kept)
            });
            let words = "what stood after this cursor was removed, since it was older than the \
                         retention: go on with `after` set to `oldest`";
            Refusal::new(StatusCode::GONE, "removed", words).with("oldest", oldest.to_string())
        }
        TailError::Failed(why) => Refusal::internal(format!(
            "the journal cannot be read: {why}; look into the daemon's log"
        )),
    }
}
