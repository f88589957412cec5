//! One user's story as it is told: facts go in, alarms ring by themselves, words come out.

mod facts;

use deferd::domain::address::{Address, Home};
use deferd::domain::command::Command;
use deferd::domain::decide::{Ignored, step};
use deferd::domain::event::Event;
use deferd::domain::input::{Fact, Input, Told};
use deferd::domain::policy::Policy;
use deferd::domain::reachability::hash;
use deferd::domain::time::Timestamp;
use deferd::domain::user::User;

/// Midnight of a story: `0s`. 2026-11-21T00:00:00Z.
const START: i64 = 1_795_219_200_000;
/// No honest story rings as often as that between two lines.
const MOST_ALARMS: usize = 5000;

/// A line of a story.
pub(crate) enum Line {
    /// `# …`, or nothing.
    Comment,
    /// `case …`: another user, at midnight again.
    Case,
    /// `policy key=value …` or `user address`.
    Setting(Vec<String>),
    /// `608s  timer`: what an alarm decided.
    Timer,
    /// Another event of the same step.
    More,
    /// Something that happened.
    Step {
        /// The left side, as written.
        left: String,
        /// When it is decided.
        at: String,
        /// What.
        words: Vec<String>,
    },
}

impl Line {
    /// What a line is; an error where it has no sense.
    pub(crate) fn read(line: &str) -> Result<Self, String> {
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(Self::Comment);
        }
        let left = line.split(" |").next().unwrap_or_default().trim_end();
        let mut words = left.split_whitespace().map(str::to_owned);
        Ok(match (words.next(), line.contains(" |")) {
            (Some(word), _) if word == "case" => Self::Case,
            (Some(word), false) if word == "policy" || word == "user" => {
                Self::Setting(std::iter::once(word).chain(words).collect())
            }
            (None, true) => Self::More,
            (Some(at), _) => {
                time(&at).ok_or_else(|| format!("{at:?} is no time such as 630s"))?;
                let words: Vec<String> = words.collect();
                if words == ["timer"] {
                    Self::Timer
                } else {
                    Self::Step { left: left.to_owned(), at, words }
                }
            }
            (None, false) => Self::Comment,
        })
    }
}

/// What alarms decided: when, and in which words.
type Rung = Vec<(String, Vec<String>)>;

/// The user, the policy, and how far the story has come.
pub(crate) struct Story {
    user: User,
    policy: Policy,
    now: Timestamp,
    /// Log time of the last fact: how far its topic has been read, while more is waiting there.
    read: Timestamp,
    facts: u32,
    attempts: Vec<Attempt>,
}

struct Attempt {
    message: String,
    from: String,
    number: u32,
    id: String,
}

impl Default for Story {
    fn default() -> Self {
        // Without jitter by default: a story tells its times.
        let policy = Policy::default().with("jitter_percent", "0").unwrap();
        let address = Address::parse("tel:+15145550100", &Home::default()).unwrap();
        let now = Timestamp::from_millis(START);
        let user = User::new(address);
        Self { user, policy, now, read: now, facts: 0, attempts: Vec::new() }
    }
}

impl Story {
    /// A setting line.
    pub(crate) fn set(&mut self, words: &[String]) -> Result<(), String> {
        let (first, rest) = words.split_first().ok_or("nothing to set")?;
        for word in rest {
            if first == "user" {
                let address = Address::parse(word, &Home::default());
                self.user = User::new(address.map_err(|error| error.to_string())?);
                continue;
            }
            let (key, value) = word.split_once('=').ok_or("expected key=value")?;
            self.policy = self.policy.with(key, value).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// What the alarms before this line decided, and then the line itself.
    pub(crate) fn step(
        &mut self,
        at: &str,
        words: &[String],
    ) -> Result<(Rung, Vec<String>), String> {
        let at = time(at).ok_or("no time")?;
        if at < self.now {
            return Err("goes back in time".into());
        }
        if words == ["quiet"] {
            return Ok((self.ring(at, true)?, Vec::new()));
        }
        self.facts += 1;
        let (told, rest) = self.told(at, words)?;
        let rung = self.ring(told.logged.min(at), false)?;
        (self.now, self.read) = (at, told.logged);
        let fact = facts::read(&rest, self)?;
        Ok((rung, self.decide(&Input { told, fact }, at)?))
    }

    /// Takes the words about who told it, and when, out of a line.
    fn told(&self, at: Timestamp, words: &[String]) -> Result<(Told, Vec<String>), String> {
        let mut told = Told { time: at, logged: at, ..Told::default() };
        told.id = self.facts;
        told.source = hash(facts::source(words));
        let mut rest = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} what?"));
            match word.as_str() {
                "told" => told.time = time(value()?).ok_or("told when?")?,
                "logged" => told.logged = time(value()?).ok_or("logged when?")?,
                "source" => told.source = hash(value()?),
                "id" => told.id = hash(value()?),
                "seq" => {
                    let (epoch, seq) = value()?.split_once('/').ok_or("seq epoch/number")?;
                    let number = |text: &str| text.parse().map_err(|_| "seq epoch/number");
                    told.order = Some((number(epoch)?, number(seq)?));
                }
                _ => rest.push(word.clone()),
            }
        }
        Ok((told, rest))
    }

