//! `deferd pager`: what becomes of a message in pager mode, step by step.

use std::io::Write;

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};

use super::args::{Pager, ShowAs};
use super::clock::WallClock;
use super::config::Loaded;
use super::evfw::{octets, refused};
use super::replay::paint::{BAD, BOLD, DIM, GOOD, paint};
use super::{Answer, settings};
use crate::cpm::cpim::{self, Cpim};
use crate::cpm::preferences::{Reading, read};
use crate::cpm::xml::Limits;
use crate::domain::address::Address;
use crate::domain::decide::step;
use crate::domain::input::{
    Change, DeviceRef, DoNotDisturb, Fact, ImsRegistered, Input, PreferencesChanged, Registration,
    Told,
};
use crate::domain::message::Content;
use crate::domain::open::View;
use crate::domain::pager::{
    Act, Answer as SipAnswer, Client, PagerModeDecision, PagerModeRequest, Refusal, decide,
};
use crate::domain::policy::Policy;
use crate::domain::reachability::Caps;
use crate::domain::time::Timestamp;
use crate::domain::user::User;
use crate::edge::front::{Headers, Sender, canonical, submission};
use crate::engine::ports::Clock as _;
use crate::record::input::Reader;

/// Explains the procedure.
///
/// # Errors
///
/// A file cannot be read, or an argument is none.
pub(super) fn pager(args: &Pager, config: &Loaded, out: &mut dyn Write) -> anyhow::Result<Answer> {
    let settings = settings(config)?;
    let home = &settings.reader.home;
    let limits = Limits { octets: settings.reader.max_input_bytes, ..Limits::default() };
    let bytes = octets(&args.explain)?;
    let message = match cpim::read(&bytes, &limits) {
        Ok(message) => message,
        Err(error) => return refused(&args.explain, &bytes, &error, args.output, out),
    };
    let now = match &args.at {
        Some(at) => at.parse().with_context(|| format!("--at {at}"))?,
        None => WallClock.now(),
    };
    let to = message.to().first().map(|party| party.uri.clone());
    let to = to.ok_or_else(|| anyhow!("{}: it has no To header", args.explain.display()))?;
    let address = Address::parse(&to, home).with_context(|| format!("To: {to}"))?;
    let mut known = Known { user: User::new(address), policy: settings.policy, now };
    for file in &args.preferences {
        let bytes = octets(file)?;
        let document = match read(&bytes, &Reading { limits, home }) {
            Ok(document) => document,
            Err(error) => return refused(file, &bytes, &error, args.output, out),
        };
        known.told(&Fact::PreferencesChanged(Box::new(document.said.change())));
    }
    if args.undisturbed {
        let do_not_disturb = Change::Set(DoNotDisturb::Now(true));
        let change = PreferencesChanged { do_not_disturb, ..PreferencesChanged::default() };
        known.told(&Fact::PreferencesChanged(Box::new(change)));
    }
    args.clients.iter().for_each(|client| known.registered(client));
    let request = PagerModeRequest {
        content: content(&message, args.from.as_deref(), args.anonymous, &settings.reader)?,
        // A message in CPIM is CPM's; what SIP says of it is not in the file.
        tags: Caps::of(["oma.cpm.msg"]),
        has_iari: false,
        user_agent: args.user_agent.as_deref().map(Box::from),
    };
    let view = known.view();
    let decision = decide(&request, &view, &config.config.pager);
    match args.output {
        ShowAs::Json => {
            writeln!(out, "{}", serde_json::to_string_pretty(&told(&decision))?)?;
        }
        ShowAs::Table => {
            for line in &decision.trace {
                let (step, rule) = line.stage.number();
                let rule = paint(DIM, format!("[{rule}]"));
                writeln!(out, "{} {} {rule}", paint(BOLD, format!("{step:<2}")), line.said)?;
            }
            let colour = if is_refused(&decision) { BAD } else { GOOD };
            writeln!(out, "{} {}", paint(BOLD, "→ "), paint(colour, words(decision.answer)))?;
        }
    }
    Ok(if is_refused(&decision) { Answer::No } else { Answer::Done })
}

