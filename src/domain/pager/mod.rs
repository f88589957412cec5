//! A SIP MESSAGE for a user of ours: refused, sent to the ISF, stored, forwarded, kept, or delivered.
//!
//! A front answers steps 1 to 4a with [`refusal`], from what it knows of the user; the engine decides the
//! rest by the same [`Ruling`]. [`decide`] runs all of it and says why, step by step. Pure, as all of the
//! domain. Source: OMA CPM 2.1 change requests, 8.3.1.1; `rules.md` 2.4, A-18 to.

mod clients;
mod ruling;
#[cfg(test)]
mod tests;
mod trace;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use clients::{Client, Verdict};
pub use ruling::{Ruling, Then, Undisturbed, keeps};
pub use trace::{Line, Said, Stage};

use super::event::Hold;
use super::message::{Content, Dispositions, Interwork, Kind};
use super::open::View;
use super::policy::OnStoreFailure;
use super::reachability::Caps;
use super::user::{Preferences, StoredRule};

/// `[pager]`: how this operator runs the procedure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServicePolicy {
    /// How large a MESSAGE we send may be, in bytes, before it needs another mode. (RFC 3428 8)
    pub limit_bytes: u32,
    /// The User-Agent versions whose messages are taken; none named: all.
    pub user_agents: Vec<String>,
    /// Whether a message without User-Agent is refused where `user_agents` names some.
    pub require_user_agent: bool,
    /// Whether a sender may stay anonymous.
    pub allow_anonymous: bool,
    /// What becomes of a message that was to be stored and could not be. (T-30)
    pub on_store_failure: OnStoreFailure,
    /// Whether preferences treat an IMDN like a message, as the standard prints it.
    pub literal_imdn_rules: bool,
}

impl Default for ServicePolicy {
    fn default() -> Self {
        Self {
            limit_bytes: 1300,
            user_agents: Vec::new(),
            require_user_agent: false,
            allow_anonymous: true,
            on_store_failure: OnStoreFailure::Reject,
            literal_imdn_rules: false,
        }
    }
}

/// What the procedure needs of a SIP MESSAGE.
#[derive(Clone, Debug, PartialEq)]
pub struct PagerModeRequest {
    /// The message: its authenticated sender, its id, its kind (A-23: an IMDN by the outer or the wrapped
    /// type), what the sender wants to hear, whether the sender wants to stay unknown.
    pub content: Content,
    /// The CPM feature tags of `Accept-Contact`.
    pub tags: Caps,
    /// It names an application of its own (IARI), which is another's to read (SEED4-23).
    pub has_iari: bool,
    /// `User-Agent`.
    pub user_agent: Option<Box<str>>,
}

/// Why a sender hears 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The version of its User-Agent is not supported (step 1).
    Version,
    /// It may not be anonymous (step 2).
    Anonymity,
    /// The user does not want it (steps 3 and 4a).
    Function,
}

impl Refusal {
    /// The SIP status.
    pub const STATUS: u16 = 403;

    /// The text of the Warning: number and phrase, as clients look for both.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Version => "132 Version not supported",
            Self::Anonymity => "119 Anonymity not allowed",
            Self::Function => "122 Function not allowed",
        }
    }

    /// In one word, for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Version => "version-not-supported",
            Self::Anonymity => "anonymity-not-allowed",
            Self::Function => "function-not-allowed",
        }
    }

    /// The value of the Warning header; `host`: who we are.
    #[must_use]
    pub fn warning(self, host: &str) -> String {
        format!("399 {host} \"{}\"", self.text())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Self::STATUS, self.text())
    }
}

/// What the sender hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing from us: it is not ours, and goes on as it is.
    Relayed,
    /// 403 and a Warning.
    Refused(Refusal),
    /// 202: it is in our hands.
    Accepted,
    /// 200, once the message store has it; else what `pager.on_store_failure` says (T-30).
    Stored,
}

