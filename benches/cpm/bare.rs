//! The bare loop: IMAP as text on a socket.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

/// Whether an answer is waited for before the next command is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// None is.
    Pipelined,
    /// Each is.
    Waiting,
}

/// A connection in its folder.
#[derive(Debug)]
pub(crate) struct Bare(BufReader<TcpStream>);

impl Bare {
    pub(crate) fn open(port: u16, login: &str, folder: &str) -> Self {
        let tcp = TcpStream::connect(("127.0.0.1", port)).expect("a server");
        tcp.set_nodelay(true).expect("a socket");
        let mut bare = Self(BufReader::new(tcp));
        let _ = bare.line();
        bare.say(&format!("LOGIN \"{login}\" \"master secret\""));
        bare.say(&format!("SELECT \"{folder}\""));
        bare
    }

    /// A message of its own, ahead of a round: hears what there is to tell.
    pub(crate) fn wake(&mut self, uid: u32) {
        self.say(&format!("UID STORE {uid} +FLAGS (\\Seen)"));
    }

    /// What is said in a round: so many messages, so many of them in a command.
    pub(crate) fn commands(messages: u32, at_once: usize) -> String {
        let uids: Vec<String> = (1..=messages).map(|uid| uid.to_string()).collect();
        let mut commands = String::new();
        for some in uids.chunks(at_once) {
            let set = some.join(",");
            let _ = write!(commands, "s UID STORE {set} +FLAGS (\\Seen)\r\n");
        }
        commands
    }

    /// A round on all connections at once; each message has the flag then.
    pub(crate) fn all(connections: &mut [Self], commands: &str, messages: u32, pace: Pace) {
        std::thread::scope(|scope| {
            for bare in connections {
                scope.spawn(move || bare.round(commands, messages, pace));
            }
        });
    }

    fn round(&mut self, commands: &str, messages: u32, pace: Pace) {
        let mut seen = vec![false; messages as usize + 1];
        match pace {
            Pace::Pipelined => {
                self.0.get_mut().write_all(commands.as_bytes()).expect("a server that listens");
                commands.lines().for_each(|_| self.answer(&mut seen));
            }
            Pace::Waiting => {
                for command in commands.split_inclusive('\n') {
                    self.0.get_mut().write_all(command.as_bytes()).expect("a server that listens");
                    self.answer(&mut seen);
                }
            }
        }
        assert!(seen.iter().skip(1).all(|seen| *seen), "a message without the flag");
    }

    /// The answer to a command; which messages have the flag by it.
    fn answer(&mut self, seen: &mut [bool]) {
        loop {
            let line = self.line();
            if let Some((_, shown)) = line.split_once(" FETCH (UID ") {
                let (uid, flags) = shown.split_once(' ').expect("flags");
                let place = uid.parse().ok().and_then(|uid: usize| seen.get_mut(uid));
                *place.expect("a UID of ours") = flags.contains("\\Seen");
            } else {
                assert!(line.starts_with("s OK"), "{line}");
                return;
            }
        }
    }

    fn say(&mut self, command: &str) {
        write!(self.0.get_mut(), "t {command}\r\n").expect("a server that listens");
        let answer = loop {
            let line = self.line();
            if line.starts_with("t ") {
                break line;
            }
        };
        assert!(answer.starts_with("t OK"), "{command}: {answer}");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).expect("a server") > 0, "it hung up");
        line
    }
}
