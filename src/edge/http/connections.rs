//! Connections: how many, how slow, and how they end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::MatchedPath;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};

use super::feeds::LONGEST_WAIT;
use super::refusal::Refusal;
use super::routes::{is_for_callers, is_open, router};
use super::{Serving, Site};
use crate::edge::front::Caller;

/// Octets of a header.
const HEADER_BYTES: usize = 16 << 10;
/// Lines of a header.
const HEADER_LINES: usize = 64;
/// Octets that are read ahead.
const READ_AHEAD: usize = 128 << 10;
/// Connections beyond the limit that are told so; what comes beyond them is closed without a word.
const LOBBY: usize = 64;
/// How long one of these waits for another to end.
const IN_LOBBY: Duration = Duration::from_secs(1);

/// Serves a site until `stop`, then until its open requests are answered, at most `patience`. How many
/// connections were cut off.
pub async fn serve(
    listener: TcpListener,
    site: Site,
    stop: impl Future<Output = ()>,
    patience: Duration,
) -> usize {
    let (close, closing) = watch::channel(false);
    let slots = Arc::new(Semaphore::new(site.limits.connections));
    let lobby = Arc::new(Semaphore::new(LOBBY));
    let serving = Arc::new(Serving::new(site, closing));
    let router = router(Arc::clone(&serving));
    let mut open = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = open.join_next(), if !open.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (slots, lobby) = (Arc::clone(&slots), Arc::clone(&lobby));
                    let site = (Arc::clone(&serving), router.clone());
                    open.spawn(admitted(stream, slots, lobby, site));
                }
                // The process may have no descriptors left: one comes back when a connection ends.
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }
    drop(listener);
    close.send_replace(true);
    let all = async { while open.join_next().await.is_some() {} };
    let _ = timeout(patience, all).await;
    let cut = open.len();
    open.shutdown().await;
    cut
}

async fn admitted(
    stream: TcpStream,
    slots: Arc<Semaphore>,
    lobby: Arc<Semaphore>,
    (serving, router): (Arc<Serving>, Router),
) {
    let slot = match Arc::clone(&slots).try_acquire_owned() {
        Ok(slot) => slot,
        Err(_) => {
            let Ok(_seat) = lobby.try_acquire() else { return };
            match timeout(IN_LOBBY, slots.acquire_owned()).await {
                Ok(Ok(slot)) => slot,
                Ok(Err(_)) | Err(_) => return turn_away(stream).await,
            }
        }
    };
    connection(stream, serving, router).await;
    drop(slot);
}

/// Says that there are too many connections.
async fn turn_away(stream: TcpStream) {
    let body = "{\"error\":{\"code\":\"connections\",\"message\":\"too many connections at once \
                (http.max_connections): come back in a second\"}}\n";
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
                retry-after: 1\r\nconnection: close\r\ncontent-length:";
    let _ = stream.try_write(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes());
    let Ok(stream) = stream.into_std() else { return };
    let _ = stream.shutdown(Shutdown::Write);
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    // What it has sent is read, or the system would take back the answer.
    let mut buffer = [0; 1024];
    let until_closed = async {
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => {}
            }
        }
    };
    let _ = timeout(IN_LOBBY, until_closed).await;
}

async fn connection(stream: TcpStream, serving: Arc<Serving>, router: Router) {
    let _ = stream.set_nodelay(true);
    let patience = serving.site.limits.timeout;
    let mut closing = serving.closing.clone();
    let answers = service_fn(move |request| {
        let (serving, router) = (Arc::clone(&serving), router.clone());
        async move { Ok::<_, Infallible>(answer(&serving, router, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_headers(HEADER_LINES)
        .max_header_size(HEADER_BYTES)
        .max_buf_size(READ_AHEAD)
        .serve_connection(TokioIo::new(Patient::new(stream, patience)), answers);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = closing.wait_for(|closing| *closing) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Answers one request, whatever happens to it.
async fn answer(serving: &Serving, router: Router, mut request: Request<Incoming>) -> Response {
    let site = &serving.site;
    let path = request.uri().path();
    let caller = site.token.caller(request.headers());
    let is_known = matches!(caller, Some(Caller::Known(_)));
    let response = if is_known && !is_open(path) && !is_for_callers(path) {
        Refusal::not_for_callers().into_response()
    } else if is_open(path) || caller.is_some() {
        request.extensions_mut().insert(caller.unwrap_or(Caller::Trusted));
        let longest = site.limits.timeout * 2 + Duration::from_secs(LONGEST_WAIT);
        let routed = TowerToHyperService::new(router).call(request.map(Body::new));
        match timeout(longest, Caught(Box::pin(routed))).await {
            Ok(Some(Ok(response))) => response,
            Ok(Some(Err(never))) => match never {},
            Ok(None) => Refusal::internal(
                "this request broke something here; the daemon's log says what, and goes on",
            )
            .into_response(),
            Err(_) => Refusal::unavailable("it took too long; ask for less").into_response(),
        }
    } else {
        Refusal::unauthorized().into_response()
    };
    let route = response.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str);
    site.host.answered(route, response.status().as_u16());
    response
}

/// A future whose panic is no more than its own end.
struct Caught<F>(Pin<Box<F>>);

impl<F: Future> Future for Caught<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context))) {
            Ok(polled) => polled.map(Some),
            Err(_) => Poll::Ready(None),
        }
    }
}

/// A stream that is given up when its other end takes nothing for too long: hyper waits for ever.
struct Patient {
    stream: TcpStream,
    patience: Duration,
    stuck: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream, patience, stuck: None }
    }

    fn judged<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stuck = None;
            return polled;
        }
        let patience = self.patience;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(patience)));
        stuck.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judged(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judged(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.judged(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judged(context, polled)
    }
}
