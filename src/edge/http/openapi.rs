//! The interface described for programs: OpenAPI 3.1, made from the routes and the record schemas.

use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use super::routes::ROUTES;
use crate::cpm::{cpim, evfw};
use crate::record::input::Kind;
use crate::record::schema;

/// Headers of SIP that count, and what each says.
const MESSAGE_HEADERS: [(&str, &str); 10] = [
    (
        "P-Asserted-Identity",
        "The authenticated sender, where the token does not say; absent: anonymous",
    ),
    ("To", "The user; absent: To of the envelope"),
    ("Accept-Contact", "The CPM service; absent: a pager message"),
    ("User-Agent", "The sender's client: step 1 looks at it"),
    ("Privacy", "`id`: the sender wants to stay anonymous"),
    ("Expires", "Seconds that it is worth delivering"),
    ("Conversation-ID", "The conversation"),
    ("Contribution-ID", "The contribution"),
    ("InReplyTo-Contribution-ID", "What it answers"),
    ("Call-ID", "With CSeq it tells a repeated request from a second one"),
];

/// The description, as one JSON text.
///
/// Source: OpenAPI 3.1.0, whose schemas are JSON Schema 2020-12.
#[must_use]
pub fn openapi() -> String {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| format!("{:#}\n", described())).clone()
}

fn described() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for (method, path, says) in ROUTES {
        let operation = operation(method, path, says);
        let item = paths.entry(*path).or_insert_with(|| json!({}));
        if let Value::Object(item) = item {
            item.insert(method.to_ascii_lowercase(), operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "deferd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Deferred delivery for telecom messaging. Events are CloudEvents 1.0.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{}, { "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas(),
        },
    })
}

fn schemas() -> Value {
    let mut all = Map::new();
    let mut inputs = Vec::new();
    for contract in schema::all() {
        if Kind::of(&contract.name).is_ok_and(|kind| kind != Kind::TimerFired) {
            inputs.push(json!({ "$ref": format!("#/components/schemas/{}", contract.name) }));
        }
        all.insert(contract.name, contract.schema.to_value());
    }
    all.insert("event".into(), json!({ "description": "An input.", "anyOf": inputs }));
    let text = json!({ "type": "string" });
    let count = json!({ "type": "integer", "minimum": 0 });
    all.insert(
        "error".into(),
        json!({
            "type": "object",
            "required": ["error"],
            "properties": { "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {
                    "code": { "type": "string", "description": "In one word, for programs." },
                    "message": { "type": "string", "description": "With what to do." },
                    "events": { "type": "array", "items": {
                        "type": "object",
                        "required": ["index", "reason", "code"],
                        "properties": {
                            "index": count, "field": text, "reason": text, "code": text,
                        },
                    } },
                    "oldest": { "type": "string", "description": "The oldest cursor." },
                },
            } },
        }),
    );
    all.insert(
        "taken".into(),
        json!({
            "type": "object",
            "description": "With log=kafka an event is taken when its topic has it, and decided in its \
                            turn: it has an offset, and neither seq nor fate; duplicates and rejected \
                            are absent.",
            "required": ["taken"],
            "properties": {
                "taken": count, "duplicates": count, "rejected": count,
                "events": { "type": "array", "items": { "anyOf": [
                    {
                        "type": "object",
                        "required": ["partition", "seq", "fate"],
                        "properties": {
                            "partition": count, "seq": count, "reason": text,
                            "fate": { "enum": ["decided", "ignored", "duplicate", "rejected"] },
                        },
                    },
                    {
                        "type": "object",
                        "required": ["topic", "partition", "offset"],
                        "properties": { "topic": text, "partition": count, "offset": count },
                    },
                ] } },
            },
        }),
    );
    let sip = json!({
        "type": ["object", "null"],
        "description": "What SIP answers; null: it is not ours, and goes on as it is.",
        "required": ["status", "reason"],
        "properties": { "status": count, "reason": text, "warning": text },
    });
    all.insert(
        "sip".into(),
        json!({
            "type": "object",
            "required": ["sip", "message"],
            "properties": {
                "sip": sip, "message": text,
                "events": { "type": "array", "items": { "type": "object" } },
                "results": { "type": "array", "items": {
                    "type": "object",
                    "required": ["index", "message_id", "disposition", "service", "imdn"],
                    "properties": {
                        "index": text, "message_id": text, "service": text,
                        "disposition": { "enum": ["delivered", "failed"] },
                        "reason": { "type": "object" },
                        "imdn": { "type": "string", "description": "message/cpim, for the reporting device alone." },
                    },
                } },
                "notes": { "type": "array", "items": { "type": "object" } },
                "unknown": count,
            },
        }),
    );
    all.insert(
        "page".into(),
        json!({
            "type": "object",
            "required": ["events", "next"],
            "properties": {
                "events": { "type": "array", "items": { "type": "object" } },
                "next": { "type": "string", "description": "`after` of the next request." },
            },
        }),
    );
    Value::Object(all)
}

