//! Flags are added to what an event names, and read back: what is seen is the answer.
//!
//! ```text
//! folder and UID ──► the head has the id? ──┐
//!                        │ no: it is stale  ├──► STORE ──► FETCH FLAGS of what it did not show
//! id alone ──► search ◄──┘ ──► exactly it? ─┘
//! ```
//!
//! A STORE that is not silent shows each message with the flags it has then (RFC 3501 6.4.6), so most need no
//! command of their own. That it is OK says nothing.
//!
//! Source: SEED4-70 to SEED4-78.

use std::collections::BTreeMap;

use async_imap::imap_proto::{AttributeValue, Response};

use super::find::{AT_ONCE, Head, heads, is_same_party, with_ids};
use super::say;
use super::wire::{Connection, Failure};
use crate::edge::store::{Flag, Object, StoreError};

/// What each object was answered so far.
pub(super) type Answers = Vec<Option<Result<(), StoreError>>>;

/// Flags to add in a user's store.
pub(super) struct Task<'a> {
    pub(super) flag: Flag,
    pub(super) objects: &'a [Object],
    /// The folder that all of the user's are below, as the server knows it.
    pub(super) root: String,
    /// The account is not the user's alone: only folders below `root` are.
    pub(super) is_shared: bool,
    /// How many folders are searched.
    pub(super) folders: usize,
}

/// Objects by number, and the folder they are in.
type Places = BTreeMap<String, Vec<usize>>;

