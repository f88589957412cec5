//! The daemon on Kafka: members of the consumer group, each with the partitions that the group gives it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;

use super::Backend;
use super::embedded::restoring;
use super::keeper::Keeper;
use super::seen::{Report, Seen};
use super::shards::{Pending, Shards, World, lock};
use super::signals::{Order, Orders};
use crate::cli::clock::{SteadyClock, Stopwatch};
use crate::cli::config::{Config, LostInputs};
use crate::cli::measures::{self, Measures, Registry, Sources};
use crate::cli::{BadConfig, cluster};
use crate::domain::policy::Policy;
use crate::edge::http::Feeds;
use crate::engine::checkpoint::{self, Chunk};
use crate::engine::intake::Intake;
use crate::engine::partition::Partition;
use crate::engine::ports::{Clock, LogError, Store};
use crate::engine::shard::{self, Ask, Asks, Desks, Hand, Health};
use crate::engine::state::State;
use crate::engine::worker::{Settings, Worker};
use crate::log::embedded::Lock;
use crate::log::kafka::{Change, Cluster, Cost, KafkaJournals, Lost, Member, Options, Post, Round};
use crate::store::DiskStore;

/// Users written between two steps, as long as a checkpoint is under way.
const SLICE: usize = 1000;
/// How often it is looked up how many inputs wait.
const LAG_EVERY: Duration = Duration::from_secs(2);
/// What is waited for until the group has spoken.
const JOINING: &str = "the group has not given out its partitions yet";

type GroupWorker = Worker<Member<SteadyClock>, SteadyClock>;

/// Which shard of this process holds a partition, as its way to be asked.
type Holders = Arc<Mutex<BTreeMap<u32, Hand>>>;

/// The cluster that was asked, and the folder that is ours.
pub(super) struct Claim {
    pub(super) path: PathBuf,
    cluster: Cluster,
    partitions: u32,
    lock: Lock,
}

/// Looks whether the cluster is as it must be, and claims the folder for checkpoints and switches.
///
/// # Errors
///
/// [`BadConfig`]: the configuration cannot be used; else the cluster cannot, and why.
pub(super) fn claim(config: &Config) -> anyhow::Result<Claim> {
    let cluster = cluster(config).map_err(BadConfig)?;
    let partitions = cluster.check_start()?;
    let path = config.run.data_dir.join(format!("{}-{}", cluster.group, cluster.instance));
    let lock = Lock::claim(&path)?;
    Ok(Claim { path, cluster, partitions, lock })
}

