//! A MESSAGE for a user: refused here, or handed in and answered when the engine has it.
//!
//! Steps 1 to 4a of 8.3.1.1 are answered from a look at the user's preferences; the engine decides the
//! rest, by the same procedure. What is refused is told to it too, so that `why` knows.
//!
//! Source: OMA CPM 2.1 change requests, 8.3.1.1; `rules.md` SEED0-49 to SEED0-61, SEED4-10, A-9, A-18 to A-24,
//! A-46, T-29, T-30, T-31.

use super::caller::{Identity, Role};
use super::stored::Waiting;
use super::submission::{Sender, bare, kind, submission};
use super::{Answer, Denial, Front, Request, Rules, Told, became, data, name_of};
use crate::cpm::cpim::{self, Cpim};
use crate::cpm::imdn::{self, Imdn};
use crate::cpm::{evfw, is_type};
use crate::domain::address::Address;
use crate::domain::event::End;
use crate::domain::input::{HandledAs, ImdnReceived, MessageHandled, ReportedBy};
use crate::domain::message::Kind;
use crate::domain::open::View;
use crate::domain::pager::{self, PagerModeRequest, Refusal};
use crate::domain::reachability::Caps;
use crate::domain::time::Timestamp;
use crate::domain::user::{Remembered, User, key_digest};
use crate::edge::private::Subscriber;
use crate::engine::intake::{Given, Settled, partition_of};
use crate::engine::ports::Fate;
use crate::record::input::{Kind as Input, Rejected};

/// Who sent it, where nobody says. (RFC 3323 4.1)
const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";
/// Seconds until a sender for whom there was no room may try again.
const AFTER_QUOTA: u64 = 300;

/// What the procedure came to, as far as the front must know it.
enum Verdict {
    Refused {
        refusal: Refusal,
        rule: Option<Box<str>>,
    },
    /// T-25: the sender hears of it, and nothing is appended.
    OverQuota,
    Taken,
    Stored,
}

impl Front {
    /// Takes a message, a notification or a system message for a user.
    ///
    /// # Errors
    ///
    /// [`Denial`]: the procedure refuses it, or it cannot be taken.
    pub async fn message(&self, request: Request) -> Result<Answer, Denial> {
        let tags = request.tags();
        let outer = request.headers.get("content-type").unwrap_or_default();
        // SEED4-23 is about the event framework: messages of other applications are messages.
        let framework = tags.take(Kind::System) || evfw::is_event_report(outer);
        if let Some(said) = pager::relayed(tags, framework && request.has_iari()) {
            return Ok(Answer::relayed(said.to_string()));
        }
        let rules = self.rules();
        let identity = request.identity(&self.reader.home)?;
        let role = identity.as_ref().map_or(Role::User, |identity| rules.role(identity));
        // an IMDN is one by the outer type, too.
        let is_bare = evfw::is_event_report(outer) || is_type(outer, imdn::MIME);
        let envelope = match outer {
            of if is_type(of, cpim::MIME) => Some(cpim::read(&request.body, &self.limits())?),
            _ if is_bare => None,
            of => return Err(Denial::media_type(of, "message/cpim, an IMDN or an event report")),
        };
        let content_type = envelope.as_ref().map_or(outer, Cpim::content_type);
        let kind = kind(content_type);
        if kind == Kind::System && role != Role::ApplicationServer {
            tracing::warn!(
                security = true,
                caller = %Subscriber(identity.as_ref().map_or("", |identity| &identity.address)),
                "a system message came from nobody in cpm.application_servers, and was refused"
            );
            return Err(Denial::forbidden(
                "not-an-application-server",
                "system messages come from cpm.application_servers alone (SEED4-10); a client's events \
                 go to the front's events",
            ));
        }
        if (kind, role) == (Kind::Imdn, Role::Gateway) {
            return self.of_gateway(&request, envelope.as_ref(), &rules).await;
        }
        let known = identity.as_ref();
        let sender = Sender {
            address: known.map_or(ANONYMOUS, |identity| &identity.address),
            asserted: known.and_then(|identity| identity.asserted.as_deref()),
            anonymous: known.is_none() || request.wants_privacy(),
        };
        self.for_user(&request, envelope.as_ref(), &sender, known, tags).await
    }

