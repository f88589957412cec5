//! The users of a partition at rest: packed, and unpacked when something happens to them.
//!
//! A country's users are limited by memory, and most of them do nothing: a packed user is a few bytes
//! in one block. One with much content stays open, since moving it would cost more than it saves.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, VecDeque};

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
    fn next(self) -> Self {
        Self(self.0.wrapping_add(1) | 1 << 63)
    }
}

/// The first byte of a packed user for whom messages wait.
const WAITING: u8 = 1;
/// Tables the users are spread over, so that none of them is ever copied or walked as a whole: a table
/// that grows, and a checkpoint that is taken, hold up nobody.
pub const TABLES: usize = 1024;

impl UserKey {
    /// Itself, as a checkpoint writes it.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// The table it belongs into.
    fn shard(self) -> usize {
        const BITS: u32 = u64::BITS - TABLES.trailing_zeros();
        usize::try_from(self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> BITS).unwrap_or(0)
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

impl Slot {
    fn see<T>(&self, look: impl FnOnce(&User) -> T) -> T {
        match &self.rest {
            Rest::Packed(bytes) => look(&unpack(bytes)),
            Rest::Open(user) => look(user),
        }
    }

    fn user(&self) -> Box<User> {
        match &self.rest {
            Rest::Packed(bytes) => Box::new(unpack(bytes)),
            Rest::Open(user) => user.clone(),
        }
    }

    fn packed(&self) -> Cow<'_, [u8]> {
        match &self.rest {
            Rest::Packed(bytes) => Cow::Borrowed(bytes),
            Rest::Open(user) => Cow::Owned(pack(user)),
        }
    }

    /// Unpacks the user, and gives back what it was unpacked from.
    fn open(&mut self) -> Option<Box<[u8]>> {
        let Rest::Packed(bytes) = &mut self.rest else { return None };
        let bytes = std::mem::take(bytes);
        self.rest = Rest::Open(Box::new(unpack(&bytes)));
        Some(bytes)
    }

    /// The user, open; where it was not, its key is noted in `open`.
    fn opened(&mut self, key: UserKey, open: &mut VecDeque<UserKey>) -> &mut User {
        if self.open().is_some() {
            open.push_back(key);
        }
        match &mut self.rest {
            Rest::Open(user) => user,
            Rest::Packed(_) => unreachable!("it was opened just now"),
        }
    }
}

/// How a user was before a step changed it; nothing: there was none.
#[derive(Debug)]
pub struct Before(Option<Rest>);

type Table = FxHashMap<UserKey, Slot>;

/// An alarm of which only the user's state says when it rings: nobody has looked since it changed.
const UNKNOWN: Timestamp = Timestamp::from_millis(i64::MIN);

/// All users of a partition of whom something is known.
#[derive(Debug)]
pub struct Users {
    tables: Vec<Table>,
    count: usize,
    /// Those that are open, in the order in which they were opened.
    open: VecDeque<UserKey>,
    /// Where users are packed before they get a block of their own.
    scratch: Vec<u8>,
    /// The checkpoint that is being taken.
    walk: Option<Box<Walk>>,
}

impl Default for Users {
    fn default() -> Self {
        Self {
            tables: std::iter::repeat_with(Table::default).take(TABLES).collect(),
            count: 0,
            open: VecDeque::new(),
            scratch: Vec::new(),
            walk: None,
        }
    }
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
                while self.see(key, |user| user.address != *address) == Some(true) {
                    key = key.next();
                }
                key
            }
        }
    }

    fn slot(&self, key: UserKey) -> Option<&Slot> {
        self.tables.get(key.shard())?.get(&key)
    }

    fn slot_mut(&mut self, key: UserKey) -> Option<&mut Slot> {
        self.tables.get_mut(key.shard())?.get_mut(&key)
    }

    /// The user there, unpacked.
    #[must_use]
    pub fn get(&self, key: UserKey) -> Option<User> {
        self.slot(key).map(|slot| *slot.user())
    }

    /// What `look` sees in the user there.
    pub fn see<T>(&self, key: UserKey, look: impl FnOnce(&User) -> T) -> Option<T> {
        self.slot(key).map(|slot| slot.see(look))
    }

    /// How many users a table has, and in the order of their keys those for whom messages wait.
    #[must_use]
    pub fn waiting(&self, table: usize) -> (usize, Vec<UserKey>) {
        let Some(table) = self.tables.get(table) else { return (0, Vec::new()) };
        let waits = |slot: &Slot| match &slot.rest {
            Rest::Packed(bytes) => bytes.first().is_some_and(|mark| *mark == WAITING),
            Rest::Open(user) => !user.messages.is_empty(),
        };
        let waiting = table.iter().filter(|(_, slot)| waits(slot));
        let mut keys: Vec<UserKey> = waiting.map(|(key, _)| *key).collect();
        keys.sort_unstable();
        (table.len(), keys)
    }

    /// How the user there is, before it is changed.
    pub fn before(&mut self, key: UserKey) -> Before {
        self.make_room();
        self.keep(key);
        let Some(slot) = self.slot_mut(key) else { return Before(None) };
        let before = match slot.open() {
            Some(packed) => {
                self.open.push_back(key);
                Rest::Packed(packed)
            }
            None => Rest::Open(slot.user()),
        };
        Before(Some(before))
    }

    /// The user there, to be changed; [`before`](Self::before) was asked for.
    pub fn change(&mut self, key: UserKey) -> Option<&mut User> {
        let slot = self.tables.get_mut(key.shard())?.get_mut(&key)?;
        Some(slot.opened(key, &mut self.open))
    }

    /// Makes the user there what it was before it was changed; its alarm stays as it is.
    pub fn undo(&mut self, key: UserKey, before: Before) {
        let Some(table) = self.tables.get_mut(key.shard()) else { return };
        match before.0 {
            Some(rest) => {
                let Some(slot) = table.get_mut(&key) else { return };
                if matches!((&slot.rest, &rest), (Rest::Packed(_), Rest::Open(_))) {
                    self.open.push_back(key);
                }
                slot.rest = rest;
            }
            None => self.count -= usize::from(table.remove(&key).is_some()),
        }
    }

    /// Puts a user to rest.
    pub fn put(&mut self, key: UserKey, user: impl Into<Box<User>>) {
        let user = user.into();
        self.make_room();
        self.keep(key);
        let Some(table) = self.tables.get_mut(key.shard()) else { return };
        match table.entry(key) {
            Entry::Occupied(mut there) => match &mut there.get_mut().rest {
                Rest::Open(before) => *before = user,
                packed @ Rest::Packed(_) => {
                    *packed = Rest::Open(user);
                    self.open.push_back(key);
                }
            },
            Entry::Vacant(place) => {
                place.insert(Slot { rest: Rest::Open(user), alarm: Timestamp::MAX });
                self.open.push_back(key);
                self.count += 1;
            }
        }
    }

    /// The user there to change in place; a new one of this address where there is none. When it wants
    /// to be looked at is unknown until somebody has looked: see [`arm`](Self::arm).
    ///
    /// # Panics
    ///
    /// Never: each key has a table.
    pub fn open(&mut self, key: UserKey, address: &Address) -> &mut User {
        self.make_room();
        self.keep(key);
        let table = self.tables.get_mut(key.shard()).expect("each key has a table");
        let slot = table.entry(key).or_insert_with(|| {
            self.count += 1;
            self.open.push_back(key);
            Slot { rest: Rest::Open(Box::new(User::new(address.clone()))), alarm: UNKNOWN }
        });
        slot.alarm = UNKNOWN;
        slot.opened(key, &mut self.open)
    }

    fn make_room(&mut self) {
        while self.open.len() > OPEN {
            self.pack_oldest();
        }
    }

    /// Packs the user that was opened longest ago, unless it is too large to be worth it.
    fn pack_oldest(&mut self) {
        let Some(key) = self.open.pop_front() else { return };
        let Some(slot) = self.tables.get_mut(key.shard()).and_then(|table| table.get_mut(&key))
        else {
            return;
        };
        let Rest::Open(user) = &slot.rest else { return };
        self.scratch = pack_into(user, std::mem::take(&mut self.scratch));
        if self.scratch.len() <= PACK_UP_TO {
            slot.rest = Rest::Packed(Box::from(self.scratch.as_slice()));
        }
    }

    /// Drops a user of whom nothing is known any more.
    pub fn drop(&mut self, key: UserKey) {
        self.keep(key);
        let dropped = self.tables.get_mut(key.shard()).and_then(|table| table.remove(&key));
        self.count -= usize::from(dropped.is_some());
    }

    /// When the alarm set for a user rings; `Timestamp::MAX`: none is set.
    #[must_use]
    pub fn alarm(&self, key: UserKey) -> Timestamp {
        self.slot(key).map_or(Timestamp::MAX, |slot| slot.alarm)
    }

    /// Notes when the alarm set for a user rings.
    pub fn set_alarm(&mut self, key: UserKey, at: Timestamp) {
        self.keep(key);
        if let Some(slot) = self.slot_mut(key) {
            slot.alarm = at;
        }
    }

    /// Sets the alarm of a user to this instant if that is sooner, or if nobody knew when it rings.
    /// Whether it was set.
    pub fn ring_sooner(&mut self, key: UserKey, at: Timestamp) -> bool {
        let sooner = self.slot(key).is_some_and(|slot| at < slot.alarm || slot.alarm == UNKNOWN);
        if sooner {
            self.set_alarm(key, at);
        }
        sooner
    }

    /// Whether an alarm is set for this user.
    #[must_use]
    pub fn is_armed(&self, key: UserKey) -> bool {
        self.slot(key).is_some_and(|slot| slot.alarm != UNKNOWN && slot.alarm != Timestamp::MAX)
    }

    /// Every alarm that is set, where `wake_at` says those that are unknown.
    pub fn arm(
        &mut self,
        wake_at: impl Fn(&User) -> Option<Timestamp>,
    ) -> Vec<(Timestamp, UserKey)> {
        let mut armed = Vec::with_capacity(self.count);
        for (key, slot) in self.tables.iter_mut().flatten() {
            if slot.alarm == UNKNOWN {
                slot.alarm = slot.see(&wake_at).unwrap_or(Timestamp::MAX);
            }
            if slot.alarm < Timestamp::MAX {
                armed.push((slot.alarm, *key));
            }
        }
        armed
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (UserKey, User)> + '_ {
        self.tables.iter().flatten().map(|(key, slot)| (*key, *slot.user()))
    }

    /// Bytes that a user takes at rest, its table entry included.
    #[must_use]
    pub fn bytes(&self, key: UserKey) -> usize {
        self.slot(key).map_or(0, |slot| slot.packed().len()) + size_of::<(UserKey, Slot)>()
    }
}