/// Joins the group with every shard.
///
/// # Errors
///
/// A client cannot be made.
pub(super) fn open(world: &World<'_>, claim: Claim) -> anyhow::Result<Backend> {
    let Claim { path, cluster, partitions, lock: claimed } = claim;
    let identity = cluster.identity()?;
    // Given up a little before whoever waits for it does.
    let patience = Duration::from_secs(world.config.http.timeout_seconds.into());
    let post = Arc::new(Post::new(&cluster, patience.saturating_sub(Duration::from_secs(1)))?);
    let holders = Holders::default();
    let hands = (0..partitions).map(|_| {
        let holders = Arc::clone(&holders);
        let hand: Hand = Arc::new(move |partition, ask| {
            let holder = lock(&holders).get(&partition).cloned();
            if let Some(holder) = holder {
                holder(partition, ask);
            }
        });
        hand
    });
    let mut shards = Shards::new(hands.collect(), &world.settings.policy);
    let sources = Sources::default();
    let keys = &world.config.kafka;
    for number in 0..keys.shards {
        let options = Options {
            shard: number,
            commit_interval: Duration::from_millis(keys.commit_milliseconds.into()),
            lost: match keys.lost_inputs {
                LostInputs::Stop => Lost::Stop,
                LostInputs::Skip => Lost::Skip,
            },
        };
        let log = Member::join(&cluster, options, world.clock.clone())?;
        let joining = format!("{JOINING} (shard {number})");
        shards.pending.add(&joining);
        let (hand, questions) = shard::to_shard(Arc::new(|| {}));
        let health = Arc::new(Health::default());
        let crew = Crew {
            shard: number,
            joining,
            identity: identity.clone(),
            directory: path.clone(),
            clock: world.clock.clone(),
            every: Every {
                checkpoint: Duration::from_secs(keys.checkpoint_seconds.into()),
                round: (keys.snapshot_seconds > 0)
                    .then(|| Duration::from_secs(keys.snapshot_seconds.into())),
            },
            hand,
            holders: Arc::clone(&holders),
            pending: Arc::clone(&shards.pending),
            orders: world.orders.clone(),
            policy: shards.policy(),
            places: (0..partitions).map(|number| shards.place(number)).collect(),
            registry: world.registry.clone(),
            crew: BTreeMap::new(),
            parked: BTreeMap::new(),
            cost: Cost::default(),
            lags: (BTreeMap::new(), Stopwatch::start()),
        };
        let measures = Measures::new(world.registry, &sources, world.clock.clone());
        let (settings, clock) = (world.settings.clone(), world.clock.clone());
        let (orders, own) = (world.orders.clone(), Arc::clone(&health));
        let settings = Settings { partitions: Some(partitions), ..settings };
        shards.spawn(format!("shard-{number}"), health, move || {
            let worker = Worker::new(log, clock, settings);
            crew.run(worker, &questions, &own, measures, &orders);
        })?;
    }
    Ok(Backend {
        desks: Arc::new(Held { asks: shards.asks.clone(), holders }),
        shards: Arc::new(shards),
        intake: Arc::clone(&post) as Arc<dyn Intake>,
        journals: Arc::new(KafkaJournals::new(&cluster)),
        feeds: Feeds::Topics(cluster.prefix.into()),
        inboxes: None,
        post: Some(post),
        _lock: claimed,
    })
}

/// The partitions that shards of this process hold now.
struct Held {
    asks: Vec<Asks>,
    holders: Holders,
}

impl Desks for Held {
    fn partitions(&self) -> u32 {
        u32::try_from(self.asks.len()).unwrap_or(u32::MAX)
    }

    fn of(&self, partition: u32) -> Option<Asks> {
        let is_here = lock(&self.holders).contains_key(&partition);
        self.asks.get(partition as usize).filter(|_| is_here).cloned()
    }
}

/// How often a state is written down.
#[derive(Clone, Copy, Debug)]
struct Every {
    checkpoint: Duration,
    /// A round of snapshots; `None`: never.
    round: Option<Duration>,
}

/// What a shard does between its steps.
struct Crew {
    shard: u32,
    joining: String,
    /// What tells this cluster and prefix from all others.
    identity: String,
    directory: PathBuf,
    clock: SteadyClock,
    every: Every,
    /// How this shard is asked.
    hand: Hand,
    holders: Holders,
    pending: Arc<Pending>,
    orders: Orders,
    /// The policy for partitions that are taken on.
    policy: Arc<Mutex<Policy>>,
    places: Vec<Arc<Mutex<Seen>>>,
    registry: Registry,
    crew: BTreeMap<u32, Hold>,
    /// Revoked, and perhaps given to us again at once: its journal is followed from where we stood.
    parked: BTreeMap<u32, Partition>,
    cost: Cost,
    /// How many inputs wait, and when that was looked up.
    lags: (BTreeMap<u32, u64>, Stopwatch),
}

/// A partition that this shard holds.
struct Hold {
    keeper: Keeper,
    report: Report,
    /// Since when it is being restored; `None`: it decides.
    restoring: Option<(Stopwatch, u64, Stopwatch)>,
    /// What is being written.
    writing: Writing,
    /// The `seq` of the last checkpoint, and when it was begun.
    last: (u64, Stopwatch),
    /// The last whole round of snapshots, if it is known, and when it ended.
    round: (Option<Round>, Stopwatch),
}