impl Task<'_> {
    /// Does what is not answered yet. An error is the connection's; what it says of objects is in `answers`.
    pub(super) async fn run(
        &self,
        connection: &mut Connection,
        answers: &mut Answers,
    ) -> Result<(), Failure> {
        let (mut by_uid, mut by_id, mut anywhere) = (Places::new(), Places::new(), Vec::new());
        let open: Vec<usize> = unanswered(answers).collect();
        for number in open {
            match self.way(number, connection.delimiter) {
                Ok((Some(folder), true)) => by_uid.entry(folder).or_default().push(number),
                Ok((Some(folder), false)) => by_id.entry(folder).or_default().push(number),
                Ok((None, _)) => anywhere.push(number),
                Err(error) => answer(answers, number, Err(error)),
            }
        }
        for (folder, numbers) in by_uid {
            let stale = self.by_uid(connection, &folder, &numbers, answers).await;
            let stale = settled(stale, &numbers, answers)?.unwrap_or_default();
            if !stale.is_empty() {
                by_id.entry(folder).or_default().extend(stale);
            }
        }
        for (folder, numbers) in by_id {
            let left = self.by_id(connection, &folder, &numbers, true, answers).await;
            let left = settled(left, &numbers, answers)?.unwrap_or_default();
            for number in left {
                let why = format!("no message in the folder {folder} has this id");
                answer(answers, number, Err(StoreError::NotFound(why)));
            }
        }
        if !anywhere.is_empty() {
            let numbers = anywhere.clone();
            let found = self.anywhere(connection, anywhere, answers).await;
            settled(found, &numbers, answers)?;
        }
        Ok(())
    }

    fn object(&self, number: usize) -> &Object {
        const NONE: &Object = &Object {
            uid: None,
            folder: None,
            message_id: None,
            conversation_id: None,
            contribution_id: None,
            other_party: None,
        };
        self.objects.get(number).unwrap_or(NONE)
    }

    fn id(&self, number: usize) -> &str {
        self.object(number).message_id.as_deref().unwrap_or_default()
    }

    /// The folder an object is in, and whether its UID there is known.
    fn way(&self, number: usize, delimiter: char) -> Result<(Option<String>, bool), StoreError> {
        let object = self.object(number);
        if let Some(id) = &object.message_id {
            say::id(id)?;
        }
        let folder =
            object.folder.as_deref().map(|path| say::folder(path, delimiter)).transpose()?;
        if let Some(folder) = &folder
            && self.is_shared
            && !folder
                .strip_prefix(&self.root)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(delimiter))
        {
            return Err(StoreError::NotFound(format!("{folder} is no folder of this user")));
        }
        let has_uid = folder.is_some() && object.uid.is_some_and(|uid| uid > 0);
        if !has_uid && object.message_id.is_none() {
            let why = "an object with neither a UID in a folder nor a message id";
            return Err(StoreError::Invalid(why.into()));
        }
        Ok((folder, has_uid))
    }

    /// Flags what is found by UID. Those whose UID is of another message, or of none, and that have an id.
    async fn by_uid(
        &self,
        connection: &mut Connection,
        folder: &str,
        numbers: &[usize],
        answers: &mut Answers,
    ) -> Result<Vec<usize>, Failure> {
        connection.select(folder, true).await?;
        let mut stale = Vec::new();
        for some in numbers.chunks(AT_ONCE) {
            let uid = |number: &usize| self.object(*number).uid.unwrap_or_default();
            let with_id = some.iter().filter(|number| self.object(**number).message_id.is_some());
            let with_id: Vec<u32> = with_id.map(uid).collect();
            let heads = if with_id.is_empty() {
                BTreeMap::new()
            } else {
                heads(connection, &with_id).await?
            };
            let mut targets = Vec::new();
            for number in some {
                let uid = uid(number);
                let is_it = match &self.object(*number).message_id {
                    None => true,
                    Some(_) => heads
                        .get(&uid)
                        .is_some_and(|head| head.id.as_deref() == Some(self.id(*number))),
                };
                if is_it {
                    targets.push((*number, uid));
                } else {
                    stale.push(*number);
                }
            }
            self.set(connection, &targets, answers).await?;
        }
        Ok(stale)
    }

    /// Flags what is found by id in a folder. Those that are not there.
    async fn by_id(
        &self,
        connection: &mut Connection,
        folder: &str,
        numbers: &[usize],
        is_likely: bool,
        answers: &mut Answers,
    ) -> Result<Vec<usize>, Failure> {
        connection.select(folder, is_likely).await?;
        let mut left = Vec::new();
        for some in numbers.chunks(AT_ONCE) {
            let ids: Vec<&str> = some.iter().map(|number| self.id(*number)).collect();
            let found = with_ids(connection, &ids).await?;
            let mut by_id: BTreeMap<&str, Vec<(u32, &Head)>> = BTreeMap::new();
            for (uid, head) in &found {
                by_id.entry(head.id.as_deref().unwrap_or_default()).or_default().push((*uid, head));
            }
            let mut targets = Vec::new();
            for number in some {
                match by_id.get(self.id(*number)) {
                    None => left.push(*number),
                    Some(known) => match choose(known, self.object(*number).other_party.as_deref())
                    {
                        Ok(uids) => targets.extend(uids.into_iter().map(|uid| (*number, uid))),
                        Err(error) => answer(answers, *number, Err(error)),
                    },
                }
            }
            if !targets.is_empty() {
                connection.select(folder, true).await?;
                self.set(connection, &targets, answers).await?;
            }
        }
        Ok(left)
    }

    /// Looks for ids in all folders of the user, the likely ones first.
    async fn anywhere(
        &self,
        connection: &mut Connection,
        mut left: Vec<usize>,
        answers: &mut Answers,
    ) -> Result<(), Failure> {
        let mut folders = connection.folders(&self.root, self.folders).await?;
        let hints: Vec<&str> = left
            .iter()
            .flat_map(|number| {
                let object = self.object(*number);
                [&object.contribution_id, &object.conversation_id]
            })
            .filter_map(|hint| hint.as_deref().filter(|hint| !hint.is_empty()))
            .take(AT_ONCE)
            .collect();
        folders.sort_by_cached_key(|folder| !hints.iter().any(|hint| folder.contains(hint)));
        for folder in &folders {
            if left.is_empty() {
                break;
            }
            match self.by_id(connection, folder, &left, false, answers).await {
                Ok(still) => left = still,
                // It was removed meanwhile, or is not for us.
                Err(Failure::No(StoreError::NotFound(_) | StoreError::Denied(_))) => {
                    left.retain(|number| answers.get(*number).is_some_and(Option::is_none));
                }
                Err(failure) => return Err(failure),
            }
        }
        let count = folders.len();
        for number in left {
            let why = format!("no message in {count} folders has this id");
            answer(answers, number, Err(StoreError::NotFound(why)));
        }
        Ok(())
    }

    /// Adds the flag to messages of the open folder, and answers by what is read back.
    async fn set(
        &self,
        connection: &mut Connection,
        targets: &[(usize, u32)],
        answers: &mut Answers,
    ) -> Result<(), Failure> {
        let mut uids: Vec<u32> = targets.iter().map(|(_, uid)| *uid).collect();
        uids.sort_unstable();
        uids.dedup();
        for some in uids.chunks(AT_ONCE) {
            let mut seen = Seen::new();
            let stored = connection.add_flags(some, self.flag.word(), |response| {
                seen.extend(shown(response));
            });
            let refused = match stored.await {
                Ok(()) => None,
                Err(Failure::No(error)) => Some(error),
                Err(gone) => return Err(gone),
            };
            seen.retain(|_, flags| flags.contains(&self.flag));
            let open: Vec<u32> =
                some.iter().filter(|uid| !seen.contains_key(uid)).copied().collect();
            if !open.is_empty() {
                seen.extend(flags(connection, &open).await?);
            }
            for (number, uid) in targets.iter().filter(|(_, uid)| some.contains(uid)) {
                let result = match (seen.get(uid), &refused) {
                    (Some(flags), _) if flags.contains(&self.flag) => Ok(()),
                    (Some(_), Some(error)) => Err(error.clone()),
                    (Some(_), None) => {
                        Err(StoreError::Denied("it says OK and does not keep the flag".into()))
                    }
                    (None, _) => Err(StoreError::NotFound(format!("no message has UID {uid}"))),
                };
                // Of several copies each must have it.
                if !matches!(answers.get(*number), Some(Some(Err(_)))) {
                    answer(answers, *number, result);
                }
            }
        }
        Ok(())
    }
}