    /// Fires every alarm due before `limit` (or at it), as the engine does (TM-7).
    fn ring(&mut self, limit: Timestamp, at_it_too: bool) -> Result<Rung, String> {
        let mut rung = Rung::new();
        for _ in 0..MOST_ALARMS {
            let due = self.user.wake_at(&self.policy);
            let Some(due) = due.filter(|due| *due < limit || (at_it_too && *due == limit)) else {
                return Ok(rung);
            };
            // Up to the present, where the topics have been read so far.
            let time = due.max(if limit < self.now { self.read } else { self.now });
            self.now = self.now.max(time);
            let told = Told { time, logged: time, ..Told::default() };
            let before = self.user.wake_at(&self.policy);
            let said = self.decide(&Input { told, fact: Fact::TimerFired }, self.now)?;
            match said.first().map(String::as_str) {
                None if self.user.wake_at(&self.policy) == before && due == time => {
                    return Err(format!("the alarm at {} changes nothing", clock(due)));
                }
                None => {}
                Some(first) if first.starts_with("ignored") => {
                    return Err(format!("the alarm at {}: {first}", clock(due)));
                }
                Some(_) => rung.push((clock(self.now), said)),
            }
        }
        Err(format!("alarms never end, the last one at {}", clock(self.now)))
    }

    /// One step, in words. What it moves is held against its events alone (L-4).
    fn decide(&mut self, input: &Input<'_>, at: Timestamp) -> Result<Vec<String>, String> {
        let mut replayed = self.user.clone();
        let events = match step(&mut self.user, input, at, &self.policy) {
            Ok(decided) => decided.events,
            Err(ignored) => {
                if self.user != replayed {
                    return Err(format!("ignored ({ignored}) and yet it changed the user"));
                }
                return Ok(vec![ignored_words(ignored)]);
            }
        };
        for event in &events {
            replayed.evolve(event);
            self.note_attempt(&replayed, event);
        }
        if replayed != self.user {
            return Err("the events do not lead to the state".into());
        }
        let told = events.iter().filter(|event| !matches!(event, Event::Looked { .. }));
        Ok(told.map(short).collect())
    }

    /// Remembers under which id a gateway will speak of an attempt.
    fn note_attempt(&mut self, user: &User, event: &Event) {
        let Event::AttemptStarted { n, .. } = event else { return };
        if let Some(Command::Deliver(command)) = Command::of(user, event, &self.policy) {
            self.attempts.push(Attempt {
                message: command.content.message_id.to_string(),
                from: command.content.from.to_string(),
                number: *n,
                id: command.attempt_id.to_string(),
            });
        }
    }

    /// The id of `m1#2`.
    fn attempt(&self, message: &str, number: u32, from: Option<&str>) -> Result<String, String> {
        let mut known = self.attempts.iter().rev().filter(|attempt| {
            attempt.message == message
                && attempt.number == number
                && from.is_none_or(|from| attempt.from == from)
        });
        let attempt = known.next().ok_or_else(|| format!("no attempt {message}#{number}"))?;
        Ok(attempt.id.clone())
    }
}

fn ignored_words(ignored: Ignored) -> String {
    format!("ignored: {ignored}")
}

/// An event's words, with the devices' names as the story has them.
fn short(event: &Event) -> String {
    event.words(&clock).replace("sip:", "").replace("@device", "")
}

/// `630s`, `0.5s`, `2m`, `7d`: since midnight of the story.
fn time(text: &str) -> Option<Timestamp> {
    Some(Timestamp::from_millis(START + millis(text)?))
}

fn millis(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole: i64 = whole.parse().ok()?;
    let thousandths: i64 = format!("{part:0<3}").parse().ok()?;
    let sign = if number.starts_with('-') { -1 } else { 1 };
    Some(whole * unit + sign * thousandths * unit / 1000)
}

fn clock(time: Timestamp) -> String {
    let millis = time.as_millis() - START;
    let (seconds, part) = (millis / 1000, millis.abs() % 1000);
    match part {
        0 => format!("{seconds}s"),
        _ => format!("{seconds}.{}s", format!("{part:03}").trim_end_matches('0')),
    }
}
