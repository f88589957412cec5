//! Step 4c: the sender hears 200 when the message store has the message, and 503 when it does not.
//!
//! Source: `rules.md` SEED0-56, A-22, T-30, Q-23.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Answer, Denial, Front, Told, data};
use crate::domain::address::Address;
use crate::domain::event::End;
use crate::domain::input::{Storage, StorageOutcome};
use crate::domain::time::Timestamp;
use crate::domain::user::{Remembered, key_digest};
use crate::engine::intake::partition_of;
use crate::record::input::Kind;

/// Between two looks at a message that is being stored: at first, and at last.
const LOOKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

/// A message that somebody waits for.
pub(super) struct Waiting {
    pub(super) address: Address,
    pub(super) from: std::sync::Arc<str>,
    pub(super) message_id: std::sync::Arc<str>,
    /// When one of this id was refused before: that is not its end.
    pub(super) refused_at: Option<Timestamp>,
}

/// Where a message stands for whoever waits until it is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// Nobody knows it: it is not decided yet, or forgotten.
    Unknown,
    /// The store has not answered.
    Storing,
    /// It waits for delivery: the store did not take it, and the operator has it deferred then.
    Deferred,
    Ended(End),
}

impl Front {
    /// Waits until the message is stored or will not be. `id`: of its submission.
    pub(super) async fn stored(&self, message: &Waiting, id: &str) -> Result<Answer, Denial> {
        let until = Instant::now() + self.reach.patience;
        let (mut pause, longest) = LOOKS;
        let mut seen = false;
        loop {
            match self.stands(message).await? {
                Stands::Unknown if seen => {
                    return Ok(Answer::of(202, "it was taken, and how it ended is forgotten"));
                }
                stands @ (Stands::Unknown | Stands::Storing) if Instant::now() < until => {
                    seen |= stands == Stands::Storing;
                    sleep(pause).await;
                }
                Stands::Unknown | Stands::Storing => break,
                end @ (Stands::Deferred | Stands::Ended(_)) => return answer(end),
            }
            pause = longest.min(pause * 2);
        }
        // The sender cannot wait longer: unless the store has answered by now, it has failed.
        let told = Told {
            kind: Kind::StorageOutcome,
            user: message.address.to_string().into(),
            id: format!("{id}-late"),
            time: None,
            data: data(&StorageOutcome {
                message_id: (&*message.message_id).into(),
                from: Some((&*message.from).into()),
                outcome: Storage::Failed,
                reason: Some("late".into()),
            }),
        };
        self.give(self.inputs(&[told])?).await?;
        // Where it is decided in its turn, that may take a moment.
        let until = Instant::now() + self.reach.patience;
        loop {
            match self.stands(message).await? {
                Stands::Unknown | Stands::Storing if Instant::now() < until => sleep(longest).await,
                Stands::Unknown | Stands::Storing => {
                    return Err(Denial::unavailable(
                        "unknown",
                        "nobody knows yet whether it is stored: ask again with the same id",
                    ));
                }
                end @ (Stands::Deferred | Stands::Ended(_)) => return answer(end),
            }
        }
    }

    async fn stands(&self, message: &Waiting) -> Result<Stands, Denial> {
        let partition = partition_of(&message.address.to_string(), self.reach.desks.partitions());
        let (address, from) = (message.address.clone(), message.from.clone());
        let (id, refused_at) = (message.message_id.clone(), message.refused_at);
        let asked = self.reach.ask(partition, move |desk| {
            let users = &desk.state().users;
            let found = users.see(users.key(&address), |user| {
                let mut waiting = user.named(&id, Some(&from));
                match waiting.next() {
                    Some(waiting) if waiting.storing => Stands::Storing,
                    Some(_) => Stands::Deferred,
                    None => {
                        let key = key_digest(&from, &id);
                        let its_own = |ended: &&Remembered| {
                            ended.key == key
                                && !(ended.end == End::Rejected && Some(ended.at) == refused_at)
                        };
                        let ended = user.remembered.iter().find(its_own);
                        ended.map_or(Stands::Unknown, |ended| Stands::Ended(ended.end))
                    }
                }
            });
            found.unwrap_or(Stands::Unknown)
        });
        Ok(asked.await?)
    }
}

fn answer(stands: Stands) -> Result<Answer, Denial> {
    match stands {
        Stands::Ended(End::Stored) => Ok(Answer::of(200, "it is in the user's message store")),
        Stands::Deferred => {
            Ok(Answer::of(202, "the message store did not take it: it is deferred"))
        }
        Stands::Ended(End::Rejected) | Stands::Unknown | Stands::Storing => {
            Err(Denial::unavailable(
                "not-stored",
                "the user wants it stored, and the message store did not take it",
            ))
        }
        Stands::Ended(_) => Ok(Answer::of(202, "it was taken, and has ended since")),
    }
}
