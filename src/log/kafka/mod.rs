//! The log on Apache Kafka: a consumer group, a transaction a step, exactly once.
//!
//! Nothing outside this room names rdkafka. A [`Cluster`] says where the brokers are and makes every
//! client; all of them read committed records only.
//!
//! Source: Apache Kafka's protocol as librdkafka speaks it; KIP-98 and KIP-447 for transactions.

mod ask;
mod client;
mod create;
mod ends;
mod find;
mod group;
mod inputs;
mod journals;
mod look;
mod member;
mod produce;
mod reader;
mod rejoin;
mod review;
mod rights;
mod safe;
mod said;
mod settings;
mod snapshots;
mod takeover;
mod topics;
mod transaction;

pub use self::client::{Cluster, KafkaFault};
pub use self::create::{Made, Plan, Planned};
pub use self::find::Found;
pub use self::group::Change;
pub use self::journals::KafkaJournals;
pub use self::look::{Partition, Seen, View};
pub use self::member::{Lost, Member, Options};
pub use self::produce::Post;
pub use self::reader::{Ends, Message, Next, Reader};
pub use self::review::{Finding, Needs, Verdict};
pub use self::said::Said;
pub use self::settings::{is_secret, refused_property};
pub use self::snapshots::{Round, Snapshots};
pub use self::topics::Topic;
pub use self::transaction::Cost;
