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

const META_SCHEMA: &str = "https://json-schema.org/draft/2020-12/schema";

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
        ("cpm.delivery.requested", "cpm.deliveries", written::<DeliveryRequested<'_>>()),
        ("cpm.storage.requested", "cpm.deliveries", written::<StorageRequested<'_>>()),
        ("cpm.notification.requested", "cpm.notifications", written::<NotificationRequested<'_>>()),
        ("cpm.revocation.answered", "cpm.notifications", written::<RevocationAnswered<'_>>()),
        ("cpm.input.rejected", "cpm.dead-letters", written::<InputRejected<'_>>()),
        ("cpm.policy.changed", "cpm.journal", of::<Policy>()),
    ];
    let mut all: Vec<Contract> = inputs
        .chain(others)
        .map(|(name, topic, data)| {
            let name = format!("{name}.v1");
            let mut schema = cloud_event(&name, topic, data);
            if Kind::of(&name).is_ok() {
                needs_subject(&mut schema);
            }
            Contract { name, topic, schema }
        })
        .collect();
    let (name, topic) = ("cpm.journal.v1".to_owned(), "cpm.journal");
    let mut schema = of::<JournalShape>();
    schema.insert("$schema".to_owned(), META_SCHEMA.into());
    schema.insert("title".to_owned(), name.as_str().into());
    all.push(Contract { name, topic, schema });
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

/// What is read.
fn of<T: JsonSchema>() -> Schema {
    generated::<T>(SchemaSettings::draft2020_12())
}

/// What is written: a field that is left out where it is empty need not be there.
fn written<T: JsonSchema>() -> Schema {
    generated::<T>(SchemaSettings::draft2020_12().for_serialize())
}

fn generated<T: JsonSchema>(settings: SchemaSettings) -> Schema {
    let settings = settings.with(|settings| {
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

/// An input names its user.
fn needs_subject(schema: &mut Schema) {
    let required = schema.get_mut("required").and_then(serde_json::Value::as_array_mut);
    required.into_iter().for_each(|required| required.push("subject".into()));
}

/// The envelope around `data`: CloudEvents 1.0, structured.
fn cloud_event(name: &str, topic: &str, data: Schema) -> Schema {
    let text = json!({ "type": "string", "minLength": 1 });
    let number = json!({ "type": ["integer", "string"] });
    let mut required = vec!["specversion", "id", "source", "type"];
    if data.get("required").is_some() {
        required.push("data");
    }
    let schema = json!({
        "$schema": META_SCHEMA,
        "title": name,
        "description": format!("A CloudEvent on {topic}."),
        "type": "object",
        "required": required,
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
