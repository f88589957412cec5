//! What a story is made of, and the input that each of its steps becomes.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::domain::time::Timestamp;

/// The `data` of an input.
pub(super) type Data = Map<String, Value>;

/// One of the walk-throughs of `rules.md` 3.11.
#[derive(Debug)]
pub(super) struct Story {
    /// The n of W-n.
    pub(super) number: u8,
    /// What a person types.
    pub(super) name: &'static str,
    /// What it is about, in three words.
    pub(super) title: &'static str,
    /// What happens, for somebody who has never heard of CPM.
    pub(super) intro: &'static str,
    /// How it goes, and how else it might have gone.
    pub(super) tales: &'static [Tale],
}

/// One way a story goes, with a user of its own.
#[derive(Debug)]
pub(super) struct Tale {
    /// What is different from the first one; empty in the first one.
    pub(super) or: &'static str,
    /// Policy keys that are not at their default.
    pub(super) policy: &'static [(&'static str, &'static str)],
    /// What happens outside, in order.
    pub(super) steps: &'static [Step],
}

/// Something that happens outside.
#[derive(Debug)]
pub(super) struct Step {
    /// When, in milliseconds from the story's midnight.
    pub(super) at: i64,
    /// Who does it.
    pub(super) who: &'static str,
    /// What a bystander would say.
    pub(super) text: &'static str,
    /// What the engine is told.
    pub(super) say: Say,
}

impl Story {
    /// The message it is about.
    pub(super) fn message(&self) -> Option<&'static str> {
        self.tales.first()?.steps.iter().find_map(|step| {
            if let Say::Message(message) = step.say { Some(message.id) } else { None }
        })
    }
}

/// A second, a minute, an hour and a day, in milliseconds.
pub(super) const S: i64 = 1000;
pub(super) const M: i64 = 60 * S;
pub(super) const H: i64 = 60 * M;
pub(super) const D: i64 = 24 * H;

/// A step at `at`.
pub(super) const fn at(at: i64, who: &'static str, text: &'static str, say: Say) -> Step {
    Step { at, who, text, say }
}

/// What the engine is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Say {
    /// A message for the user.
    Message(Message),
    /// The voice network has the phone.
    Cs,
    /// The packet network has the phone.
    Ps,
    /// A device's messaging app signs in, for so many seconds.
    Registered(&'static str, i64),
    /// It signs out.
    Gone(&'static str),
    /// The network says ready for SMS, with what it adds.
    Ready(&'static str),
    /// A gateway says how attempt n of a message went, by this access.
    Outcome(&'static str, u32, &'static str, &'static str),
    /// A report on a message's SMS: whether it was delivered, with what it adds.
    Report(&'static str, bool, &'static str),
    /// `deferd` itself stops.
    Stops,
    /// It is back, and reads what it missed.
    Returns,
}

/// A delivery that a gateway was asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Attempt {
    attempt_id: String,
    message_id: String,
    attempt: u32,
    access: String,
}

/// A message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    /// The sender's id of it.
    pub(super) id: &'static str,
    /// Its text; a file has none.
    pub(super) text: &'static str,
    /// What the sender wants to hear.
    pub(super) wants: &'static [&'static str],
    /// Seconds it lives; `None`: as long as the policy has it.
    pub(super) lives: Option<u32>,
    /// One SMS goes beside IP.
    pub(super) also: bool,
}

/// A text message.
pub(super) const fn text(id: &'static str, text: &'static str) -> Message {
    Message { id, text, wants: &[], lives: None, also: false }
}

impl Message {
    /// The sender wants to hear of delivery, failure and a change of access.
    pub(super) const fn with_receipts(mut self) -> Self {
        self.wants = &["positive-delivery", "negative-delivery", "interworking"];
        self
    }

    /// It is worth nothing after so many seconds.
    pub(super) const fn living(mut self, seconds: u32) -> Self {
        self.lives = Some(seconds);
        self
    }

