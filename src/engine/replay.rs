//! A journal as a sequence of states: followed, looked at, decided again.
//!
//! It reads, in one direction, and never acts.

use super::state::{BrokenJournal, State};
use super::users::UserKey;
use crate::domain::decide::{Ignored, decide};
use crate::domain::event::Event;
use crate::domain::user::User;
use crate::record::input::Reader;
use crate::record::journal::{BadRecord, RULES, Record};

/// Moves a state by one line of its journal. Returns whose state moved.
///
/// # Errors
///
/// [`BrokenJournal`]: it is no record, or does not follow the one before.
pub fn apply_line(state: &mut State, line: &[u8]) -> Result<Option<UserKey>, BrokenJournal> {
    let expected = state.next_seq;
    let record = Record::read(line).map_err(|why| BrokenJournal::Bad { expected, why })?;
    state.apply(&record)
}

/// What deciding a recorded input again says.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The same as recorded.
    Same,
    /// The record was decided by other rules; it is counted apart.
    OtherRules,
    /// Nothing was decided: a duplicate, a refused input, a changed policy.
    Undecided,
    /// Something else than recorded.
    Differs {
        /// What the journal says.
        recorded: Result<Vec<Event>, String>,
        /// What this program says.
        decided: Result<Vec<Event>, String>,
    },
}

/// Decides the input of a record again, on the state that the recorded events before it left.
///
/// # Errors
///
/// [`BadRecord`]: its input cannot be read.
pub fn verify(state: &State, record: &Record<'_>, reader: &Reader) -> Result<Verdict, BadRecord> {
    // A changed policy is about nobody, and is no fact for `decide`.
    let Some(address) = record.address()? else { return Ok(Verdict::Undecided) };
    let Some(read) = record.input(reader)? else { return Ok(Verdict::Undecided) };
    if record.rules != RULES {
        return Ok(Verdict::OtherRules);
    }
    let key = state.users.key(&address);
    let user = state.users.get(key).unwrap_or_else(|| User::new(address));
    let decided: Result<Vec<Event>, Ignored> = decide(&user, &read.input, record.at, &state.policy);
    let decided = decided.map_err(|why| why.to_string());
    let recorded = match &record.ignored {
        Some(why) => Err(why.to_string()),
        None => Ok(record.events.clone()),
    };
    Ok(if recorded == decided { Verdict::Same } else { Verdict::Differs { recorded, decided } })
}
