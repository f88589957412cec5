//! The contract as JSON Schemas: one for each type and version, made from the types themselves.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::json;

use super::input::Kind;
use super::journal::JournalShape;
use super::output::{
    DeliveryRequested, InputRejected, NotificationRequested, RevocationAnswered, StorageRequested,
};
use crate::domain::input;
use crate::domain::policy::Policy;

/// Every schema: the name of its file without `.json`, and the schema.
#[must_use]
pub fn all() -> Vec<(String, Schema)> {
    let mut all: Vec<(String, Schema)> = Kind::ALL
        .into_iter()
        .map(|(kind, name, topic)| {
            (format!("{name}.v1"), cloud_event(&format!("{name}.v1"), topic, data_of(kind)))
        })
        .collect();
    let outputs = [
        ("cpm.delivery.requested.v1", "cpm.deliveries", of::<DeliveryRequested<'_>>()),
        ("cpm.storage.requested.v1", "cpm.deliveries", of::<StorageRequested<'_>>()),
        ("cpm.notification.requested.v1", "cpm.notifications", of::<NotificationRequested<'_>>()),
        ("cpm.revocation.answered.v1", "cpm.notifications", of::<RevocationAnswered<'_>>()),
        ("cpm.input.rejected.v1", "cpm.dead-letters", of::<InputRejected<'_>>()),
    ];
    for (name, topic, data) in outputs {
        all.push((name.to_owned(), cloud_event(name, topic, data)));
    }
    let policy = cloud_event("cpm.policy.changed.v1", "cpm.journal", of::<Policy>());
    all.push(("cpm.policy.changed.v1".to_owned(), policy));
    all.push(("cpm.journal.v1".to_owned(), of::<JournalShape>()));
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    all
}

fn of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>()
}

fn data_of(kind: Kind) -> Schema {
    match kind {
        Kind::MessageSubmitted => of::<input::MessageSubmitted<'_>>(),
        Kind::MessageRevokeRequested => of::<input::MessageRevokeRequested<'_>>(),
        Kind::MessageHandled => of::<input::MessageHandled<'_>>(),
        Kind::MessageCancelled | Kind::MessageRetryRequested | Kind::MessageExpireRequested => {
            of::<input::MessageByHand<'_>>()
        }
        Kind::UserHeld | Kind::UserReleased => of::<input::UserByHand<'_>>(),
        Kind::PreferencesChanged => of::<input::PreferencesChanged>(),
        Kind::IdentityChanged => of::<input::IdentityChanged<'_>>(),
        Kind::UserPurged => of::<input::UserPurged<'_>>(),
        Kind::ImsRegistered => of::<input::ImsRegistered<'_>>(),
        Kind::ImsDeregistered => of::<input::ImsDeregistered<'_>>(),
        Kind::CsAttached | Kind::CsDetached | Kind::PsAttached | Kind::PsDetached => {
            of::<input::Attach<'_>>()
        }
        Kind::SmsReady => of::<input::SmsReady<'_>>(),
        Kind::DeliveryOutcome => of::<input::DeliveryOutcome<'_>>(),
        Kind::SmsDelivered | Kind::SmsDelayed | Kind::SmsFailed => of::<input::SmsReport<'_>>(),
        Kind::ImdnReceived => of::<input::ImdnReceived<'_>>(),
        Kind::StorageOutcome => of::<input::StorageOutcome<'_>>(),
        Kind::TimerFired => schemars::json_schema!({ "type": "object" }),
    }
}

/// The envelope around `data`: CloudEvents 1.0, structured.
fn cloud_event(name: &str, topic: &str, data: Schema) -> Schema {
    let text = json!({ "type": "string", "minLength": 1 });
    let number = json!({ "type": ["integer", "string"] });
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        "description": format!("A CloudEvent on {topic}."),
        "type": "object",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": { "const": "1.0" },
            "id": text,
            "source": text,
            "type": { "const": name },
            "subject": { "type": "string", "description": "The user; we write tel:+15145550100." },
            "time": { "type": "string", "format": "date-time", "description": "When it was observed." },
            "sequence": number,
            "probeepoch": number,
            "partitionkey": { "type": "string" },
            "datacontenttype": { "type": "string" },
            "data": data,
        },
    });
    Schema::try_from(schema).unwrap_or_default()
}
