//! What holds whatever happens: `rules.md` I-1 to I-12, L-4 to L-7, L-11 to L-13, TM-1, TM-7.
//!
//! Goal: no order of facts, however odd, makes the rules break one of their own promises. Method: a
//! world of one user from a seed, thousands of them; after each step the laws of `laws/check.rs`, and
//! the state against a second reading of 3.6.0 in `laws/naive.rs`.
//!
//! A failure names its seed. `DEFERD_SEED=n cargo test --test laws` replays that one, step by step;
//! `DEFERD_SEEDS=n` sets how many are walked.

#![allow(clippy::wildcard_enum_match_arm, reason = "a law is about the events that it names")]

#[cfg(test)]
#[path = "laws/check.rs"]
mod check;
#[cfg(test)]
#[path = "laws/naive.rs"]
mod naive;
#[cfg(test)]
#[path = "laws/order.rs"]
mod order;
#[cfg(test)]
#[path = "laws/random.rs"]
mod random;
#[cfg(test)]
#[path = "laws/world.rs"]
mod world;

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use deferd::domain::decide::step;

    use crate::check::{Laws, Step};
    use crate::order::{hope_wins_in_either_order, order_and_repeats_do_not_matter};
    use crate::world::World;

    /// No life ends later than this after the last fact: the longest lifetime, and copies after it.
    const STEPS: usize = 20_000;

    #[test]
    fn laws_hold_whatever_happens() {
        if let Some(seed) = number("DEFERD_SEED") {
            return walk(seed, true);
        }
        over_seeds(seeds(), |seed| walk(seed, false));
    }

    #[test]
    fn order_and_repeats_of_facts_do_not_matter() {
        match number("DEFERD_SEED") {
            Some(seed) => order_and_repeats_do_not_matter(seed),
            None => over_seeds(seeds(), order_and_repeats_do_not_matter),
        }
    }

    #[test]
    fn hope_wins_within_the_tolerance_in_either_order() {
        match number("DEFERD_SEED") {
            Some(seed) => hope_wins_in_either_order(seed),
            None => over_seeds(seeds(), hope_wins_in_either_order),
        }
    }

    /// One world from its beginning to its end: all that is told, then alarms until none is set.
    fn walk(seed: u64, aloud: bool) {
        let mut world = World::new(seed);
        let mut laws = Laws::new(seed.is_multiple_of(8) || aloud);
        if aloud {
            println!("{:#?}", world.policy);
        }
        for steps in 0.. {
            assert!(steps < STEPS, "liveness: it never ends; waiting: {:?}", world.user);
            let Some(input) = world.next() else { break };
            let before = world.user.clone();
            if aloud {
                println!("{} {input:?}", world.at);
            }
            let outcome = step(&mut world.user, &input, world.at, &world.policy)
                .map(|decided| decided.events);
            if aloud {
                println!("    {outcome:?}");
            }
            let commands = laws.hold(&Step {
                before: &before,
                after: &world.user,
                policy: &world.policy,
                input: &input,
                at: world.at,
                outcome: &outcome,
            });
            for command in &commands {
                world.react(command);
            }
        }
        all_is_over(&world);
    }

    /// Liveness: with no more facts every message ends, and then memory does (T-22, L-11).
    fn all_is_over(world: &World) {
        let (user, policy) = (&world.user, &world.policy);
        assert!(user.messages.is_empty(), "liveness: {:?} never ends", user.messages);
        assert!(user.owed.is_empty(), "liveness: {:?} stays owed", user.owed);
        assert!(user.sms_slot.is_none(), "liveness: the slot stays taken: {:?}", user.sms_slot);
        let stays = user.prefs.is_some()
            || user.hold.is_some()
            || user.imsi.is_some()
            || user.alias_msisdn.is_some();
        let later = world.at + Duration::from_secs(40 * 86_400);
        let forgets = user.is_forgettable(later, policy);
        assert!(stays || forgets, "L-11: never forgotten: {:?}", user.forget(later, policy));
        assert!(!stays || !forgets, "T-22: forgotten with preferences: {user:?}");
    }

    /// Walks the seeds on every core, and fails with the first seed that did.
    fn over_seeds(seeds: u64, walk: impl Fn(u64) + Sync) {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let (next, failed) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        std::thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds || failed.load(Ordering::Relaxed) != u64::MAX {
                            return;
                        }
                        if catch_unwind(AssertUnwindSafe(|| walk(seed))).is_err() {
                            failed.fetch_min(seed, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let failed = failed.into_inner();
        assert!(
            failed == u64::MAX,
            "a law broke: DEFERD_SEED={failed} cargo test --test laws -- --nocapture replays it"
        );
    }

    fn seeds() -> u64 {
        number("DEFERD_SEEDS").unwrap_or(10_000)
    }

    fn number(name: &str) -> Option<u64> {
        let value = std::env::var(name).ok()?;
        Some(value.parse().unwrap_or_else(|_| panic!("{name} is `{value}`, expected a number")))
    }
}