    /// the gateway answers for the SMS that it got from us. Nobody else hears of it.
    async fn of_gateway(
        &self,
        request: &Request,
        envelope: Option<&Cpim>,
        rules: &Rules,
    ) -> Result<Answer, Denial> {
        let read = imdn::read(envelope.map_or(&*request.body, Cpim::body), &self.limits())?;
        let home = &self.reader.home;
        // Elements write for themselves: they are nobody's phone, and sent nobody's message.
        let is_user = |uri: &str| {
            let found = Address::parse(uri, home).ok()?.to_string();
            let is_ours = *found == *rules.address || rules.gateways.iter().any(|g| **g == *found);
            (!is_ours && !is_nobody(uri)).then_some(found)
        };
        let named = [
            envelope.and_then(Cpim::from).map(|party| party.uri),
            read.original_recipient_uri.clone(),
            read.recipient_uri.clone(),
        ];
        // The IMDN comes from whom the message was for.
        let user = named.into_iter().flatten().find_map(|uri| is_user(&uri)).ok_or_else(|| {
            Denial::bad("subject", "neither From nor recipient-uri of the IMDN names a user")
        })?;
        let parties = envelope.map(Cpim::to).unwrap_or_default();
        let sender = parties.first().and_then(|party| is_user(&party.uri));
        let id = envelope.and_then(Cpim::message_id);
        let said = of_imdn(&read, sender.as_deref(), ReportedBy::Gateway, id);
        let told = Told {
            kind: Input::ImdnReceived,
            id: name_of([user.as_bytes(), &request.body]),
            user: user.into(),
            // P-20: it may be about an SMS that is over by now.
            time: Some(self.sent(request.date().or_else(|| envelope?.date_time()))),
            data: data(&said),
        };
        let settled = self.give(self.inputs(&[told])?).await?;
        Ok(Answer::of(200, "the gateway's report is taken, and goes no further")
            .with("events", became(&settled)))
    }

    /// Procedure 8.3.1.1.
    async fn for_user(
        &self,
        request: &Request,
        envelope: Option<&Cpim>,
        sender: &Sender<'_>,
        identity: Option<&Identity>,
        tags: Caps,
    ) -> Result<Answer, Denial> {
        let to = request.headers.get("to").map(Into::into);
        let to: Option<Box<str>> = to.or_else(|| Some(envelope?.to().first()?.uri.clone()));
        let to = to.ok_or_else(|| {
            Denial::bad(
                "subject",
                "neither the request nor the message has a To: it names the user",
            )
        })?;
        let address = Address::parse(&to, &self.reader.home).map_err(|why| {
            Denial::bad("subject", format!("To: {why}, such as tel:+15145550100"))
        })?;
        let user = address.to_string();
        let id = self.id(request, &user, sender, envelope.is_none());
        let sent = match envelope {
            Some(message) => submission(message, sender, &request.headers)?,
            None => {
                let of = request.headers.get("content-type").unwrap_or_default();
                bare(&id, of, &request.body, sender, &request.headers)?
            }
        };
        let content = sent.content();
        let kind = content.kind;
        let (from, message_id) = (content.from.clone(), content.message_id.clone());
        let mut waiting = Waiting { address, from, message_id, refused_at: None };
        let user_agent = request.headers.get("user-agent").map(Into::into);
        let asked = PagerModeRequest { content, tags, has_iari: false, user_agent };
        let (verdict, refused_at) = self.verdict(asked, &waiting).await?;
        // after a refusal the same request is a new one.
        waiting.refused_at = refused_at;
        let id = match refused_at {
            Some(at) => format!("{id}-{}", at.as_millis()),
            None => id,
        };
        let submitted = Told {
            kind: Input::MessageSubmitted,
            user: user.as_str().into(),
            id: id.clone(),
            time: None,
            data: data(&sent),
        };
        let mut inputs = self.inputs(&[submitted])?;
        // T-31: what a client writes of a message says that the client has it.
        if let (Kind::Imdn, Some(identity)) = (kind, identity) {
            inputs.extend(self.written_by_client(request, envelope, identity, &user, &id)?);
        }
        match verdict {
            Verdict::OverQuota => Err(Denial {
                again_in: Some(AFTER_QUOTA),
                ..Denial::new(
                    480,
                    "quota",
                    "as much waits for this user as may wait: try again later",
                )
            }),
            Verdict::Refused { refusal, rule } => {
                self.refused(&waiting, &id, refusal, rule.as_deref()).await
            }
            Verdict::Taken => {
                let settled = self.give(inputs).await?;
                let says = taken(&settled)?;
                Ok(Answer::of(202, says).with("events", became(&settled)))
            }
            Verdict::Stored => {
                taken(&self.give(inputs).await?)?;
                self.stored(&waiting, &id).await
            }
        }
    }

