//! The rules: values in, values out. No clock, no file, no thread, no chance, no log.
//!
//! A [`Fact`](input::Fact) and a [`User`](user::User) go into [`decide`](decide::decide), a list of
//! [`Event`](event::Event)s comes out, and each may ask others for a [`Command`](command::Command).
//! The numbers in the comments (T-4, R-2, I-3, …) are those of `rules.md`, beside this file.

pub mod address;
pub mod alias;
pub mod command;
pub mod decide;
pub mod event;
mod evolve;
pub mod failure;
pub mod input;
mod instance;
pub mod message;
pub mod open;
pub mod pager;
pub mod policy;
pub mod reachability;
pub mod senders;
pub mod sms;
pub mod standing;
pub mod time;
pub mod ucn;
pub mod user;
pub mod why;
mod words;