/// What is being written of a state: one thing at a time.
#[derive(Clone, Copy, Debug)]
enum Writing {
    Nothing,
    /// To this machine's disk: it may be lost.
    Checkpoint,
    /// To the cluster, for whoever takes the partition over.
    Snapshot(Round),
}

impl Crew {
    fn run(
        mut self,
        mut worker: GroupWorker,
        questions: &Receiver<(u32, Ask)>,
        health: &Health,
        mut measures: Measures<SteadyClock>,
        orders: &Orders,
    ) {
        let shard = self.shard;
        let ran = shard::run(&mut worker, questions, health, &mut measures, |worker| {
            self.tidy(worker).unwrap_or_else(|error| {
                orders.give(Order::Failed(format!("shard {shard}: {error:#}")));
                false
            })
        });
        match ran {
            Ok(()) => self.finish(worker),
            Err(error) => orders.give(Order::Failed(format!("shard {shard}: {error}"))),
        }
    }

    /// Does a little of everything. Whether there is more to do at once.
    fn tidy(&mut self, worker: &mut GroupWorker) -> anyhow::Result<bool> {
        for change in worker.log().take_changes() {
            match change {
                Change::Revoked { partitions, lost } => {
                    tracing::info!(shard = self.shard, ?partitions, lost, "partitions revoked");
                    self.registry
                        .counter(&measures::REBALANCES, &[&self.shard.to_string()])
                        .increment(1);
                    self.pending.add(&self.joining);
                    for number in partitions {
                        self.let_go(worker, number);
                    }
                }
                Change::Assigned(partitions) => {
                    tracing::info!(shard = self.shard, ?partitions, "partitions assigned");
                    self.parked.retain(|number, _| partitions.contains(number));
                    worker.set_policy(lock(&self.policy).clone());
                    for number in partitions {
                        self.take_on(worker, number)?;
                    }
                    self.done(&self.joining.clone());
                }
            }
        }
        for (number, why) in worker.log().hanging() {
            self.pending.explain(&restoring(number), why);
        }
        let mut goes_on = false;
        let mut rounds = Vec::new();
        let now = self.clock.now();
        if self.lags.1.elapsed() >= LAG_EVERY {
            self.lags = (worker.log().lags(), Stopwatch::start());
        }
        for partition in worker.partitions_mut() {
            let Some(hold) = self.crew.get_mut(&partition.number) else { continue };
            if partition.is_whole() {
                if let Some((watch, from, _)) = hold.restoring.take() {
                    restored(partition, watch, from, &self.registry);
                    lock(&self.holders).insert(partition.number, Arc::clone(&self.hand));
                    if self.pending.done(&restoring(partition.number)) {
                        self.orders.give(Order::Open);
                    }
                }
                goes_on |= hold.keep(partition, &self.identity, &self.every);
                let wants = hold.round_under_way(partition);
                rounds.extend(wants.map(|(round, chunks)| (partition.number, round, chunks)));
                let (kept, lag) = (hold.keeper.kept(), self.lags.0.get(&partition.number));
                hold.report.go_on(partition, now, |seen| {
                    seen.kept = kept;
                    seen.lag = lag.copied().unwrap_or_default();
                });
            } else if let Some((_, from, said)) = &mut hold.restoring
                && said.elapsed() >= Duration::from_secs(2)
            {
                *said = Stopwatch::start();
                let (partition, seq) = (partition.number, partition.state().next_seq);
                tracing::info!(partition, replayed = seq - *from, seq, "restoring");
            }
        }
        for (number, mut round, chunks) in rounds {
            let kept = worker.log().keep_chunks(number, &mut round, &chunks);
            if kept.is_err() {
                // The log has dropped what was open: each goes on from its journal.
                worker.partitions_mut().iter_mut().for_each(Partition::give_up);
            }
            if let Some(hold) = self.crew.get_mut(&number) {
                hold.kept(number, round, kept, chunks.iter().any(|chunk| chunk.is_last));
            }
        }
        self.measure(worker.log().cost());
        Ok(goes_on)
    }

