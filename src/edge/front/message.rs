//! A MESSAGE for a user: refused here, or handed in and answered when the engine has it.
//!
//! Steps 1 to 4a of 8.3.1.1 are answered from a look at the user's preferences; the engine decides the
//! rest, by the same procedure. What is refused is told to it too, so that `why` knows.
//!
//! Source: OMA CPM 2.1 change requests, 8.3.1.1; `rules.md` SEED0-49 to SEED0-61, SEED4-10, A-9, A-18 to A-24,
//! A-46, T-29, T-30, T-31.

use super::caller::{Identity, Role, canonical};
use super::stored::Waiting;
use super::submission::{Sender, bare, kind, submission};
use super::{Answer, Denial, Front, Request, Told, became, data, name_of};
use crate::cpm::cpim::{self, Cpim};
use crate::cpm::imdn::{self, Imdn};
use crate::cpm::{evfw, is_type};
use crate::domain::address::Address;
use crate::domain::input::{HandledAs, ImdnReceived, MessageHandled, ReportedBy};
use crate::domain::message::Kind;
use crate::domain::open::View;
use crate::domain::pager::{self, PagerModeRequest, Refusal};
use crate::domain::reachability::Caps;
use crate::domain::user::User;
use crate::edge::private::Subscriber;
use crate::engine::intake::{Given, Settled, partition_of};
use crate::engine::ports::Fate;
use crate::record::input::{Kind as Input, Rejected};

/// Who sent it, where nobody says. (RFC 3323 4.1)
const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";

/// What the procedure came to, as far as the front must know it.
enum Verdict {
    Refused { refusal: Refusal, rule: Option<Box<str>> },
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
        if let Some(said) = pager::relayed(tags, request.has_iari()) {
            return Ok(Answer::relayed(said.to_string()));
        }
        let rules = self.rules();
        let identity = request.identity(&self.reader.home)?;
        let role = identity.as_ref().map_or(Role::User, |identity| rules.role(identity));
        let outer = request.headers.get("content-type");
        let envelope = match outer {
            Some(of) if is_type(of, cpim::MIME) => Some(cpim::read(&request.body, &self.limits())?),
            Some(of) if evfw::is_event_report(of) => None,
            _ => return Err(Denial::media_type(outer, "message/cpim, or an event report")),
        };
        let content_type = envelope.as_ref().map_or(evfw::MIME, Cpim::content_type);
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
        match (&envelope, role) {
            (Some(message), Role::Gateway) if kind == Kind::Imdn => {
                self.of_gateway(message, &rules.address).await
            }
            _ => {
                let known = identity.as_ref();
                let sender = Sender {
                    address: known.map_or(ANONYMOUS, |identity| &identity.address),
                    asserted: known.and_then(|identity| identity.asserted.as_deref()),
                    anonymous: known.is_none() || request.wants_privacy(envelope.as_ref()),
                };
                self.for_user(&request, envelope.as_ref(), &sender, known, tags).await
            }
        }
    }

    /// the gateway answers for the SMS that it got from us. Nobody else hears of it.
    async fn of_gateway(&self, message: &Cpim, own: &str) -> Result<Answer, Denial> {
        let read = imdn::read(message.body(), &self.limits())?;
        let named = [
            message.from().map(|party| party.uri),
            read.original_recipient_uri.clone(),
            read.recipient_uri.clone(),
        ];
        // The IMDN comes from whom the message was for.
        let user = named.into_iter().flatten().find_map(|uri| {
            Address::parse(&uri, &self.reader.home).ok().map(|user| user.to_string())
        });
        let user = user.ok_or_else(|| {
            Denial::bad("subject", "neither From nor recipient-uri of the IMDN names a user")
        })?;
        let sender = message.to().first().map(|party| canonical(&party.uri, &self.reader.home));
        // A gateway that keeps to the route writes to us: then any sender's message of this id is meant.
        let sender = sender.filter(|sender| **sender != *own);
        let said = of_imdn(&read, sender.as_deref(), ReportedBy::Gateway, message.message_id());
        let told = Told {
            kind: Input::ImdnReceived,
            id: name_of([user.as_bytes(), message.write().as_slice()]),
            user: user.into(),
            time: None,
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
        let call = request.headers.get("call-id").unwrap_or_default();
        let cseq = request.headers.get("cseq").unwrap_or_default();
        let id = name_of([
            call.as_bytes(),
            cseq.as_bytes(),
            user.as_bytes(),
            sender.address.as_bytes(),
            &request.body,
        ]);
        let sent = match envelope {
            Some(message) => submission(message, sender, &request.headers)?,
            None => bare(&id, evfw::MIME, &request.body, sender, &request.headers)?,
        };
        let submitted = Told {
            kind: Input::MessageSubmitted,
            user: user.as_str().into(),
            id: id.clone(),
            time: None,
            data: data(&sent),
        };
        let mut inputs = self.inputs(&[submitted])?;
        let content = sent.content();
        let (from, message_id) = (content.from.clone(), content.message_id.clone());
        // T-31: what a client writes of a message says that the client has it.
        if let (Kind::Imdn, Some(message), Some(identity)) = (content.kind, envelope, identity) {
            inputs.extend(self.written_by_client(message, identity, &user, &id)?);
        }
        let asked = PagerModeRequest {
            content,
            tags,
            has_iari: false,
            user_agent: request.headers.get("user-agent").map(Into::into),
        };
        let waiting = Waiting { address, from, message_id };
        match self.verdict(asked, &waiting.address).await? {
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

    /// The procedure, on what its shard knows of the user now.
    async fn verdict(
        &self,
        request: PagerModeRequest,
        address: &Address,
    ) -> Result<Verdict, Denial> {
        let service = self.rules().service.clone();
        let address = address.clone();
        let partition = partition_of(&address.to_string(), self.reach.desks.partitions());
        let asked = self.reach.ask(partition, move |desk| {
            let (state, now) = (desk.state(), desk.now());
            let judge = |user: &User| {
                let view = View { user, policy: &state.policy, at: now, now, fresh: None };
                let decision = pager::decide(&request, &view, &service);
                match decision.answer {
                    pager::Answer::Refused(refusal) => {
                        let rule = decision.refused_by().map(Box::from);
                        Verdict::Refused { refusal, rule }
                    }
                    pager::Answer::Stored => Verdict::Stored,
                    pager::Answer::Accepted | pager::Answer::Relayed => Verdict::Taken,
                }
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
        message: &Cpim,
        identity: &Identity,
        about: &str,
        id: &str,
    ) -> Result<Vec<Given>, Denial> {
        let read = imdn::read(message.body(), &self.limits());
        let (Ok(read), Ok(client)) = (read, Address::parse(&identity.address, &self.reader.home))
        else {
            return Ok(Vec::new());
        };
        let said = of_imdn(&read, Some(about), ReportedBy::Client, message.message_id());
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

    /// Whether the sender wants to stay anonymous. (SEED0-51)
    fn wants_privacy(&self, envelope: Option<&Cpim>) -> bool {
        let privacy = self.headers.get("privacy").unwrap_or_default();
        let mut wishes = privacy.split([';', ',']).map(str::trim);
        let is_nobody = |uri: &str| uri.to_ascii_lowercase().contains("anonymous.invalid");
        wishes.any(|wish| wish.eq_ignore_ascii_case("id"))
            || self.headers.get("from").is_some_and(is_nobody)
            || envelope.and_then(Cpim::from).is_some_and(|party| is_nobody(&party.uri))
    }
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