/// A user as a checkpoint has it.
#[derive(Debug)]
struct Kept {
    alarm: Timestamp,
    packed: Box<[u8]>,
}

impl From<&Slot> for Kept {
    fn from(slot: &Slot) -> Self {
        Self { alarm: slot.alarm, packed: slot.packed().into() }
    }
}

/// How far a checkpoint has come: by table, and in it by key. A user that changes before it was reached
/// is kept as it was, and one that is new meanwhile is kept as missing, so what the walk finds is the
/// state in which it began.
#[derive(Debug, Default)]
pub struct Walk {
    shard: usize,
    /// The keys of the table under way that were not yet reached, the last first.
    keys: Option<Vec<UserKey>>,
    /// The last key that was reached in it.
    reached: Option<UserKey>,
    before: BTreeMap<(usize, UserKey), Option<Kept>>,
}

impl Walk {
    fn has_passed(&self, key: UserKey) -> bool {
        let shard = key.shard();
        shard < self.shard || (shard == self.shard && self.reached.is_some_and(|last| key <= last))
    }
}

impl Users {
    /// Begins to walk over all users as they are now.
    pub fn begin_walk(&mut self) {
        self.walk = Some(Box::default());
    }

    /// Gives up the walk.
    pub fn end_walk(&mut self) {
        self.walk = None;
    }