    /// The name of a submission: the same of the same request. Where nothing tells one event of an
    /// application server from the next, each is one.
    fn id(&self, request: &Request, user: &str, sender: &Sender<'_>, is_bare: bool) -> String {
        let call = request.headers.get("call-id").unwrap_or_default();
        let cseq = request.headers.get("cseq").unwrap_or_default();
        let now = if is_bare && call.is_empty() { self.clock.now().as_millis() } else { 0 };
        name_of([
            call.as_bytes(),
            cseq.as_bytes(),
            &now.to_be_bytes(),
            user.as_bytes(),
            sender.address.as_bytes(),
            &request.body,
        ])
    }

    /// The procedure, on what its shard knows of the user now; and when a message of this id was refused
    /// before, if it was.
    async fn verdict(
        &self,
        request: PagerModeRequest,
        message: &Waiting,
    ) -> Result<(Verdict, Option<Timestamp>), Denial> {
        let service = self.rules().service.clone();
        let address = message.address.clone();
        let key = key_digest(&message.from, &message.message_id);
        let partition = partition_of(&address.to_string(), self.reach.desks.partitions());
        let asked = self.reach.ask(partition, move |desk| {
            let (state, now) = (desk.state(), desk.now());
            let judge = |user: &User| {
                let view = View { user, policy: &state.policy, at: now, now, fresh: None };
                let refused = |ended: &&Remembered| ended.key == key && ended.end == End::Rejected;
                let refused_at = user.remembered.iter().find(refused).map(|ended| ended.at);
                let decision = pager::decide(&request, &view, &service);
                let content = &request.content;
                let is_known =
                    user.named(&content.message_id, Some(&content.from)).next().is_some();
                let over = !content.kind.in_imdn_lane() && !is_known && view.over_quota(content);
                let verdict = match decision.answer {
                    pager::Answer::Refused(refusal) => {
                        let rule = decision.refused_by().map(Box::from);
                        Verdict::Refused { refusal, rule }
                    }
                    _ if over => Verdict::OverQuota,
                    pager::Answer::Stored => Verdict::Stored,
                    pager::Answer::Accepted | pager::Answer::Relayed => Verdict::Taken,
                };
                (verdict, refused_at)
            };
            let known = state.users.see(state.users.key(&address), judge);
            known.unwrap_or_else(|| judge(&User::new(address.clone())))
        });
        Ok(asked.await?)
    }