/// What is done with the message.
#[derive(Clone, Debug, PartialEq)]
pub enum Act<'a> {
    /// 4b: to the ISF, without or beside IP (I-12).
    Interwork(Interwork),
    /// 4c: into the message store, its delivery wishes taken out of it.
    Store {
        /// The sender hears `delivered`, once it is stored.
        tells: bool,
    },
    /// 4d: to another address.
    Forward(&'a str),
    /// 4e and 5: kept back.
    Hold(Hold),
    /// 6: into the history.
    Record,
    /// 7 and 8: to each of these clients; none: it is deferred.
    Send(Vec<Client<'a>>),
}

/// What the procedure comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct PagerModeDecision<'a> {
    /// What the sender hears.
    pub answer: Answer,
    /// What is done, in order.
    pub acts: Vec<Act<'a>>,
    /// Which step said what, and by which rule.
    pub trace: Vec<Line<'a>>,
}

impl PagerModeDecision<'_> {
    /// The rule by which it is refused, if it is by one.
    #[must_use]
    pub fn refused_by(&self) -> Option<&str> {
        let last = self.trace.last()?;
        if let Said::Refused { rule, .. } = &last.said { *rule } else { None }
    }
}

/// Why a request is not ours, by the services that it is for and whether it names an application of its
/// own: nothing of it is read. (SEED0-49, SEED4-23)
#[must_use]
pub fn relayed(tags: Caps, has_iari: bool) -> Option<Said<'static>> {
    if has_iari {
        Some(Said::AnotherApplication)
    } else {
        (!tags.any_cpm()).then_some(Said::NotCpm)
    }
}

/// Steps 1 to 4a, as a front runs them: `prefs` may be a copy.
#[must_use]
pub fn refusal(
    request: &PagerModeRequest,
    prefs: Option<&Preferences>,
    reject: Option<&StoredRule>,
    service: &ServicePolicy,
) -> Option<Refusal> {
    if !is_supported(request.user_agent.as_deref(), service) {
        Some(Refusal::Version)
    } else if request.content.is_anonymous() && !service.allow_anonymous {
        Some(Refusal::Anonymity)
    } else if is_blacklisted(&request.content.from, prefs) || reject.is_some() {
        Some(Refusal::Function)
    } else {
        None
    }
}

/// Step 1: `pager.user_agents` names the beginnings of what is supported.
fn is_supported(user_agent: Option<&str>, service: &ServicePolicy) -> bool {
    let begins = |found: &str, supported: &str| {
        let (head, rest) = found.split_at_checked(supported.len()).unwrap_or_default();
        head.eq_ignore_ascii_case(supported)
            && !rest.starts_with(|next: char| next.is_ascii_alphanumeric())
    };
    match user_agent.map(str::trim) {
        _ if service.user_agents.is_empty() => true,
        None | Some("") => !service.require_user_agent,
        Some(found) => service.user_agents.iter().any(|supported| begins(found, supported)),
    }
}

/// Step 3; canonical addresses are compared, as inputs have them.
fn is_blacklisted(from: &str, prefs: Option<&Preferences>) -> bool {
    prefs.is_some_and(|prefs| prefs.blacklist.iter().any(|sender| **sender == *from))
}

/// The whole procedure for this request, on what is known of the user now.
#[must_use]
pub fn decide<'a>(
    request: &'a PagerModeRequest,
    view: &View<'a>,
    service: &ServicePolicy,
) -> PagerModeDecision<'a> {
    let mut steps = Steps { acts: Vec::new(), trace: Vec::new() };
    let answer = steps.run(request, view, service);
    PagerModeDecision { answer, acts: steps.acts, trace: steps.trace }
}

/// What the procedure says of a message that was let in, line by line, for a person; nothing where the
/// user has no preferences.
#[must_use]
pub fn explain(view: &View<'_>, content: Content) -> Vec<String> {
    if view.user.prefs.is_none() {
        return Vec::new();
    }
    let tags = Caps::of(["oma.cpm.msg"]);
    let request = PagerModeRequest { content, tags, has_iari: false, user_agent: None };
    let decision = decide(&request, view, &ServicePolicy::default());
    // Steps 1 to 4a are a front's, and one that has other rules let it in.
    let passed = if decision.refused_by().is_some() { "; it was let in all the same" } else { "" };
    decision.trace.iter().map(|line| format!("{line}{passed}")).collect()
}