    /// Walks on, over at most `most` users. Whether there are more.
    pub fn walk_on(&mut self, most: usize, see: impl FnMut(UserKey, Timestamp, &[u8])) -> bool {
        let Some(mut walk) = self.walk.take() else { return false };
        let more = self.walk_by(&mut walk, most, see);
        self.walk = more.then_some(walk);
        more
    }

    /// The same, of a walk that nothing changes under.
    pub fn walk_by(
        &self,
        walk: &mut Walk,
        most: usize,
        mut see: impl FnMut(UserKey, Timestamp, &[u8]),
    ) -> bool {
        let mut seen = 0;
        while let Some(table) = self.tables.get(walk.shard) {
            let Walk { shard, keys, reached, before } = walk;
            let keys = keys.get_or_insert_with(|| {
                let changed = (*shard, UserKey(0))..=(*shard, UserKey(u64::MAX));
                let gone = before.range(changed).map(|((_, key), _)| *key);
                let mut keys: Vec<UserKey> = table.keys().copied().chain(gone).collect();
                keys.sort_unstable_by(|one, other| other.cmp(one));
                keys.dedup();
                keys
            });
            while let Some(key) = keys.pop() {
                *reached = Some(key);
                match before.remove(&(*shard, key)) {
                    Some(Some(kept)) => see(key, kept.alarm, &kept.packed),
                    Some(None) => {}
                    None => {
                        let Some(slot) = table.get(&key) else { continue };
                        see(key, slot.alarm, &slot.packed());
                    }
                }
                seen += 1;
                if seen >= most {
                    return true;
                }
            }
            // Who is new in this table since its keys were taken.
            while before.first_key_value().is_some_and(|((of, _), _)| of == shard) {
                before.pop_first();
            }
            *walk = Walk { shard: *shard + 1, before: std::mem::take(before), ..Walk::default() };
        }
        false
    }

