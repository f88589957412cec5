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

/// A record type, with all that others may rely on.
#[derive(Debug)]
pub struct Contract {
    /// Its name, version and all: also the name of its file, without `.json`.
    pub name: String,
    /// The topic it belongs on.
    pub topic: &'static str,
    /// What it looks like.
    pub schema: Schema,
}

impl Contract {
    /// The schema as its file has it.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{:#}\n", self.schema.as_value())
    }
}

/// Every record type, by name.
#[must_use]
pub fn all() -> Vec<Contract> {
    let inputs = Kind::ALL.into_iter().map(|(kind, name, topic)| (name, topic, data_of(kind)));
    let others = [
        ("cpm.delivery.requested", "cpm.deliveries", of::<DeliveryRequested<'_>>()),
        ("cpm.storage.requested", "cpm.deliveries", of::<StorageRequested<'_>>()),
        ("cpm.notification.requested", "cpm.notifications", of::<NotificationRequested<'_>>()),
        ("cpm.revocation.answered", "cpm.notifications", of::<RevocationAnswered<'_>>()),
        ("cpm.input.rejected", "cpm.dead-letters", of::<InputRejected<'_>>()),
        ("cpm.policy.changed", "cpm.journal", of::<Policy>()),
    ];
    let mut all: Vec<Contract> = inputs
        .chain(others)
        .map(|(name, topic, data)| {
            let name = format!("{name}.v1");
            let schema = cloud_event(&name, topic, data);
            Contract { name, topic, schema }
        })
        .collect();
    let (name, topic) = ("cpm.journal.v1".to_owned(), "cpm.journal");
    all.push(Contract { name, topic, schema: of::<JournalShape>() });
    all.sort_by(|one, other| one.name.cmp(&other.name));
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
