//! What each step of the procedure said, for a person: the step, its words, the rule it follows.

use std::fmt;

use super::Refusal;
use super::clients::{Client, Verdict};
use super::ruling::Undisturbed;
use crate::domain::message::Interwork;
use crate::domain::time::Timestamp;
use crate::domain::user::StoredRule;

/// A step, and what it said.
#[derive(Clone, Debug, PartialEq)]
pub struct Line<'a> {
    /// The step.
    pub stage: Stage,
    /// What it said.
    pub said: Said<'a>,
}

/// The steps, as they are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Whether it is ours at all.
    Trigger,
    /// 1.
    UserAgent,
    /// 2.
    Anonymity,
    /// 3.
    Blacklist,
    /// 4a.
    Reject,
    /// 4b.
    Interwork,
    /// 4c.
    Store,
    /// 4d.
    Forward,
    /// 4e.
    Defer,
    /// 5.
    DoNotDisturb,
    /// 6.
    History,
    /// 7.
    Imdn,
    /// 8.
    Clients,
}

impl Stage {
    /// Its number in the printed procedure, and the rule that has it.
    #[must_use]
    pub const fn number(self) -> (&'static str, &'static str) {
        match self {
            Self::Trigger => ("0", "SEED0-49"),
            Self::UserAgent => ("1", "SEED0-50"),
            Self::Anonymity => ("2", "SEED0-51"),
            Self::Blacklist => ("3", "SEED0-52"),
            Self::Reject => ("4a", "SEED0-54"),
            Self::Interwork => ("4b", "SEED0-55"),
            Self::Store => ("4c", "SEED0-56"),
            Self::Forward => ("4d", "SEED0-57"),
            Self::Defer => ("4e", "SEED0-58"),
            Self::DoNotDisturb => ("5", "SEED0-59"),
            Self::History => ("6", "SEED0-60"),
            Self::Imdn => ("7", "SEED0-61"),
            Self::Clients => ("8", "SEED0-70"),
        }
    }
}

/// What a step said. Text is the name of a rule of the user's.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "what each is, its words say")]
pub enum Said<'a> {
    NotCpm,
    AnotherApplication,
    Refused { refusal: Refusal, rule: Option<&'a str> },
    NotRefused,
    Interworks { rule: &'a str, interwork: Interwork },
    WaitsForDnd(&'a str),
    Stores(&'a str),
    Forwards { rule: &'a str, to: &'a str },
    Defers(&'a StoredRule),
    Undisturbed(Undisturbed<'a>),
    Records(&'a str),
    Client(Client<'a>),
    NoClient,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (step, row) = self.stage.number();
        write!(f, "{step:<3}{} [{row}]", self.said)
    }
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = |f: &mut fmt::Formatter<'_>, until: Option<Timestamp>| match until {
            Some(until) => write!(f, " until {until}"),
            None => Ok(()),
        };
        match self {
            Self::NotCpm => f.write_str("its Accept-Contact names no CPM service: relayed"),
            Self::AnotherApplication => {
                f.write_str("it names an application of its own (IARI): forwarded unread")
            }
            Self::Refused { refusal, rule: Some(rule) } => write!(f, "rule `{rule}`: {refusal}"),
            Self::Refused { refusal, rule: None } => write!(f, "{refusal}"),
            Self::NotRefused => f.write_str("steps 1 to 4a refuse nothing"),
            Self::Interworks { rule, interwork: Interwork::Also } => {
                write!(f, "rule `{rule}`: a copy to the ISF")
            }
            Self::Interworks { rule, .. } => write!(f, "rule `{rule}`: to the ISF, by SMS only"),
            Self::WaitsForDnd(rule) => {
                write!(f, "rule `{rule}`: to the ISF when the user may be disturbed (A-24)")
            }
            Self::Stores(rule) => write!(f, "rule `{rule}`: into the message store, 200"),
            Self::Forwards { rule, to } => write!(f, "rule `{rule}`: forwarded to {to}"),
            Self::Defers(rule) => {
                write!(f, "rule `{}`: deferred, 202; held", rule.name)?;
                until(f, rule.valid_until)
            }
            Self::Undisturbed(dnd) => {
                match dnd.rule {
                    Some(rule) => write!(f, "rule `{}`: do not disturb, 202; held", rule.name)?,
                    None => f.write_str("do not disturb, 202; held")?,
                }
                until(f, dnd.until)
            }
            Self::Records(rule) => write!(f, "rule `{rule}`: recorded in the history"),
            Self::Client(Client { device, verdict }) => match verdict {
                Verdict::Suitable => write!(f, "to {device}"),
                Verdict::Profile(rule) => {
                    write!(f, "not to {device}: rule `{rule}` excludes its profile")
                }
                Verdict::Connectivity => {
                    write!(f, "not to {device}: it did not answer last time")
                }
                Verdict::Capability => write!(f, "not to {device}: it takes no such message"),
                Verdict::Policy => write!(f, "not to {device}: access_cpm is not on"),
            },
            Self::NoClient => f.write_str("no client to send it to: deferred (A-30)"),
        }
    }
}