    /// One SMS goes beside IP.
    pub(super) const fn and_sms(mut self) -> Self {
        self.also = true;
        self
    }

    fn data(&self) -> Data {
        let mut data = object("");
        data.insert("message_id".into(), json!(self.id));
        data.insert("from".into(), json!(SENDER));
        if self.text.is_empty() {
            data.insert("kind".into(), json!("file"));
            data.insert("content_type".into(), json!("application/vnd.gsma.rcs-ft-http+xml"));
            data.insert("body_ref".into(), json!("https://files.example/holiday.jpg"));
            data.insert("size".into(), json!(2_400_000));
        } else {
            data.insert("kind".into(), json!("pager"));
            data.insert("content_type".into(), json!("text/plain"));
            data.insert("body".into(), json!(self.text));
        }
        if !self.wants.is_empty() {
            data.insert("disposition".into(), json!(self.wants));
        }
        if let Some(seconds) = self.lives {
            data.insert("expires_seconds".into(), json!(seconds));
        }
        if self.also {
            data.insert("interwork".into(), json!("also"));
        }
        data
    }
}

/// Who writes all these messages: a fictional number.
const SENDER: &str = "tel:+14155550199";

impl Say {
    /// Type and `data` of the input; `None` for what is none, or for an answer to an attempt that was
    /// never made.
    pub(super) fn input(
        &self,
        time: Timestamp,
        attempts: &[Attempt],
    ) -> Option<(&'static str, Data)> {
        Some(match self {
            Self::Message(message) => ("cpm.message.submitted.v1", message.data()),
            Self::Cs => ("cpm.cs.attached.v1", Data::new()),
            Self::Ps => ("cpm.ps.attached.v1", Data::new()),
            Self::Registered(device, seconds) => {
                let expires = Timestamp::from_millis(time.as_millis() + seconds * S);
                let mut data = device_ref(device);
                data.insert("expires_at".into(), json!(expires.to_string()));
                data.insert("change".into(), json!("initial"));
                data.insert("cpm_capable".into(), json!(true));
                ("cpm.ims.registered.v1", data)
            }
            Self::Gone(device) => ("cpm.ims.deregistered.v1", device_ref(device)),
            Self::Ready(more) => ("cpm.sms.ready.v1", object(more)),
            Self::Outcome(message, n, access, more) => {
                let asked = |a: &&Attempt| {
                    a.message_id == *message && a.attempt == *n && a.access == *access
                };
                let attempt = attempts.iter().find(asked)?;
                let mut data = object(more);
                data.insert("attempt_id".into(), json!(attempt.attempt_id));
                ("cpm.delivery.outcome.v1", data)
            }
            Self::Report(message, delivered, more) => {
                let asked = |a: &&Attempt| a.message_id == *message && a.access == "sms";
                attempts.iter().find(asked)?;
                let mut data = object(more);
                data.insert("message_id".into(), json!(message));
                (if *delivered { "cpm.sms.delivered.v1" } else { "cpm.sms.failed.v1" }, data)
            }
            Self::Stops | Self::Returns => return None,
        })
    }
}

fn device_ref(name: &str) -> Data {
    let device = json!({"contact": format!("sip:{name}@192.0.2.1")});
    std::iter::once(("device".to_owned(), device)).collect()
}

/// `key=value` words as an object of texts; `a.b=value` stands within `a`.
fn object(words: &str) -> Data {
    let mut object = Data::new();
    for (key, value) in words.split_whitespace().filter_map(|word| word.split_once('=')) {
        match key.split_once('.') {
            None => {
                object.insert(key.into(), json!(value));
            }
            Some((outer, inner)) => {
                let inside = object.entry(outer).or_insert_with(|| json!({}));
                if let Some(inside) = inside.as_object_mut() {
                    inside.insert(inner.into(), json!(value));
                }
            }
        }
    }
    object
}
