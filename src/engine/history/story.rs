//! The story of a message: where it stands, because of what, and what would release it; or how it ended.

use serde::{Deserialize, Serialize};

use super::{Basis, Belief, Followed, Line, Unreadable};
use crate::domain::address::Address;
use crate::domain::command::{about, access_word};
use crate::domain::event::{End, Event};
use crate::domain::input::Fact;
use crate::domain::pager;
use crate::domain::standing::Standing;
use crate::domain::time::{Timestamp, rfc3339};
use crate::domain::why::{Closes, Why, why};
use crate::record::input::Reader;
use crate::record::journal::Record;

/// What is known of one message, in a form that travels. Times in `words` are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The id its sender gave it.
    pub message_id: String,
    /// Its user, canonical.
    pub user: String,
    /// Its sender.
    pub from: String,
    /// As things stood then.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// The record that accepted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Basis>,
    /// How it ended, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// How it waits, where it does.
    #[serde(flatten)]
    pub waits: Option<Waits>,
    /// What procedure 8.3.1.1 said when it came, step by step; empty where no preference had a say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace: Vec<String>,
    /// All that happened to it.
    pub history: Vec<Step>,
}

/// How a message ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// In a word or two: [`end_word`].
    pub how: String,
    /// When.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// By which record.
    pub because: Option<Basis>,
}

/// How a message waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// Where it stands.
    pub stands: Vec<String>,
    /// The record since which it does.
    pub since: Option<Basis>,
    /// When its life is over.
    #[serde(with = "rfc3339")]
    pub expires_at: Timestamp,
    /// What stands in its way.
    pub in_the_way: Vec<InTheWay>,
    /// What would release it, soonest first.
    pub would_move_it: Vec<Move>,
}

/// Something in the way of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InTheWay {
    /// What it closes: `all`, `cpm`, `sms`.
    pub closes: String,
    /// The rule it comes from.
    pub rule: String,
    /// What it is.
    pub words: String,
    /// The record it rests on.
    pub because: Option<Basis>,
}

/// Something that would release a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The rule it comes from.
    pub rule: String,
    /// What it is.
    pub words: String,
    /// When it happens by itself.
    #[serde(with = "rfc3339::option")]
    pub at: Option<Timestamp>,
}

/// Something that happened to a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The record.
    pub seq: u64,
    /// When it was decided.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// What it was, with times as they read [`beside`] it.
    pub words: String,
}

/// The stories of all messages of one id that a user has, or had.
#[derive(Debug)]
pub struct Stories {
    message: String,
    followed: Followed,
    all: Vec<Story>,
}

/// What the journal says of one message, from its acceptance on.
#[derive(Debug, Default)]
struct Story {
    from: String,
    place: Option<u32>,
    accepted: Option<Basis>,
    end: Option<(End, Timestamp, Option<Basis>)>,
    trace: Vec<String>,
    history: Vec<Step>,
}

impl Stories {
    /// Nothing yet of a message.
    #[must_use]
    pub fn new(user: &Address, message: &str) -> Self {
        Self::after(Followed::new(user), message)
    }

    /// The user, as the lines so far have left it.
    #[must_use]
    pub fn followed(&self) -> &Followed {
        &self.followed
    }

    /// What is known of a message before the first line is taken.
    #[must_use]
    pub fn after(followed: Followed, message: &str) -> Self {
        let of_id = followed.user.messages.iter().filter(|m| *m.content.message_id == *message);
        let story = |m: &crate::domain::user::Deferred| Story {
            from: m.content.from.to_string(),
            place: Some(m.place),
            ..Story::default()
        };
        let all = of_id.map(story).collect();
        Self { message: message.to_owned(), followed, all }
    }

    /// Goes on by a line of the journal, whosever it is.
    ///
    /// # Errors
    ///
    /// [`Unreadable`]: it concerns the user, and cannot be read.
    pub fn take(&mut self, line: &Line<'_>, reader: &Reader) -> Result<(), Unreadable> {
        self.followed.pass(line);
        if self.followed.concerns(line) {
            let record = line.record(reader)?;
            let trace = self.trace(&record, reader);
            self.followed.apply(&record, drop)?;
            for event in &record.events {
                self.note(&record, event, &trace);
            }
        }
        Ok(())
    }

    /// What the procedure said of the message that a record brought, on what was known before it.
    fn trace(&self, record: &Record<'_>, reader: &Reader) -> Vec<String> {
        let begins = |event: &Event| {
            let deferred = matches!(event, Event::Deferred { m, .. } if *m.1 == *self.message);
            deferred || matches!(event, Event::Handled { id, .. } if **id == *self.message)
        };
        let raw = record.input.filter(|_| record.events.iter().any(begins));
        let Some(Ok(read)) = raw.map(|raw| reader.reread(raw, record.at)) else {
            return Vec::new();
        };
        if let Fact::MessageSubmitted(sent) = read.input.fact {
            return pager::explain(&self.followed.view(record.at), sent.content());
        }
        let Fact::MessageHandled(handled) = read.input.fact else { return Vec::new() };
        let rule = handled.rule.map_or_else(String::new, |rule| format!("rule `{}`: ", &*rule));
        handled.warning.map(|warning| format!("{rule}{}", &*warning)).into_iter().collect()
    }

