//! Order and durability: what is taken in which order, what is committed with what, and how far we got.
//!
//! One [`Worker`](worker::Worker) a partition: it polls, decides on an overlay of the state, commits
//! journal and outputs together, and folds the overlay in. The journal is the truth; the
//! [`State`](state::State) is what it says so far, and [`replay`] makes it anew.

pub mod alarms;
pub mod census;
pub mod checkpoint;
pub mod history;
pub mod intake;
pub mod observer;
pub mod overlay;
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