    fn done(&self, what: &str) {
        if self.pending.done(what) {
            self.orders.give(Order::Open);
        }
    }

    fn let_go(&mut self, worker: &mut GroupWorker, number: u32) {
        lock(&self.holders).remove(&number);
        self.pending.done(&restoring(number));
        if let Some(partition) = worker.let_go(number) {
            self.parked.insert(number, partition);
        }
        if let Some(hold) = self.crew.remove(&number) {
            hold.report.end();
            hold.keeper.finish();
        }
    }

    /// Takes on a partition: as we left it, or from its checkpoint, or from the start of its journal.
    fn take_on(&mut self, worker: &mut GroupWorker, number: u32) -> anyhow::Result<()> {
        self.pending.add(&restoring(number));
        let store = self.store(number);
        let mut round = None;
        let partition = match self.parked.remove(&number) {
            Some(parked) => parked,
            None => {
                let (state, last) = self.kept_state(worker, number, &store);
                round = last;
                Partition::new(number, state)
            }
        };
        let from = partition.state().next_seq;
        let place = self.places.get(number as usize).cloned().unwrap_or_default();
        let hold = Hold {
            keeper: Keeper::start(number, store, None, self.clock.clone())
                .context("cannot keep checkpoints")?,
            report: Report::to(place),
            restoring: Some((Stopwatch::start(), from, Stopwatch::start())),
            writing: Writing::Nothing,
            last: (from, Stopwatch::start()),
            round: (round, Stopwatch::start()),
        };
        self.crew.insert(number, hold);
        worker.take_on(partition);
        Ok(())
    }

    fn store(&self, number: u32) -> DiskStore {
        DiskStore::new(self.directory.join(number.to_string()).join("checkpoint"))
    }

    /// What is known of a partition beside its journal: the checkpoint on this machine, else the newest
    /// snapshot, if they are of this journal; else nothing.
    fn kept_state(
        &self,
        worker: &mut GroupWorker,
        number: u32,
        store: &DiskStore,
    ) -> (State, Option<Round>) {
        let mut store = store.clone();
        let identity = identity(&self.identity, number);
        match checkpoint::load(&mut store, identity) {
            Ok(Some(state)) if is_usable(worker, number, &state, "checkpoint") => {
                return (state, None);
            }
            Ok(Some(_)) => store.discard(),
            Ok(None) => {}
            Err(why) => tracing::warn!(partition = number, why, "the checkpoint was dropped"),
        }
        match worker.log().snapshot(number, identity) {
            Ok(Some((round, state))) if is_usable(worker, number, &state, "snapshot") => {
                tracing::info!(partition = number, seq = state.next_seq, "a snapshot was read");
                (state, Some(round))
            }
            Ok(_) => (State::default(), None),
            Err(fault) => {
                tracing::warn!(partition = number, "no snapshot can be read: {fault}");
                (State::default(), None)
            }
        }
    }

    fn measure(&mut self, cost: Cost) {
        let before = std::mem::replace(&mut self.cost, cost);
        let shard = self.shard.to_string();
        let count = |measure, now: u64, before: u64| {
            if now > before {
                self.registry.counter(measure, &[&shard]).increment(now - before);
            }
        };
        count(&measures::TRANSACTIONS, cost.commits, before.commits);
        count(&measures::ABORTS, cost.aborts, before.aborts);
        count(&measures::ROTATIONS, cost.rotations, before.rotations);
    }

    /// The last checkpoints, so that the next start has little to replay.
    fn finish(mut self, mut worker: GroupWorker) {
        for partition in worker.partitions_mut() {
            let Some(mut hold) = self.crew.remove(&partition.number) else { continue };
            let seq = partition.state().next_seq;
            let is_due = matches!(hold.writing, Writing::Checkpoint) || seq > hold.last.0;
            if partition.is_whole() && is_due && hold.keeper.begin_last(seq) {
                partition.begin_checkpoint(identity(&self.identity, partition.number));
                while partition.state().is_cut() {
                    hold.keeper.take_all(partition.checkpoint_slice(SLICE));
                }
            }
            hold.keeper.finish();
        }
    }
}