    /// Whether no such message was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// When the last record was decided.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.followed.last.map_or(Timestamp::EPOCH, |(_, at)| at)
    }

    /// Each message as it stands at `now`.
    #[must_use]
    pub fn answers(&self, now: Timestamp) -> Vec<Answer> {
        self.all.iter().map(|story| self.answer(story, now)).collect()
    }

    /// Adds an event to the story of the message it is about.
    fn note(&mut self, record: &Record<'_>, event: &Event, trace: &[String]) {
        let stories = &mut self.all;
        if let Event::Deferred { m, content: Some(content), .. } = event
            && *m.1 == *self.message
        {
            stories.retain(|story| story.from != *content.from);
            stories.push(Story {
                from: content.from.to_string(),
                place: Some(m.place()),
                accepted: self.followed.facts.basis(Belief::Accepted(m.place())).cloned(),
                trace: trace.to_vec(),
                ..Story::default()
            });
        }
        if let Event::Handled { id, from, end, at } = event
            && **id == *self.message
        {
            stories.push(Story {
                from: from.to_string(),
                end: Some((*end, *at, Some(Basis::of(record)))),
                trace: trace.to_vec(),
                ..Story::default()
            });
        }
        let Some(place) = about(event).map(|m| m.place()) else { return };
        let Some(story) = stories.iter_mut().rev().find(|story| story.place == Some(place)) else {
            return;
        };
        if let Event::Ended { m, end, at } = event
            && *m.1 == *self.message
        {
            story.end = Some((*end, *at, Some(Basis::of(record))));
        }
        let (seq, at) = (record.seq, record.at);
        story.history.push(Step { seq, at, words: event.words(&|time| beside(time, at)) });
    }

    fn answer(&self, story: &Story, now: Timestamp) -> Answer {
        let ended = story.end.as_ref().map(|(end, at, because)| Ended {
            how: end_word(*end),
            at: *at,
            because: because.clone(),
        });
        let place = story.place.filter(|_| story.end.is_none());
        let waits = place.and_then(|place| {
            why(&self.followed.view(now), place).map(|why| self.waits(&why, place))
        });
        Answer {
            message_id: self.message.clone(),
            user: self.followed.user.address.to_string(),
            from: story.from.clone(),
            at: now,
            accepted: story.accepted.clone(),
            ended,
            waits,
            trace: story.trace.clone(),
            history: story.history.clone(),
        }
    }

    fn waits(&self, why: &Why, place: u32) -> Waits {
        let clock = |time: Timestamp| time.to_string();
        let in_the_way = why.obstacles.iter().map(|obstacle| InTheWay {
            closes: match obstacle.closes() {
                Closes::All => "all",
                Closes::Ip => "cpm",
                Closes::Sms => "sms",
            }
            .to_owned(),
            rule: obstacle.rule().to_owned(),
            words: obstacle.words(&clock),
            because: self.followed.facts.behind(obstacle, place).cloned(),
        });
        let would_move_it = why.releases.iter().map(|release| Move {
            rule: release.rule().to_owned(),
            words: release.words(&clock),
            at: release.at(),
        });
        Waits {
            stands: why.standing.iter().map(|standing| standing.name().to_owned()).collect(),
            since: self.since(why, place).cloned(),
            expires_at: why.expires_at,
            in_the_way: in_the_way.collect(),
            would_move_it: would_move_it.collect(),
        }
    }

    /// The record since which a message stands where it does.
    fn since(&self, why: &Why, place: u32) -> Option<&Basis> {
        let also = why.standing.first().and_then(|standing| match standing {
            Standing::IpWait => Some(Belief::Episode),
            Standing::Backoff => Some(Belief::Backoff(place)),
            Standing::Held => Some(Belief::Hold),
            Standing::Storing
            | Standing::IpInFlight
            | Standing::IpAwaitImdn
            | Standing::IwInFlight
            | Standing::IwAwaitReport
            | Standing::Pending
            | Standing::Parked => None,
        });
        let facts = &self.followed.facts;
        let own = facts.basis(Belief::Message(place)).into_iter();
        own.chain(also.and_then(|belief| facts.basis(belief))).max_by_key(|basis| basis.seq)
    }
}

/// How a message ended, in a word or two.
#[must_use]
pub fn end_word(end: End) -> String {
    match end {
        End::Delivered(access) => format!("delivered by {}", access_word(access)),
        End::Assumed => "delivered by sms, assumed".into(),
        End::Stored => "stored".into(),
        End::Rejected => "rejected".into(),
        End::Forwarded => "forwarded".into(),
        End::Expired(Some(class)) => format!("expired, last {class}"),
        End::Expired(None) => "expired".into(),
        End::Declined => "declined".into(),
        End::Quota => "over quota".into(),
        End::Identity => "identity changed".into(),
        End::Purged => "purged".into(),
        End::Revoked => "revoked".into(),
        End::Cancelled => "cancelled".into(),
    }
}

/// An instant beside another one: the time of day where the day is the same.
#[must_use]
pub fn beside(at: Timestamp, now: Timestamp) -> String {
    let (text, now) = (at.to_string(), now.to_string());
    if at == Timestamp::MAX {
        return "further notice".into();
    }
    match (text.split_once('T'), now.split_once('T')) {
        (Some((day, time)), Some((today, _))) if day == today => {
            time.trim_end_matches('Z').to_owned()
        }
        _ => text,
    }
}
