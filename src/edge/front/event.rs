//! An event report: what a gateway says of SMS becomes inputs, what a client asks of its store is done.
//!
//! Source: OMA CPM 2.1 change requests, 6.7; `rules.md` SEED0-20 to SEED0-38, SEED4-1 to SEED4-4, SEED4-20 to SEED4-25,
//! SEED4-58 to SEED4-78, A-3, A-4, A-7, A-12, A-15, A-17, A-37, A-38.

use super::caller::{Identity, Role, canonical};
use super::{Answer, Denial, Front, Request, Rules, Told, became, data, name_of};
use crate::cpm::evfw::{
    self, Context, Domain, Event, EventReport, FailedIw, IwOutcome, IwReport, IwResult, Reading,
};
use crate::domain::address::Address;
use crate::domain::input::{SmsReady, SmsReport, Trust};
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
        let of = request.headers.get("content-type").unwrap_or_default();
        if !evfw::is_event_report(of) {
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

        let told = self.reports(&rules, &request, &read.report)?;
        let settled = self.give(self.inputs(&told)?).await?;
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

    /// The inputs that its interworking events are, what is older first.
    fn reports<'r>(
        &self,
        rules: &Rules,
        request: &'r Request,
        report: &'r EventReport,
    ) -> Result<Vec<Told<'r>>, Denial> {
        // A request to us is about nobody.
        let about = request.headers.get("to");
        let about = about.filter(|to| canonical(to, &self.reader.home) != rules.address);
        let call = request.headers.get("call-id").unwrap_or_default();
        let cseq = request.headers.get("cseq").unwrap_or_default();
        let time = self.sent(request.date());
        // Without a Call-ID nothing tells a repeated report from a second one: each is one.
        let now = if call.is_empty() { self.clock.now().as_millis() } else { 0 };
        let mut all = Vec::new();
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
                        "event {number} names no user (cpm-user-address), and the request has no To but us; \
                         nothing of it was done"
                    ),
                )),
            };
            let (kind, user, data) = match event {
                IwReport::Failed(failed) => {
                    (Kind::SmsFailed, user(&failed.user)?, data(&of_failed(failed)))
                }
                IwReport::Result(result) => {
                    let kind = match result.outcome {
                        IwOutcome::Delivered => Kind::SmsDelivered,
                        IwOutcome::Delayed => Kind::SmsDelayed,
                    };
                    (kind, user(&result.user)?, data(&of_result(result)))
                }
                IwReport::Ready(ready) => {
                    let domain = ready.domain.map(|domain| domain.word().into());
                    // Who may say so is a gateway of ours.
                    let trust = Some(Trust::Authoritative);
                    let said = SmsReady { domain, trust, ..SmsReady::default() };
                    (Kind::SmsReady, user(&ready.user)?, data(&said))
                }
            };
            // a failure is older than the readiness beside it, by its time too.
            let time = if kind == Kind::SmsReady { time } else { before(time) };
            all.push(Told { kind, user: user.into(), id, time: Some(time), data });
        }
        Ok(all)
    }
}

impl Front {
    /// when it was sent, as it says itself. A Date counts seconds, so that two reports of one
    /// second would be one: what comes at once came now.
    pub(super) fn sent(&self, sent: Option<Timestamp>) -> Timestamp {
        let now = self.clock.now();
        sent.filter(|sent| *sent + AT_ONCE < now).unwrap_or(now)
    }
}

/// A millisecond before.
fn before(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millis() - 1)
}

impl Request {
    /// Its Date.
    pub(super) fn date(&self) -> Option<Timestamp> {
        let date = chrono::DateTime::parse_from_rfc2822(self.headers.get("date")?).ok()?;
        Some(Timestamp::from_millis(date.timestamp_millis()))
    }

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
