//! HTTP beside a Kafka log: events go to their topics, answered when the brokers have them; journals are
//! read from theirs; what stands on topics of its own is read there.
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, reason = "a test: what is not there fails it")]

mod kafka_place;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use deferd::cli::clock::{Stopwatch, WallClock};
use deferd::cli::config::Config;
use deferd::edge::front::{Front, Rules};
use deferd::edge::http::{Feeds, Host, Limits, Site, Token, serve};
use deferd::edge::reach::Reach;
use deferd::engine::intake::partition_of;
use deferd::engine::shard::{Asks, Desks};
use deferd::log::kafka::{Cluster, KafkaFault, KafkaJournals, Post, Topic};
use serde_json::{Value, json};

use self::kafka_place::{Broker, Place, journal_of};

const ANN: &str = "tel:+15145550100";

/// No partition is decided here.
struct Nobody;

impl Desks for Nobody {
    fn partitions(&self) -> u32 {
        3
    }

    fn of(&self, _: u32) -> Option<Asks> {
        None
    }
}

struct Quiet;

impl Host for Quiet {}

struct Server {
    address: SocketAddr,
    post: Arc<Post>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    fn new(cluster: &Cluster, patience: Duration) -> Self {
        let post = Arc::new(Post::new(cluster, patience).unwrap());
        let reach = Reach {
            intake: Arc::clone(&post) as Arc<_>,
            desks: Arc::new(Nobody),
            patience: patience + Duration::from_secs(2),
        };
        let reader = deferd::record::input::Reader::default();
        let gateways = vec!["sip:iwf@example.org".into()];
        let rules = Rules { gateways, ..Config::default().front(&reader.home) };
        let clock = Arc::new(WallClock);
        let front = Front::new(reach.clone(), reader.clone(), clock.clone(), None, rules);
        let site = Site {
            reach,
            front: Arc::new(front),
            journals: Arc::new(KafkaJournals::new(cluster)),
            feeds: Feeds::Topics(cluster.prefix.as_str().into()),
            reader,
            clock,
            host: Arc::new(Quiet),
            token: Arc::new(Token::default()),
            limits: Limits { timeout: patience + Duration::from_secs(2), ..Limits::default() },
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let served = {
            let _inside = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            serve(listener, site, std::future::pending(), Duration::from_secs(1))
        };
        runtime.spawn(served);
        Self { address, post, _runtime: runtime }
    }

    fn post(&self, kind: &str, body: &str) -> (u16, Value) {
        let agent = agent();
        let url = format!("http://{}/v1/events", self.address);
        let mut response = agent.post(url).content_type(kind).send(body).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), serde_json::from_str(&text).unwrap())
    }

    fn get(&self, path: &str) -> (u16, String) {
        let mut response = agent().get(format!("http://{}{path}", self.address)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

fn event(id: &str, kind: &str, user: &str, data: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/test", "type": kind, "subject": user, "data": data,
    })
}

fn submitted(id: &str, user: &str) -> Value {
    let data = json!({
        "message_id": id, "from": "tel:+15145550199", "kind": "pager", "content_type": "text/plain",
        "body": "hello",
    });
    event(id, "cpm.message.submitted.v1", user, &data)
}

