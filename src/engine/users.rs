//! The users of a partition at rest: packed, and unpacked when something happens to them.
//!
//! A country's users are limited by memory, and most of them do nothing: a packed user is a few bytes
//! in one block. One with much content stays open, since moving it would cost more than it saves.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::domain::address::Address;
use crate::domain::reachability::hash;
use crate::domain::time::Timestamp;
use crate::domain::user::User;

/// A packed user larger than this stays open.
const PACK_UP_TO: usize = 2048;
/// Users that stay open because something happened to them lately: what happens to a user seldom comes
/// alone (attach, registration, answer within seconds).
const OPEN: usize = 65_536;

/// The name of a user inside one partition: the number itself, or a hash of another address with the
/// top bit set, moved on where two share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey(u64);

impl UserKey {
    /// The key to try where another user has this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1) | 1 << 63)
    }
}

/// A user at rest.
#[derive(Debug)]
enum Rest {
    Packed(Box<[u8]>),
    Open(Box<User>),
}

#[derive(Debug)]
struct Slot {
    rest: Rest,
    alarm: Timestamp,
}

/// All users of a partition of whom something is known.
#[derive(Debug, Default)]
pub struct Users {
    slots: FxHashMap<UserKey, Slot>,
    /// Those that are open, in the order in which they were opened.
    open: VecDeque<UserKey>,
    /// Where users are packed before they get a block of their own.
    scratch: Vec<u8>,
}

impl Users {
    /// Where this user is, or would be.
    #[must_use]
    pub fn key(&self, address: &Address) -> UserKey {
        match address {
            Address::Tel(number) => UserKey(number.digits()),
            Address::Sip(text) => {
                let folded = u64::from(hash(text)) << 31 | text.len() as u64;
                let mut key = UserKey(folded | 1 << 63);
                while self.get(key).is_some_and(|user| user.address != *address) {
                    key = key.next();
                }
                key
            }
        }
    }

    /// The user there, unpacked.
    #[must_use]
    pub fn get(&self, key: UserKey) -> Option<User> {
        self.slots.get(&key).map(|slot| match &slot.rest {
            Rest::Packed(bytes) => unpack(bytes),
            Rest::Open(user) => (**user).clone(),
        })
    }

    /// Puts a user to rest.
    pub fn put(&mut self, key: UserKey, user: User) {
        let address = user.address.clone();
        *self.open(key, &address) = user;
    }

    /// The user there to change in place; a new one of this address where there is none.
    pub fn open(&mut self, key: UserKey, address: &Address) -> &mut User {
        while self.open.len() > OPEN {
            self.pack_oldest();
        }
        let slot = self
            .slots
            .entry(key)
            .or_insert_with(|| Slot { rest: Rest::Packed(Box::default()), alarm: Timestamp::MAX });
        if let Rest::Packed(bytes) = &slot.rest {
            let user = if bytes.is_empty() { User::new(address.clone()) } else { unpack(bytes) };
            slot.rest = Rest::Open(Box::new(user));
            self.open.push_back(key);
        }
        match &mut slot.rest {
            Rest::Open(user) => user,
            Rest::Packed(_) => unreachable!("it was opened just now"),
        }
    }

    /// Packs the user that was opened longest ago, unless it is too large to be worth it.
    fn pack_oldest(&mut self) {
        let Some(key) = self.open.pop_front() else { return };
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let Rest::Open(user) = &slot.rest else { return };
        self.scratch = pack_into(user, std::mem::take(&mut self.scratch));
        if self.scratch.len() <= PACK_UP_TO {
            slot.rest = Rest::Packed(Box::from(self.scratch.as_slice()));
        }
    }

    /// Drops a user of whom nothing is known any more.
    pub fn drop(&mut self, key: UserKey) {
        self.slots.remove(&key);
    }

    /// When the alarm set for a user rings; `Timestamp::MAX`: none is set.
    #[must_use]
    pub fn alarm(&self, key: UserKey) -> Timestamp {
        self.slots.get(&key).map_or(Timestamp::MAX, |slot| slot.alarm)
    }

    /// Notes when the alarm set for a user rings.
    pub fn set_alarm(&mut self, key: UserKey, at: Timestamp) {
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.alarm = at;
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (UserKey, User)> + '_ {
        self.slots.iter().map(|(key, slot)| {
            let user = match &slot.rest {
                Rest::Packed(bytes) => unpack(bytes),
                Rest::Open(user) => (**user).clone(),
            };
            (*key, user)
        })
    }

    /// All of them, packed, in the order of their keys.
    #[must_use]
    pub fn packed(&self) -> Vec<Arc<[u8]>> {
        let mut keys: Vec<&UserKey> = self.slots.keys().collect();
        keys.sort();
        keys.into_iter()
            .filter_map(|key| self.slots.get(key))
            .map(|slot| match &slot.rest {
                Rest::Packed(bytes) => Arc::from(&**bytes),
                Rest::Open(user) => Arc::from(pack(user)),
            })
            .collect()
    }

    /// Bytes that a user takes at rest, its table entry included.
    #[must_use]
    pub fn bytes(&self, key: UserKey) -> usize {
        let own = self.slots.get(&key).map_or(0, |slot| match &slot.rest {
            Rest::Packed(bytes) => bytes.len(),
            Rest::Open(user) => pack(user).len(),
        });
        own + size_of::<(UserKey, Slot)>()
    }
}

/// A user as bytes: what a checkpoint holds, too.
///
/// # Panics
///
/// Never: nothing in a user cannot be written.
#[must_use]
pub fn pack(user: &User) -> Vec<u8> {
    pack_into(user, Vec::with_capacity(512))
}

fn pack_into(user: &User, mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    postcard::to_extend(user, buffer).expect("a user can be packed")
}

/// The user of these bytes.
///
/// # Panics
///
/// Where they are not what [`pack`] of this program wrote: state at rest is never read from outside
/// without [`try_unpack`].
#[must_use]
fn unpack(bytes: &[u8]) -> User {
    try_unpack(bytes).expect("what this process packed can be unpacked")
}

/// The user of these bytes, if they are one.
#[must_use]
pub fn try_unpack(bytes: &[u8]) -> Option<User> {
    postcard::from_bytes(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::Home;

    fn user(address: &str) -> User {
        User::new(Address::parse(address, &Home::default()).unwrap())
    }

    #[test]
    fn a_user_comes_back_as_it_was_put() {
        let mut users = Users::default();
        for address in ["tel:+15145550100", "sip:alice@example.com", "sip:bob@example.com"] {
            let user = user(address);
            let key = users.key(&user.address);
            users.put(key, user.clone());
            assert_eq!(users.get(key), Some(user));
        }
        assert_eq!(users.len(), 3);
    }

    /// Two addresses of one hash are two users.
    #[test]
    fn a_shared_hash_is_told_apart() {
        let mut users = Users::default();
        let (alice, bob) = (user("sip:alice@example.com"), user("sip:bob@example.com"));
        let key = users.key(&bob.address);
        users.put(key, alice);

        assert_ne!(users.key(&bob.address), key);
    }
}