/// The flags, of those we know, that messages have.
type Seen = BTreeMap<u32, Vec<Flag>>;

/// The flags that messages of the open folder have.
pub(super) async fn flags(connection: &mut Connection, uids: &[u32]) -> Result<Seen, Failure> {
    let mut seen = Seen::new();
    connection.fetch(uids, "(UID FLAGS)", |response| seen.extend(shown(response))).await?;
    Ok(seen)
}

/// A message that a response shows with its flags.
fn shown(response: &Response<'_>) -> Option<(u32, Vec<Flag>)> {
    let Response::Fetch(_, attributes) = response else { return None };
    let (mut uid, mut known) = (None, None);
    for attribute in attributes {
        if let AttributeValue::Uid(of) = attribute {
            uid = Some(*of);
        } else if let AttributeValue::Flags(flags) = attribute {
            let backslashed = flags.iter().filter(|flag| flag.starts_with('\\'));
            known = Some(backslashed.filter_map(|flag| Flag::of(flag)).collect());
        }
    }
    uid.zip(known)
}

/// Which of the messages with one id are meant: all copies of one, and none of another sender's.
fn choose(known: &[(u32, &Head)], party: Option<&str>) -> Result<Vec<u32>, StoreError> {
    let is_one = |of: &[&(u32, &Head)]| {
        of.first().is_some_and(|(_, head)| of.iter().all(|(_, other)| other.from == head.from))
    };
    let all: Vec<_> = known.iter().collect();
    let narrowed = |party: &str| -> Vec<_> {
        let is_with =
            |head: &Head| is_same_party(&head.from, party) || is_same_party(&head.to, party);
        known.iter().filter(|(_, head)| is_with(head)).collect()
    };
    let meant = if is_one(&all) { all } else { party.map(narrowed).unwrap_or_default() };
    if !is_one(&meant) {
        let why = "messages of several senders have this id, and nothing says which is meant";
        return Err(StoreError::Invalid(why.into()));
    }
    Ok(meant.into_iter().map(|(uid, _)| *uid).collect())
}

fn unanswered(answers: &Answers) -> impl Iterator<Item = usize> {
    (0..).zip(answers).filter(|(_, answer)| answer.is_none()).map(|(number, _)| number)
}

fn answer(answers: &mut Answers, number: usize, result: Result<(), StoreError>) {
    if let Some(answer) = answers.get_mut(number) {
        *answer = Some(result);
    }
}

/// What the server refuses of a folder it refuses of all that is said to be in it.
fn settled<T>(
    result: Result<T, Failure>,
    numbers: &[usize],
    answers: &mut Answers,
) -> Result<Option<T>, Failure> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(Failure::No(error)) => {
            for number in numbers {
                if answers.get(*number).is_some_and(Option::is_none) {
                    answer(answers, *number, Err(error.clone()));
                }
            }
            Ok(None)
        }
        Err(gone) => Err(gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_messages_with_one_id_the_one_meant_is_chosen() {
        let head = |from: &str| Head { from: from.into(), to: "<tel:+1>".into(), id: None };
        let (a, b) = (head("<tel:+2>"), head("<tel:+3>"));
        assert_eq!(choose(&[(1, &a)], Some("tel:+9")), Ok(vec![1]), "the party is a hint");
        assert_eq!(choose(&[(1, &a), (2, &a)], None), Ok(vec![1, 2]), "copies");
        assert_eq!(choose(&[(1, &a), (2, &b)], Some("sip:+3@ims.example")), Ok(vec![2]));
        for party in [None, Some("tel:+9"), Some("tel:+1")] {
            assert!(choose(&[(1, &a), (2, &b)], party).is_err(), "{party:?}");
        }
    }
}