/// Each event is answered with the place where it stands, in its user's partition of its type's topic.
#[test]
fn an_event_is_taken_when_its_topic_has_it() {
    let place = Place::new("taken", 3);
    let server = Server::new(&place.cluster, Duration::from_secs(10));
    let user = |n: usize| format!("tel:+1514555{n:04}");
    let attached = |n: usize| event(&format!("a{n}"), "cpm.cs.attached.v1", &user(n), &json!({}));
    let outcome = json!({ "attempt_id": "x-1-cpm-message", "outcome": "delivered" });
    let outcome = event("o", "cpm.delivery.outcome.v1", &user(7), &outcome);
    let mut batch: Vec<Value> = (0..200).map(attached).collect();
    batch.push(outcome.clone());
    batch.push(submitted("m1", "+1 514 555 0007"));

    let (status, answer) = server.post("application/json", &json!(batch).to_string());

    assert_eq!(status, 202, "{answer}");
    assert_eq!(answer["taken"], 202);
    assert_eq!(answer.get("duplicates"), None, "nobody knows yet");
    let places = answer["events"].as_array().unwrap();
    let seen = place.records(Topic::Reachability);
    assert_eq!(seen.len(), 200);
    for (partition, offset, key, event) in &seen {
        let user = event["subject"].as_str().unwrap();
        assert_eq!(key.as_deref(), Some(user));
        assert_eq!(*partition, partition_of(user, 3), "{user}");
        let index = batch.iter().position(|one| one == event).unwrap();
        let topic = place.cluster.topic(Topic::Reachability);
        let stands = json!({ "topic": topic, "partition": partition, "offset": offset });
        assert_eq!(places[index], stands);
    }
    let outcomes = place.records(Topic::Outcomes);
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].3, outcome);
    let messages = place.records(Topic::Messages);
    // The user as it came, the key as all know it.
    assert_eq!(messages[0].2.as_deref(), Some("tel:+15145550007"));
    assert_eq!(messages[0].3["subject"], "+1 514 555 0007");
    assert_eq!(messages[0].0, outcomes[0].0);

    // One that cannot be read: none is taken.
    let bad = json!([attached(1), { "specversion": "1.0" }]);
    let (status, answer) = server.post("application/json", &bad.to_string());
    assert_eq!((status, &answer["error"]["events"][0]["index"]), (400, &json!(1)));
    assert_eq!(place.records(Topic::Reachability).len(), 200);
    assert_eq!(server.post("application/json", "[]").1["taken"], 0);

    assert!(server.post.close(Duration::from_secs(5)));
    let (status, answer) = server.post("application/json", &attached(1).to_string());
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("stopping")));
}

/// A gateway's report stands on the topics of its events, each in its user's partition; a message needs
/// whoever knows its user's preferences, and the answer says so.
#[test]
fn a_gateways_report_is_taken_when_its_topics_have_it() {
    let place = Place::new("front", 3);
    let server = Server::new(&place.cluster, Duration::from_secs(10));
    let call = |path: &str, of: &str, body: &str| {
        let url = format!("http://{}{path}", server.address);
        let mut response = agent()
            .post(url)
            .content_type(of)
            .header("p-asserted-identity", "<sip:iwf@example.org>")
            .send(body)
            .unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), serde_json::from_str::<Value>(&text).unwrap())
    };
    let body = format!(
        "<cpm-evfw xmlns=\"urn:oma:xml:cpm:evfw\"><cpm-event-iw><ready-for-sms><cpm-user-address>{ANN}\
         </cpm-user-address></ready-for-sms><failed-iw><cpm-user-address>{ANN}</cpm-user-address>\
         <message-id>m1</message-id><Message-Context>pager-message</Message-Context>\
         <domain>CS</domain></failed-iw></cpm-event-iw></cpm-evfw>"
    );

    let (status, said) = call("/v1/cpm/events", "application/vnd.oma.cpm-eventfw+xml", &body);

    assert_eq!(status, 200, "{said}");
    let (ready, failed) = (place.records(Topic::Reachability), place.records(Topic::Outcomes));
    assert_eq!((ready.len(), failed.len()), (1, 1));
    assert_eq!(ready[0].3["type"], "cpm.sms.ready.v1");
    assert_eq!(failed[0].3["type"], "cpm.sms.failed.v1");
    assert!(
        failed[0].3["time"].as_str() < ready[0].3["time"].as_str(),
        "the failure is older (A-3)"
    );
    assert_eq!(ready[0].0, partition_of(ANN, 3));
    let places = said["events"].as_array().unwrap();
    assert_eq!(places[0]["topic"], place.cluster.topic(Topic::Outcomes));

    let message = format!(
        "From: <tel:+15145550199>\r\nTo: <{ANN}>\r\nimdn.Message-ID: m1\r\n\r\n\
         Content-Type: text/plain\r\n\r\nhello"
    );
    let (status, said) = call("/v1/cpm/messages", "message/cpim", &message);
    assert_eq!((status, &said["error"]["code"]), (503, &json!("elsewhere")), "{said}");
    assert_eq!(place.records(Topic::Messages).len(), 0);
}

