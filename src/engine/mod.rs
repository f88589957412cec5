//! Order and durability: what is taken in which order, what is committed with what, and how far we got.
//!
//! One [`Worker`](worker::Worker) a partition: it polls, decides, commits journal and outputs together,
//! and undoes what it decided where the commit fails. The journal is the truth; the
//! [`State`](state::State) is what it says so far, and [`replay`] makes it anew.

pub mod alarms;
pub mod census;
mod changes;
pub mod checkpoint;
pub mod history;
pub mod intake;
pub mod observer;
pub mod partition;
pub mod picture;
pub mod ports;
pub mod replay;
pub mod shard;
pub mod state;
pub mod steady;
mod step;
pub mod tail;
pub mod users;
pub mod worker;
