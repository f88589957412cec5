//! A webhook on the loopback that answers as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

/// A request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) headers: Vec<String>,
    pub(crate) event: Value,
}

impl Post {
    pub(crate) fn id(&self) -> String {
        self.event["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn message(&self) -> String {
        self.event["data"]["message_id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn has(&self, header: &str) -> bool {
        self.headers.iter().any(|one| one.eq_ignore_ascii_case(header))
    }
}

/// An answer: its status, more headers, and how long it takes.
#[derive(Clone, Debug)]
pub(crate) struct Reply(pub(crate) u16, pub(crate) &'static str, pub(crate) Duration);

pub(crate) fn reply(status: u16) -> Reply {
    Reply(status, "", Duration::ZERO)
}

/// What it answers to a request; the ones before it are known.
type Answers = Arc<dyn Fn(&Post, &[Post]) -> Reply + Send + Sync>;

pub(crate) struct Server {
    pub(crate) url: String,
    posts: Arc<Mutex<Vec<Post>>>,
}

impl Server {
    pub(crate) fn new(answers: impl Fn(&Post, &[Post]) -> Reply + Send + Sync + 'static) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), answers)
    }

    pub(crate) fn at(
        address: SocketAddr,
        answers: impl Fn(&Post, &[Post]) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let url = format!("http://{}/cpm", listener.local_addr().unwrap());
        let posts: Arc<Mutex<Vec<Post>>> = Arc::default();
        let answers: Answers = Arc::new(answers);
        let seen = Arc::clone(&posts);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answers) = (Arc::clone(&seen), Arc::clone(&answers));
                std::thread::spawn(move || drop(serve(stream, &seen, &answers)));
            }
        });
        Self { url, posts }
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }
}

/// Requests of one connection, one after the other.
fn serve(stream: TcpStream, seen: &Mutex<Vec<Post>>, answers: &Answers) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            headers.push(line.trim().to_owned());
        }
        let length = headers
            .iter()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body)?;
        let post = Post { headers, event: serde_json::from_slice(&body)? };
        let Reply(status, more, wait) = {
            let mut seen = seen.lock().unwrap();
            let reply = answers(&post, &seen);
            seen.push(post);
            reply
        };
        std::thread::sleep(wait);
        write!(stream, "HTTP/1.1 {status} So\r\nContent-Length: 2\r\n{more}\r\nok")?;
    }
}