/// What decides is elsewhere, and so are the outputs; the journal is read from its topic.
#[test]
fn journals_are_read_and_outputs_are_elsewhere() {
    let place = Place::new("journals", 3);
    let server = Server::new(&place.cluster, Duration::from_secs(10));
    let (status, said) = server.get(&format!("/v1/users/{ANN}/journal?from=0"));
    assert_eq!((status, said.as_str()), (200, ""), "nothing is decided yet");

    let inputs: Vec<Value> = (0..30).map(|n| submitted(&format!("m{n}"), ANN)).collect();
    let partition = partition_of(ANN, 3);
    let lines = journal_of(&inputs);
    place.write_journal(i32::try_from(partition).unwrap(), &lines);
    let (status, said) =
        server.get(&format!("/v1/users/{ANN}/journal?from=0&limit=1000&with_content"));
    assert_eq!(status, 200, "{said}");
    let of_ann: Vec<&String> = lines.iter().filter(|line| line.contains(ANN)).collect();
    assert!(said.lines().eq(of_ann.iter().copied()), "{} lines", said.lines().count());
    let newest = server.get(&format!("/v1/users/{ANN}/journal?limit=2&with_content")).1;
    assert!(newest.lines().eq(of_ann[of_ann.len() - 2..].iter().copied()));

    for path in [format!("/v1/users/{ANN}"), format!("/v1/messages/m3/why?user={ANN}")] {
        let (status, said) = server.get(&path);
        assert_eq!(status, 421, "{said}");
        assert!(said.contains("another member"), "{said}");
    }
    let (status, said) = server.get("/v1/users");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &said["elsewhere"]), (200, &json!([0, 1, 2])));
    for (path, topic) in [
        ("/v1/deliveries", Topic::Deliveries),
        ("/v1/notifications", Topic::Notifications),
        ("/v1/dead-letters", Topic::DeadLetters),
    ] {
        let (status, said) = server.get(path);
        assert_eq!(status, 501);
        assert!(said.contains(&format!("read {}", place.cluster.topic(topic))), "{said}");
    }
}

/// Without a broker nothing is taken, and that is said when the request's patience is over; with it all is
/// well again.
#[test]
fn what_no_broker_has_is_not_taken() {
    let broker = Broker::start("away");
    let place = broker.place("away", 3);
    let server = Server::new(&place.cluster, Duration::from_secs(3));
    let post = |id: &str| server.post("application/json", &submitted(id, ANN).to_string());
    assert_eq!(post("m1").0, 202);

    broker.signal("STOP");
    let begun = Stopwatch::start();
    let (status, answer) = post("m2");
    let took = begun.elapsed();
    broker.signal("CONT");
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("unknown")), "{answer}");
    assert!((2..7).contains(&took.as_secs()), "{took:?}");
    let words = answer["error"]["message"].as_str().unwrap();
    assert!(words.contains("with the same ids"), "{words}");

    // It may have come through after all: nobody was told that it had.
    let (status, answer) = post("m3");
    assert_eq!(status, 202, "{answer}");
    let ids: Vec<Value> = place
        .records(Topic::Messages)
        .into_iter()
        .map(|(_, _, _, event)| event["id"].clone())
        .filter(|id| id != "m2")
        .collect();
    assert_eq!(ids, ["m1", "m3"]);
    assert_eq!(server.post.under_way(), 0);

    let mut nowhere = place.cluster;
    nowhere.brokers = "127.0.0.1:1".to_owned();
    let fault = Post::new(&nowhere, Duration::from_secs(3)).unwrap_err();
    assert!(
        matches!(&fault, KafkaFault::Unreachable { why, .. } if why.contains("refused")),
        "{fault}"
    );
}
