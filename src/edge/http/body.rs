//! Bodies, whole and bounded: in size, in time, and in how many are held at once.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::sync::OwnedSemaphorePermit;

use super::Serving;
use super::refusal::Refusal;

/// A body, and the room that it takes.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

/// Reads a body.
///
/// # Errors
///
/// It is too large, too slow or cut short, or too many are held already: only what has come is counted,
/// so that nobody can take room by announcing much.
pub(super) async fn whole(
    serving: &Serving,
    headers: &HeaderMap,
    body: Body,
) -> Result<Whole, Refusal> {
    let limits = serving.site.limits;
    let told = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let told: usize = told.and_then(|value| value.parse().ok()).unwrap_or(0);
    if told > limits.body_bytes {
        return Err(too_large(limits.body_bytes));
    }
    let reading = tokio::time::timeout(limits.timeout, read(serving, body, told));
    reading.await.unwrap_or_else(|_| {
        let seconds = limits.timeout.as_secs();
        let words = format!(
            "the body took longer than {seconds} s (http.timeout_seconds): send less at once"
        );
        Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "slow", words))
    })
}

async fn read(serving: &Serving, mut body: Body, told: usize) -> Result<Whole, Refusal> {
    let most = serving.site.limits.body_bytes;
    let mut whole = Whole { bytes: Vec::with_capacity(told.min(1 << 16)), _room: None };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Refusal::bad("cut", format!("the body ends too soon: {error}; nothing was taken"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.bytes.len() + data.len() > most {
            return Err(too_large(most));
        }
        let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let room = std::sync::Arc::clone(&serving.room).try_acquire_many_owned(size);
        let room = room.map_err(|_| {
            Refusal::unavailable("too many large bodies at once; send it again in a second")
        })?;
        match &mut whole._room {
            Some(all) => all.merge(room),
            none => *none = Some(room),
        }
        whole.bytes.extend_from_slice(&data);
    }
    Ok(whole)
}

fn too_large(most: usize) -> Refusal {
    let words =
        format!("the body is larger than {most} bytes (http.max_body_bytes): send less at once");
    Refusal::too_large(words).header(header::CONNECTION, header::HeaderValue::from_static("close"))
}