    /// Keeps a user that is about to change for the walk that is under way.
    fn keep(&mut self, key: UserKey) {
        let Some(walk) = &mut self.walk else { return };
        if walk.has_passed(key) {
            return;
        }
        let slot = self.tables.get(key.shard()).and_then(|table| table.get(&key));
        walk.before.entry((key.shard(), key)).or_insert_with(|| slot.map(Kept::from));
    }

    /// Puts a user back as a walk saw it.
    pub fn put_back(&mut self, key: u64, alarm: Timestamp, packed: &[u8]) {
        let key = UserKey(key);
        let slot = Slot { rest: Rest::Packed(packed.into()), alarm };
        let Some(table) = self.tables.get_mut(key.shard()) else { return };
        self.count += usize::from(table.insert(key, slot).is_none());
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
    buffer.push(if user.messages.is_empty() { 0 } else { WAITING });
    postcard::to_extend(user, buffer).expect("a user can be packed")
}

/// The user of these bytes.
///
/// # Panics
///
/// Where they are not what [`pack`] of this program wrote: what comes from outside has a checksum.
#[must_use]
fn unpack(bytes: &[u8]) -> User {
    let user = bytes.get(1..).map(postcard::from_bytes);
    user.and_then(Result::ok).expect("what this program packed can be unpacked")
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

    /// Whatever happens to users while a walk is under way, it sees those that were there when it began,
    /// as they were then, once each.
    #[test]
    fn a_walk_sees_the_users_it_began_with() {
        for seed in 1..200_u64 {
            let mut number = seed;
            let mut below = |most: u64| {
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (number >> 33) % most
            };
            let mut users = Users::default();
            let change = |users: &mut Users, below: &mut dyn FnMut(u64) -> u64| {
                let mut user = user(&format!("tel:+1514555{:04}", below(60)));
                let key = users.key(&user.address);
                match below(6) {
                    0 => users.drop(key),
                    1 => users.set_alarm(key, Timestamp::from_millis(below(9).cast_signed())),
                    2 => users.open(key, &user.address).next_place += 1,
                    3 => users.pack_oldest(),
                    4 => {
                        let before = users.before(key);
                        users.change(key).into_iter().for_each(|there| there.next_place += 1);
                        (0..below(3)).for_each(|_| users.pack_oldest());
                        users.undo(key, before);
                    }
                    _ => {
                        user.memory_full_step = u32::try_from(below(9)).unwrap();
                        users.put(key, user);
                    }
                }
            };
            let everybody = |users: &Users| {
                let mut seen = Vec::new();
                users.walk_by(&mut Walk::default(), usize::MAX, |key, alarm, packed| {
                    seen.push((key, alarm, packed.to_vec()));
                });
                seen
            };
            for _ in 0..100 {
                change(&mut users, &mut below);
            }
            let expected = everybody(&users);
            assert_eq!(expected.len(), users.len());
            let mut seen = Vec::new();
            users.begin_walk();
            while users.walk_on(1 + usize::try_from(below(5)).unwrap(), |key, alarm, packed| {
                seen.push((key, alarm, packed.to_vec()));
            }) {
                for _ in 0..below(20) {
                    change(&mut users, &mut below);
                }
            }
            assert_eq!(seen, expected, "seed {seed}");
        }
    }
}
