//! An event report: what a gateway says of SMS becomes inputs, what a client asks of its store is done.
//!
//! Source: OMA CPM 2.1 change requests, 6.7; `rules.md` SEED0-20 to SEED0-38, SEED4-1 to SEED4-4, SEED4-20 to SEED4-25,
//! SEED4-58 to SEED4-78, A-3, A-4, A-7, A-12, A-15, A-17, A-37, A-38.

use super::caller::{Identity, Role};
use super::{Answer, Denial, Front, Request, Told, became, data, name_of};
use crate::cpm::evfw::{
    self, Context, Domain, Event, EventReport, FailedIw, IwOutcome, IwReport, IwResult, Reading,
};
use crate::domain::address::Address;
use crate::domain::input::{SmsReady, SmsReport};
use crate::domain::time::Timestamp;
use crate::edge::private::Subscriber;
use crate::record::input::Kind;

/// How long a report may be on its way and still have been sent now.
const AT_ONCE: std::time::Duration = std::time::Duration::from_secs(2);

impl Front {
    /// Takes an event report.
    ///
    /// # Errors
    ///
    /// [`Denial`]: nothing of it was done, unless its code is `unknown`.
    pub async fn event(&self, request: Request) -> Result<Answer, Denial> {
        let of = request.headers.get("content-type");
        if !of.is_some_and(evfw::is_event_report) {
            return Err(Denial::media_type(of, evfw::MIME));
        }
        if request.has_iari() {
            return Ok(Answer::relayed(
                "it names an application of its own (IARI): it is not read here, forward it (SEED4-23)",
            ));
        }
        let rules = self.rules();
        let identity = request.identity(&self.reader.home)?.ok_or_else(|| {
            Denial::forbidden(
                "identity",
                "nobody says whose event this is: P-Asserted-Identity names the user or the gateway",
            )
        })?;
        let reading =
            Reading { limits: self.limits(), repair: rules.repair, home: &self.reader.home };
        let read = evfw::read(&request.body, &reading)?;
        let role = rules.role(&identity);
        self.permitted(&read.report, &identity, role)?;

        let (older, newer) = self.reports(&request, &read.report)?;
        let (older, newer) = (self.inputs(&older)?, self.inputs(&newer)?);
        // what failed is older than what is ready, on whatever topics both stand.
        let mut settled = self.give(older).await?;
        settled.extend(self.give(newer).await?);
        let results = self.flags(&rules, &request, &identity, &read.report).await;
        let says = if read.report.does_nothing() {
            "it asks for nothing that is known here"
        } else {
            "its events are taken"
        };
        Ok(Answer::of(200, says)
            .with("events", became(&settled))
            .with("results", results)
            .with("unknown", read.unknown))
    }

    /// what could make an SMS go out is a gateway's to say, and a store is its user's.
    fn permitted(
        &self,
        report: &EventReport,
        identity: &Identity,
        role: Role,
    ) -> Result<(), Denial> {
        let says_iw = report.events.iter().any(|event| matches!(event, Event::Interworking(_)));
        if says_iw && role != Role::Gateway {
            tracing::warn!(
                security = true,
                caller = %Subscriber(&identity.address),
                "an interworking event came from nobody in cpm.gateways, and was refused"
            );
            return Err(Denial::forbidden(
                "not-a-gateway",
                "interworking events come from the gateways of cpm.gateways alone (A-7); nothing of it \
                 was done",
            ));
        }
        if report.imap().next().is_some() && role != Role::User {
            tracing::warn!(
                security = true,
                caller = %Subscriber(&identity.address),
                "flags were asked for by no user, and refused"
            );
            return Err(Denial::forbidden(
                "not-a-user",
                "flags are asked for by the user whose message store it is; nothing of it was done",
            ));
        }
        Ok(())
    }

