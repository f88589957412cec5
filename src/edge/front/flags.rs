//! What a client asks of its message store, and the result of each item: an IMDN from us to that client.
//!
//! Nothing of it is deferred, and none of it reaches the other party of the conversation.
//!
//! Source: OMA CPM 2.1 change requests, 6.7.5; `rules.md` SEED4-2, SEED4-56, SEED4-64 to SEED4-79, A-36, Q-21.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::{Front, Identity, Request, Rules, data, name_of};
use crate::cpm::evfw::{Asked, EventReport, Flag as Wanted, Object as Named, Operation};
use crate::cpm::imdn::{Envelope, Imdn};
use crate::cpm::xml::Layout;
use crate::domain::address::Address;
use crate::domain::event::Notice;
use crate::domain::time::Timestamp;
use crate::edge::store::{Flag, MessageStore, Object, StoreError};

/// The service of event reports and their results. (SEED4-20)
const SERVICE: &str = "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.systemmsg";

/// What became of one object, or why nothing did.
type Done = Result<(), StoreError>;

/// The result of one item.
#[derive(Serialize)]
struct Item<'i> {
    index: &'i str,
    message_id: &'i str,
    disposition: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// The service that it travels as. (SEED4-20)
    service: &'static str,
    /// The IMDN in its envelope, as the client gets it.
    imdn: &'i str,
}

/// Why it is negative.
#[derive(Serialize)]
struct Reason {
    code: &'static str,
    message: String,
}

/// Whom results go to, and what they are named by.
struct Results<'r> {
    rules: &'r Rules,
    user: &'r str,
    request: &'r str,
    at: Timestamp,
}

impl Front {
    /// Does what a report asks of the user's store. A result for each object that has a message id.
    pub(super) async fn flags(
        &self,
        rules: &Rules,
        request: &Request,
        identity: &Identity,
        report: &EventReport,
    ) -> Vec<Value> {
        let call = request.headers.get("call-id").unwrap_or_default();
        let to = Results { rules, user: &identity.address, request: call, at: self.clock.now() };
        // The caller waits for all of it together: what is left undone then has a negative result.
        let until = Instant::now() + self.reach.patience;
        let mut results = Vec::new();
        for event in report.imap() {
            for operation in &event.operations {
                let done = self.operation(&identity.address, operation, until).await;
                let told = operation.objects.iter().zip(done);
                results.extend(told.filter_map(|(object, done)| {
                    to.result(&event.index, object.message_id.as_deref()?, &done)
                }));
            }
        }
        results
    }

    /// What became of each of its objects.
    async fn operation(&self, user: &str, operation: &Operation, until: Instant) -> Vec<Done> {
        let all = |why: StoreError| operation.objects.iter().map(|_| Err(why.clone())).collect();
        let flags = match &operation.asked {
            Asked::Refused(why) => return all(StoreError::Invalid(why.to_string())),
            Asked::Add(flags) => flags.iter().copied().map(flag),
        };
        let Some(store) = &self.store else {
            return all(StoreError::Unavailable("there is none: imap.server is empty".to_owned()));
        };
        let user = match Address::parse(user, &self.reader.home) {
            Ok(user) => user,
            Err(why) => return all(StoreError::Invalid(why.to_string())),
        };
        let objects: Arc<[Object]> = operation.objects.iter().map(object).collect();
        let mut done: Vec<Done> = operation.objects.iter().map(|_| Ok(())).collect();
        for flag in flags {
            if Instant::now() >= until {
                let late = StoreError::Unavailable("it took too long".to_owned());
                return done
                    .into_iter()
                    .map(|done| done.and_then(|()| Err(late.clone())))
                    .collect();
            }
            let answers = self.flag(Arc::clone(store), &user, flag, Arc::clone(&objects)).await;
            done = done.into_iter().zip(answers).map(|(done, answer)| done.and(answer)).collect();
        }
        done
    }

    /// Sets one flag. In a task of its own: whoever asked may go away meanwhile, and what breaks there
    /// breaks nothing else.
    async fn flag(
        &self,
        store: Arc<dyn MessageStore>,
        user: &Address,
        flag: Flag,
        objects: Arc<[Object]>,
    ) -> Vec<Done> {
        let (count, user) = (objects.len(), user.clone());
        let setting = tokio::spawn(async move { store.flag(&user, flag, &objects).await });
        setting.await.unwrap_or_else(|error| {
            let why = StoreError::Unavailable(format!("the call was broken off: {error}"));
            vec![Err(why); count]
        })
    }
}

impl Results<'_> {
    /// The result of one item: a delivery report from us.
    fn result(&self, index: &str, message_id: &str, done: &Done) -> Option<Value> {
        let notice = if done.is_ok() { Notice::Delivered } else { Notice::Failed };
        let imdn = Imdn::of(notice, message_id, self.at, self.user);
        let document = imdn.write(self.rules.form, Layout::Compact)?;
        let id = name_of([
            self.request.as_bytes(),
            index.as_bytes(),
            message_id.as_bytes(),
            &self.at.as_millis().to_be_bytes(),
        ]);
        let envelope =
            Envelope { from: &self.rules.address, to: self.user, id: &id, at: self.at, route: &[] };
        let octets = envelope.around(&document).write();
        let reason = done.as_ref().err();
        Some(data(&Item {
            index,
            message_id,
            disposition: if done.is_ok() { "delivered" } else { "failed" },
            reason: reason.map(|why| Reason { code: why.word(), message: why.to_string() }),
            service: SERVICE,
            imdn: &String::from_utf8_lossy(&octets),
        }))
    }
}

fn flag(flag: Wanted) -> Flag {
    match flag {
        Wanted::Seen => Flag::Seen,
        Wanted::Deleted => Flag::Deleted,
    }
}

fn object(named: &Named) -> Object {
    let owned = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    Object {
        uid: named.uid.map(std::num::NonZeroU32::get),
        folder: owned(&named.folder_path),
        message_id: owned(&named.message_id),
        conversation_id: owned(&named.conversation_id),
        contribution_id: owned(&named.contribution_id),
        other_party: owned(&named.other_party),
    }
}
