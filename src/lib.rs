//! Deferred delivery for telecom messaging: keeps messages for users who cannot be reached, watches
//! their phones come back, and delivers by IP or by SMS at the right moment.
//!
//! # The flow
//!
//! ```text
//! edge ──► inputs ──► engine ──► journal ──► edge ──► inputs …
//!     what happened   decide   what we decided   what we do about it, and how that went
//! ```
//!
//! The journal is the truth. The state is what the journal says so far, kept for speed: making it anew
//! costs time, never messages.
//!
//! # The rooms
//!
//! ```text
//! domain ◄── cpm, record ◄── engine ◄── { log, store, edge } ◄── cli
//! ```
//!
//! A room uses what stands to its left.
//!
//! - [`domain`]: the rules, values in and values out. `domain/rules.md` is the sheet of all numbers that
//!   code, tests and the journal cite (T-4, R-2, I-3, …).
//! - [`cpm`]: the standards' documents as bytes: event framework, CPIM, IMDN, preferences.
//! - [`record`]: our own records as bytes, by version: inputs, the journal, commands.
//! - [`engine`]: order and durability; no sockets, no products. One worker a shard, with its partitions.
//! - [`log`], [`store`]: the engine's ports, by product: the embedded log, Kafka, sled, memory.
//! - [`edge`]: the outside: what probes say, HTTP, the front for the standards' documents, sinks, the
//!   message store; the only async.
//! - [`cli`]: what a person types; `cli/run` puts the daemon together.
//!
//! # Where to start reading
//!
//! Run `deferd demo` first. Then `domain/mod.rs` → `tests/scenarios/w-01.txt` and its neighbours →
//! [`domain::user`] → `domain/decide/delivery_outcome.rs` → [`engine::ports`] → [`engine::worker`] →
//! [`log::embedded`] → [`log::kafka`] → [`edge::http`]. An hour, and you can change a rule.

pub mod cli;
pub mod cpm;
pub mod domain;
pub mod edge;
pub mod engine;
pub mod log;
pub mod record;
pub mod store;