fn operation(method: &str, path: &str, says: &str) -> Value {
    let mut operation = json!({ "summary": says, "operationId": id(method, path) });
    let mut parameters: Vec<Value> = in_path(path);
    let mut put = |name: &str, value: Value| {
        if let Value::Object(operation) = &mut operation {
            operation.insert(name.to_owned(), value);
        }
    };
    let error = answer("What is wrong, and what to do", Some("error"));
    let mut responses = Map::new();
    match path {
        "/v1/events" => {
            parameters.push(asked("brief", "Only counts", json!({ "type": "string" })));
            put("requestBody", events_body());
            responses.insert("202".into(), answer("All are durable", Some("taken")));
        }
        "/v1/deliveries" | "/v1/notifications" | "/v1/dead-letters" => {
            let text = json!({ "type": "string" });
            let says = "`next` of the answer before; absent: the oldest; `now`: the end";
            parameters.push(asked("after", says, text));
            let wait =
                json!({ "type": "integer", "minimum": 0, "maximum": super::feeds::LONGEST_WAIT });
            parameters.push(asked("wait", "Seconds to wait for the first event", wait));
            let limit = json!({ "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 });
            parameters.push(asked("limit", "Events; one record's are never split", limit));
            responses.insert("200".into(), answer("The next events", Some("page")));
            responses.insert("410".into(), answer("They were removed", Some("error")));
        }
        "/v1/users/{user}" => {
            let says = "Show the content of messages too";
            parameters.push(asked("with_content", says, json!({ "type": "string" })));
            let limit =
                json!({ "type": "integer", "minimum": 0, "maximum": 10000, "default": 100 });
            parameters.push(asked("limit", "Messages to show", limit));
            responses.insert("200".into(), answer("What is known now", None));
        }
        "/v1/users" => {
            let says = "`next` of the answer before";
            parameters.push(asked("after", says, json!({ "type": "string" })));
            let limit = json!({ "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 });
            parameters.push(asked("limit", "Users", limit));
            responses.insert("200".into(), answer("The next users", None));
        }
        "/v1/users/{user}/journal" => {
            let from = json!({ "type": "integer", "minimum": 0 });
            parameters.push(asked("from", "The first record; absent: the newest page", from));
            let limit =
                json!({ "type": "integer", "minimum": 1, "maximum": 10000, "default": 100 });
            parameters.push(asked("limit", "Records", limit));
            let says = "Show the content of messages too";
            parameters.push(asked("with_content", says, json!({ "type": "string" })));
            let schema = json!({ "$ref": "#/components/schemas/cpm.journal.v1" });
            let content = json!({ "application/x-ndjson": { "schema": schema } });
            let lines = json!({ "description": "A record a line", "content": content });
            responses.insert("200".into(), lines);
        }
        "/v1/messages/{id}" | "/v1/messages/{id}/why" => {
            let says = "Its user, in any form; without, the whole journal is looked through";
            parameters.push(asked("user", says, json!({ "type": "string" })));
            responses.insert("200".into(), answer("What is known of it", None));
            responses
                .insert("300".into(), answer("Several users have such a message", Some("error")));
            responses
                .insert("429".into(), answer("Others read the journal already", Some("error")));
        }
        "/v1/users/{user}/preferences" => {
            put(
                "requestBody",
                document("An XDM document: ruleset or resource-lists", &["application/xml"]),
            );
            responses.insert("200".into(), answer("It is taken", Some("sip")));
        }
        "/v1/cpm/events" => {
            put("requestBody", document("A cpm-evfw document", &[evfw::MIME]));
            let asserted = "Whose it is, where the token does not say";
            parameters.push(header("P-Asserted-Identity", asserted));
            parameters.push(header("To", "The user of events that name none"));
            parameters.push(header("Call-ID", "Tells a repeated report from a second one"));
            parameters.push(header("Date", "When it was observed"));
            responses.insert(
                "200".into(),
                answer("It is taken; `results`: an IMDN an item", Some("sip")),
            );
        }
        "/v1/cpm/messages" => {
            put("requestBody", document("The message in its envelope", &[cpim::MIME, evfw::MIME]));
            for (name, says) in MESSAGE_HEADERS {
                parameters.push(header(name, says));
            }
            responses.insert(
                "200".into(),
                answer("It is stored, or not ours (sip is null)", Some("sip")),
            );
            responses.insert("202".into(), answer("It is taken", Some("sip")));
            responses.insert(
                "403".into(),
                answer("The procedure refuses it: see sip.warning", Some("error")),
            );
        }
        "/v1/switches/{switch}" => {
            if method != "GET" {
                put("requestBody", switch_body(method == "PUT"));
            }
            responses.insert("200".into(), answer("How it stands", None));
        }
        _ => {
            responses.insert("200".into(), answer(says, None));
        }
    }
    responses.insert("default".into(), error);
    if !parameters.is_empty() {
        put("parameters", parameters.into());
    }
    put("responses", responses.into());
    operation
}

fn id(method: &str, path: &str) -> String {
    let words =
        path.split(['/', '-', '.', '{', '}']).filter(|word| !word.is_empty() && *word != "v1");
    std::iter::once(method.to_ascii_lowercase())
        .chain(words.map(str::to_owned))
        .collect::<Vec<_>>()
        .join("_")
}

fn in_path(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let one = |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
    names.map(one).collect()
}

fn asked(name: &str, says: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "description": says, "schema": schema })
}

fn header(name: &str, says: &str) -> Value {
    json!({ "name": name, "in": "header", "description": says, "schema": { "type": "string" } })
}

/// A body that is a document of one of these types.
fn document(says: &str, types: &[&str]) -> Value {
    let schema = json!({ "schema": { "type": "string", "description": says } });
    let content: Map<String, Value> =
        types.iter().map(|of| ((*of).to_owned(), schema.clone())).collect();
    json!({ "required": true, "content": content })
}

fn answer(says: &str, schema: Option<&str>) -> Value {
    match schema {
        None => json!({ "description": says }),
        Some(name) => {
            let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
            json!({ "description": says, "content": { "application/json": { "schema": schema } } })
        }
    }
}

fn events_body() -> Value {
    let event = json!({ "$ref": "#/components/schemas/event" });
    let many = json!({ "type": "array", "items": event });
    json!({ "required": true, "content": {
        "application/cloudevents+json": { "schema": event },
        "application/cloudevents-batch+json": { "schema": many },
        "application/json": { "schema": { "anyOf": [event, many] } },
        "application/x-ndjson": { "schema": { "type": "string", "description": "One event a line." } },
    } })
}

fn switch_body(with_value: bool) -> Value {
    let text = json!({ "type": "string", "minLength": 1 });
    let mut properties = json!({ "operator": text, "reason": text });
    let mut required = vec!["operator", "reason"];
    if let (true, Value::Object(properties)) = (with_value, &mut properties) {
        properties.insert("value".into(), json!({ "enum": ["on", "hold", "off"] }));
        required.push("value");
    }
    let schema = json!({ "type": "object", "required": required, "properties": properties });
    json!({ "required": true, "content": { "application/json": { "schema": schema } } })
}