    /// The inputs that its interworking events are: what is older, and what is newer.
    fn reports<'r>(
        &self,
        request: &'r Request,
        report: &'r EventReport,
    ) -> Result<(Vec<Told<'r>>, Vec<Told<'r>>), Denial> {
        let about = request.headers.get("to");
        let call = request.headers.get("call-id").unwrap_or_default();
        let cseq = request.headers.get("cseq").unwrap_or_default();
        let time = self.observed(request);
        // Without a Call-ID nothing tells a repeated report from a second one: each is one.
        let now = if call.is_empty() { self.clock.now().as_millis() } else { 0 };
        let (mut older, mut newer) = (Vec::new(), Vec::new());
        for (number, event) in report.interworking() {
            let id = name_of([
                call.as_bytes(),
                cseq.as_bytes(),
                &now.to_be_bytes(),
                number.to_string().as_bytes(),
                &request.body,
            ]);
            let user = |user: &Option<Address>| match (user, about) {
                (Some(user), _) => Ok(user.to_string()),
                (None, Some(about)) => Ok(about.to_owned()),
                (None, None) => Err(Denial::bad(
                    "subject",
                    format!(
                        "event {number} names no user (cpm-user-address), and the request has no To; \
                         nothing of it was done"
                    ),
                )),
            };
            let (kind, user, data, to) = match event {
                IwReport::Failed(failed) => {
                    (Kind::SmsFailed, user(&failed.user)?, data(&of_failed(failed)), &mut older)
                }
                IwReport::Result(result) => {
                    let kind = match result.outcome {
                        IwOutcome::Delivered => Kind::SmsDelivered,
                        IwOutcome::Delayed => Kind::SmsDelayed,
                    };
                    (kind, user(&result.user)?, data(&of_result(result)), &mut older)
                }
                IwReport::Ready(ready) => {
                    let domain = ready.domain.map(|domain| domain.word().into());
                    let said = SmsReady { domain, ..SmsReady::default() };
                    (Kind::SmsReady, user(&ready.user)?, data(&said), &mut newer)
                }
            };
            // a failure is older than the readiness beside it, by its time too.
            let time = if kind == Kind::SmsReady { time } else { before(time) };
            to.push(Told { kind, user: user.into(), id, time: Some(time), data });
        }
        Ok((older, newer))
    }
}

impl Front {
    /// when it was sent, as its Date says. A Date counts seconds, so that two reports of one second
    /// would be one: what comes at once came now.
    fn observed(&self, request: &Request) -> Timestamp {
        let now = self.clock.now();
        let date = request.headers.get("date");
        let date = date.and_then(|date| chrono::DateTime::parse_from_rfc2822(date).ok());
        let sent = date.map(|date| Timestamp::from_millis(date.timestamp_millis()));
        sent.filter(|sent| *sent + AT_ONCE < now).unwrap_or(now)
    }
}

/// A millisecond before.
fn before(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millis() - 1)
}

impl Request {
    /// Whether it is for an application of its own. (SEED4-22, SEED4-23)
    pub(super) fn has_iari(&self) -> bool {
        let accept = self.headers.get("accept-contact").unwrap_or_default();
        accept.to_ascii_lowercase().contains("g.3gpp.iari-ref")
    }
}

/// an attempt id or a legacy id where the message id belongs is told from it by the engine.
fn of_failed(failed: &FailedIw) -> SmsReport<'_> {
    let FailedIw { user: _, message_id, context, domain, cause, diagnostic, unknown: _ } = failed;
    SmsReport {
        cause: *cause,
        diagnostic: diagnostic.map(std::num::NonZeroU8::get),
        ..report(message_id, context, *domain)
    }
}

fn of_result(result: &IwResult) -> SmsReport<'_> {
    let IwResult { user: _, message_id, context, domain, outcome: _, unknown: _ } = result;
    report(message_id, context, *domain)
}

fn report<'r>(message_id: &'r str, context: &'r Context, domain: Option<Domain>) -> SmsReport<'r> {
    SmsReport {
        message_id: Some(message_id.into()),
        context: Some(context.word().into()),
        domain: domain.map(|domain| domain.word().into()),
        ..SmsReport::default()
    }
}