/// What has been decided so far.
struct Steps<'a> {
    acts: Vec<Act<'a>>,
    trace: Vec<Line<'a>>,
}

impl<'a> Steps<'a> {
    fn says(&mut self, stage: Stage, said: Said<'a>) {
        self.trace.push(Line { stage, said });
    }

    fn run(
        &mut self,
        request: &'a PagerModeRequest,
        view: &View<'a>,
        service: &ServicePolicy,
    ) -> Answer {
        let content = &request.content;
        if let Some(said) = relayed(request.tags, request.has_iari) {
            self.says(Stage::Trigger, said);
            return Answer::Relayed;
        }
        let ruling = Ruling::of(view, content);
        let prefs = view.user.prefs.as_deref();
        if let Some(refusal) = refusal(request, prefs, ruling.reject, service) {
            let stage = match refusal {
                Refusal::Version => Stage::UserAgent,
                Refusal::Anonymity => Stage::Anonymity,
                Refusal::Function if is_blacklisted(&content.from, prefs) => Stage::Blacklist,
                Refusal::Function => Stage::Reject,
            };
            let rule = ruling.reject.filter(|_| stage == Stage::Reject).map(|rule| &*rule.name);
            self.says(stage, Said::Refused { refusal, rule });
            return Answer::Refused(refusal);
        }
        self.says(Stage::Reject, Said::NotRefused);
        self.interwork(view, &ruling);
        match ruling.then {
            Then::Store(rule) => {
                self.says(Stage::Store, Said::Stores(&rule.name));
                let tells = content.disposition.has(Dispositions::POSITIVE);
                self.acts.push(Act::Store { tells });
                return Answer::Stored;
            }
            Then::Forward { rule, to } => {
                self.says(Stage::Forward, Said::Forwards { rule: &rule.name, to });
                self.acts.push(Act::Forward(to));
                return Answer::Accepted;
            }
            Then::Defer(rule) => self.says(Stage::Defer, Said::Defers(rule)),
            Then::Nothing => {}
        }
        if let Some(dnd) = ruling.undisturbed {
            self.says(Stage::DoNotDisturb, Said::Undisturbed(dnd));
        }
        self.acts.extend(ruling.holds().map(Act::Hold));
        if ruling.holds().next().is_some() {
            return Answer::Accepted;
        }
        if let Some(rule) = ruling.record {
            self.says(Stage::History, Said::Records(&rule.name));
            self.acts.push(Act::Record);
        }
        self.send(view, content, &ruling);
        Answer::Accepted
    }

    /// 4b: what goes to the ISF, now or when nothing keeps it.
    fn interwork(&mut self, view: &View<'a>, ruling: &Ruling<'a>) {
        let Some((interwork, rule)) = ruling.interwork else { return };
        if ruling.undisturbed.is_some() && view.policy.dnd_blocks_interwork {
            self.says(Stage::Interwork, Said::WaitsForDnd(&rule.name));
        } else {
            self.says(Stage::Interwork, Said::Interworks { rule: &rule.name, interwork });
        }
        self.acts.push(Act::Interwork(interwork));
    }

    /// 7 and 8: the clients. What goes to the ISF alone goes to none.
    fn send(&mut self, view: &View<'a>, content: &'a Content, ruling: &Ruling<'a>) {
        if ruling.interwork.is_some_and(|(interwork, _)| interwork == Interwork::Only) {
            return;
        }
        let stage = if content.kind == Kind::Imdn { Stage::Imdn } else { Stage::Clients };
        let clients = clients::judged(view, content);
        for client in &clients {
            self.says(stage, Said::Client(*client));
        }
        let chosen: Vec<_> =
            clients.into_iter().filter(|client| client.verdict == Verdict::Suitable).collect();
        if chosen.is_empty() {
            self.says(stage, Said::NoClient);
        }
        self.acts.push(Act::Send(chosen));
    }
}