impl Hold {
    /// Begins a round of snapshots or a checkpoint when one is due; goes on with a checkpoint. Whether there
    /// is more to write at once.
    fn keep(&mut self, partition: &mut Partition, whose: &str, every: &Every) -> bool {
        let seq = partition.state().next_seq;
        if matches!(self.writing, Writing::Nothing) {
            let last = self.round.0.map_or(0, |round| round.seq());
            let (checkpoint, identity) = (&self.last, identity(whose, partition.number));
            if every.round.is_some_and(|every| self.round.1.elapsed() >= every) && seq > last {
                self.writing = Writing::Snapshot(Round::begin(seq, self.round.0));
                partition.begin_checkpoint(identity);
            } else if seq > checkpoint.0
                && checkpoint.1.elapsed() >= every.checkpoint
                && self.keeper.begin(seq, false)
            {
                self.writing = Writing::Checkpoint;
                self.last = (seq, Stopwatch::start());
                partition.begin_checkpoint(identity);
            }
        }
        if matches!(self.writing, Writing::Checkpoint) && self.keeper.has_room() {
            let chunks = partition.checkpoint_slice(SLICE);
            if chunks.iter().any(|chunk| chunk.is_last) {
                self.writing = Writing::Nothing;
            }
            self.keeper.take(chunks);
        }
        match self.writing {
            Writing::Nothing => false,
            Writing::Checkpoint => self.keeper.has_room(),
            Writing::Snapshot(_) => true,
        }
    }

    /// The next chunks of a round of snapshots; a transaction for each 64 KiB would be too many.
    fn round_under_way(&self, partition: &mut Partition) -> Option<(Round, Vec<Chunk>)> {
        let Writing::Snapshot(round) = self.writing else { return None };
        let mut chunks = Vec::new();
        while chunks.len() < 4 && partition.state().is_cut() {
            chunks.extend(partition.checkpoint_slice(SLICE));
        }
        Some((round, chunks))
    }

    /// What became of chunks of a round.
    fn kept(&mut self, partition: u32, round: Round, kept: Result<(), LogError>, is_last: bool) {
        match kept {
            Ok(()) if !is_last => self.writing = Writing::Snapshot(round),
            Ok(()) => {
                self.writing = Writing::Nothing;
                self.round = (Some(round), Stopwatch::start());
                tracing::debug!(partition, seq = round.seq(), "a round of snapshots is whole");
            }
            Err(error) => {
                // The one before it stands; the next one is due in its time.
                self.writing = Writing::Nothing;
                self.round.1 = Stopwatch::start();
                tracing::warn!(partition, "a round of snapshots was given up: {error}");
            }
        }
    }
}

/// Whether a state is of the journal that is there.
fn is_usable(worker: &mut GroupWorker, partition: u32, state: &State, what: &str) -> bool {
    let seq = state.next_seq;
    match worker.log().holds(partition, state) {
        Ok(true) => return true,
        Ok(false) => tracing::warn!(partition, seq, "the {what} is of another journal: dropped"),
        Err(fault) => tracing::warn!(partition, seq, "the {what} cannot be used: {fault}"),
    }
    false
}

/// What a checkpoint says it is of.
fn identity(whose: &str, partition: u32) -> u128 {
    crate::engine::state::identity(whose, &partition.to_string())
}

fn restored(partition: &Partition, watch: Stopwatch, from: u64, registry: &Registry) {
    let (number, took) = (partition.number, watch.elapsed());
    let (users, seq) = (partition.state().users.len(), partition.followed_to());
    registry.gauge(&measures::RESTORE, &[&number.to_string()]).set(took.as_secs_f64());
    let milliseconds = took.as_millis();
    tracing::info!(partition = number, users, replayed = seq - from, seq, milliseconds, "restored");
}
