//! A record is added once: it is looked for first, and again afterwards.
//!
//! A connection may break when the server has the record and we have no answer. The next try finds it; and
//! where both were at work at once, one of the two is removed again.
//!
//! Source: `rules.md` A-5.

use super::find::{is_same_party, with_ids};
use super::flags::flags;
use super::wire::{Connection, Failure};
use crate::edge::store::{Flag, Kept, StoreError, Stored};

/// Adds a record, whose octets are `content`, to a folder; or gives the one that is there its flags.
pub(super) async fn append(
    connection: &mut Connection,
    folder: &str,
    record: &Stored,
    content: &[u8],
) -> Result<Kept, Failure> {
    let known = match connection.select(folder, true).await {
        Ok(()) => same(connection, record).await?,
        Err(Failure::No(StoreError::NotFound(_))) => Vec::new(),
        Err(failure) => return Err(failure),
    };
    if let Some(uid) = known.first() {
        update(connection, *uid, &record.flags).await?;
        return Ok(Kept::Updated(*uid));
    }
    let words = words(&record.flags);
    let uid = match connection.append(folder, &words, content).await {
        Err(Failure::No(StoreError::NotFound(_))) => {
            let created = connection.create(folder).await;
            match (connection.append(folder, &words, content).await, created) {
                // Why there is no folder says more than that there is none.
                (Err(Failure::No(StoreError::NotFound(_))), Err(why)) => return Err(why),
                (appended, _) => appended?,
            }
        }
        appended => appended?,
    };
    connection.forget_folder();
    connection.select(folder, true).await?;
    let all = same(connection, record).await?;
    let Some((first, doubles)) = all.split_first() else {
        let why = "it took the record and does not show it";
        return Err(StoreError::Unavailable(why.into()).into());
    };
    for double in doubles.iter().filter(|_| connection.has_uidplus).copied().collect::<Vec<_>>() {
        connection.add_flags(&[double], Flag::Deleted.word(), |_| {}).await?;
        connection.expunge(double).await?;
    }
    Ok(Kept::Added(uid.map(|_| *first)))
}

/// The UIDs of a record in the open folder, oldest first: the id, exactly, and its sender.
async fn same(connection: &mut Connection, record: &Stored) -> Result<Vec<u32>, Failure> {
    let found = with_ids(connection, &[&record.message_id]).await?;
    let is_ours =
        |from: &str| record.anonymous || from.is_empty() || is_same_party(from, &record.from);
    Ok(found.into_iter().filter(|(_, head)| is_ours(&head.from)).map(|(uid, _)| uid).collect())
}

async fn update(connection: &mut Connection, uid: u32, wanted: &[Flag]) -> Result<(), Failure> {
    if wanted.is_empty() {
        return Ok(());
    }
    let has = |flags: Option<&Vec<Flag>>| {
        flags.is_some_and(|flags| wanted.iter().all(|flag| flags.contains(flag)))
    };
    if has(flags(connection, &[uid]).await?.get(&uid)) {
        return Ok(());
    }
    connection.add_flags(&[uid], &words(wanted), |_| {}).await?;
    if has(flags(connection, &[uid]).await?.get(&uid)) {
        return Ok(());
    }
    Err(StoreError::Denied("it says OK and does not keep the flags".into()).into())
}

fn words(flags: &[Flag]) -> String {
    flags.iter().map(|flag| flag.word()).collect::<Vec<_>>().join(" ")
}