    /// T-29: the journal has what was refused, and then the sender hears of it.
    async fn refused(
        &self,
        message: &Waiting,
        id: &str,
        refusal: Refusal,
        rule: Option<&str>,
    ) -> Result<Answer, Denial> {
        let warning = refusal.warning(self.rules().host());
        let said = MessageHandled {
            message_id: (&*message.message_id).into(),
            from: Some((&*message.from).into()),
            result: HandledAs::Rejected,
            sip_status: Some(Refusal::STATUS),
            warning: Some(warning.as_str().into()),
            rule: rule.map(Into::into),
            to: None,
        };
        let told = Told {
            kind: Input::MessageHandled,
            user: message.address.to_string().into(),
            id: format!("{id}-refused"),
            time: None,
            data: data(&said),
        };
        self.give(self.inputs(&[told])?).await?;
        let denial = Denial::new(Refusal::STATUS, refusal.code(), refusal.text());
        Err(Denial { warning: Some(warning), ..denial })
    }

    /// The IMDN that a client wrote, for the user whose client it is. One that cannot be read only
    /// passes by.
    fn written_by_client(
        &self,
        request: &Request,
        envelope: Option<&Cpim>,
        identity: &Identity,
        about: &str,
        id: &str,
    ) -> Result<Vec<Given>, Denial> {
        let read = imdn::read(envelope.map_or(&*request.body, Cpim::body), &self.limits());
        let (Ok(read), Ok(client)) = (read, Address::parse(&identity.address, &self.reader.home))
        else {
            return Ok(Vec::new());
        };
        let own = envelope.and_then(Cpim::message_id);
        let said = of_imdn(&read, Some(about), ReportedBy::Client, own);
        self.inputs(&[Told {
            kind: Input::ImdnReceived,
            user: client.to_string().into(),
            id: format!("{id}-imdn"),
            time: None,
            data: data(&said),
        }])
    }
}

impl Request {
    /// The CPM services that it is for, by Accept-Contact, else by the service that was asserted or asked for
    /// (SEED4-20, SEED4-21). What is sent here without any is a pager message.
    fn tags(&self) -> Caps {
        let names = ["accept-contact", "p-asserted-service", "p-preferred-service"];
        let named = names.into_iter().find_map(|name| self.headers.get(name));
        Caps::of([named.unwrap_or("oma.cpm.msg")])
    }

    /// Whether the sender wants to stay anonymous. What the envelope says is no wish: deployed clients
    /// always write an anonymous From there. (SEED0-51, 5.4)
    fn wants_privacy(&self) -> bool {
        let privacy = self.headers.get("privacy").unwrap_or_default();
        let mut wishes = privacy.split([';', ',']).map(str::trim);
        wishes.any(|wish| wish.eq_ignore_ascii_case("id"))
            || self.headers.get("from").is_some_and(is_nobody)
    }
}

/// Whether an address says that it is nobody's. (RFC 3323 4.1)
fn is_nobody(uri: &str) -> bool {
    uri.to_ascii_lowercase().contains("anonymous.invalid")
}

/// What an IMDN says of the message that `sender` sent.
fn of_imdn<'i>(
    read: &'i Imdn,
    sender: Option<&'i str>,
    reported_by: ReportedBy,
    id: Option<&'i str>,
) -> ImdnReceived<'i> {
    ImdnReceived {
        message_id: (&*read.message_id).into(),
        from: sender.map(Into::into),
        disposition: read.status.word().into(),
        reported_by,
        imdn_id: id.map(Into::into),
        device: None,
    }
}

/// Whether the message itself is taken: what became of the first input.
fn taken(settled: &[Settled]) -> Result<&'static str, Denial> {
    match settled.first() {
        Some(Settled::Decided { fate: Fate::Rejected(why @ Rejected::Conflict), .. }) => {
            Err(Denial::bad("conflict", format!("{why}; give it an id of its own")))
        }
        Some(Settled::Decided { fate: Fate::Rejected(why), .. }) => Err(why.clone().into()),
        Some(Settled::Decided { fate: Fate::Duplicate | Fate::Ignored(_), .. }) => {
            Ok("it was taken before: nothing was done twice")
        }
        Some(Settled::Decided { fate: Fate::Decided, .. } | Settled::Logged { .. }) | None => {
            Ok("it is taken, and delivered as soon as it can be")
        }
    }
}