/// What is known of the user.
struct Known {
    user: User,
    policy: Policy,
    now: Timestamp,
}

impl Known {
    /// Moves the user by a fact; one that changes nothing is none.
    fn told(&mut self, fact: &Fact<'_>) {
        let told = Told { time: self.now, logged: self.now, source: 1, id: 1, order: None };
        let _ = step(&mut self.user, &Input { told, fact: fact.clone() }, self.now, &self.policy);
    }

    /// `name`, or `name=tag,tag`.
    fn registered(&mut self, client: &str) {
        let (name, tags) = match client.split_once('=') {
            Some((name, tags)) => (name, Some(tags)),
            None => (client, None),
        };
        self.told(&Fact::ImsRegistered(Box::new(ImsRegistered {
            device: Some(DeviceRef { instance: Some(name.into()), ..DeviceRef::default() }),
            expires_at: self.now + std::time::Duration::from_secs(3600),
            change: Registration::Initial,
            features: tags.map(|tags| tags.split(',').map(Into::into).collect()),
            cpm_capable: None,
            aliases: Vec::new(),
            imsi: None,
            profile: None,
            access: None,
            user_agent: None,
            call_id: None,
            cseq: None,
            trust: None,
        })));
    }

    fn view(&self) -> View<'_> {
        let Self { user, policy, now } = self;
        View { user, policy, at: *now, now: *now, fresh: None }
    }
}

/// The message as the procedure sees it.
fn content(
    message: &Cpim,
    from: Option<&str>,
    anonymous: bool,
    reader: &Reader,
) -> anyhow::Result<Content> {
    let said = message.from().map(|party| party.uri);
    let from = from.map(Box::from).or(said);
    let from = from.ok_or_else(|| anyhow!("it has no From header, expected --from"))?;
    let address = canonical(&from, &reader.home);
    let sender = Sender { address: &address, asserted: None, anonymous };
    let sent = submission(message, &sender, &Headers::default())
        .map_err(|denial| anyhow!("{}", denial.says))?;
    Ok(sent.content())
}

fn is_refused(decision: &PagerModeDecision<'_>) -> bool {
    matches!(decision.answer, SipAnswer::Refused(_))
}

fn words(answer: SipAnswer) -> String {
    match answer {
        SipAnswer::Relayed => "not ours: it goes on as it is".to_owned(),
        SipAnswer::Refused(refusal) => refusal.to_string(),
        SipAnswer::Accepted => "202 Accepted".to_owned(),
        SipAnswer::Stored => "200 OK, once it is stored".to_owned(),
    }
}

fn told(decision: &PagerModeDecision<'_>) -> Value {
    let act = |act: &Act<'_>| match act {
        Act::Interwork(interwork) => json!({ "interwork": interwork }),
        Act::Store { tells } => json!({ "store": { "tells_delivered": tells } }),
        Act::Forward(to) => json!({ "forward": to }),
        Act::Hold(hold) => json!({ "hold": hold }),
        Act::Record => json!("record"),
        Act::Send(clients) => {
            let names: Vec<String> = clients.iter().map(name).collect();
            json!({ "send": names })
        }
    };
    let trace: Vec<Value> = (decision.trace.iter())
        .map(|line| {
            let (step, rule) = line.stage.number();
            json!({ "step": step, "rule": rule, "said": line.said.to_string() })
        })
        .collect();
    let status = match decision.answer {
        SipAnswer::Relayed => None,
        SipAnswer::Refused(_) => Some(Refusal::STATUS),
        SipAnswer::Accepted => Some(202),
        SipAnswer::Stored => Some(200),
    };
    let warning = match decision.answer {
        SipAnswer::Refused(refusal) => Some(refusal.text()),
        SipAnswer::Relayed | SipAnswer::Accepted | SipAnswer::Stored => None,
    };
    let acts: Vec<Value> = decision.acts.iter().map(act).collect();
    json!({ "status": status, "warning": warning, "acts": acts, "trace": trace })
}

fn name(client: &Client<'_>) -> String {
    client.device.to_string()
}
