//! How long a new owner needs until it knows what its partition's users wait for.

use std::time::{Duration, Instant};

use deferd::engine::partition::Partition;
use deferd::engine::state::State;
use deferd::engine::worker::{Settings, Worker};
use deferd::log::kafka::{
    Change, Cluster, Lost, Member, Next, Options, Reader, Round as Snapshot, Topic,
};

use crate::journals;
use crate::measure::{Round, cpu_seconds, median, timed};
use crate::place::{Broker, Place};
use crate::stream::Real;

const ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(10);
/// Of the state in its snapshot.
const IDENTITY: u128 = 1;
/// Users of a slice of it.
const SLICE: usize = 4000;

/// The rows: one partition, a message waiting for each of its users.
pub(crate) fn report(broker: &Broker, users: u64) {
    let place = Place::new(broker, "restore", 1);
    journals::write(&place, users);
    let (mut read, mut restored, mut last) = (Vec::new(), Vec::new(), None);
    for round in 0..ROUNDS {
        read.push(timed(|| read_only(&place.cluster)));
        let (cost, worker) = whole(&place, users, &format!("j{round}"), |_| State::default());
        restored.push(cost);
        last = Some(worker);
    }
    snapshot(last.as_mut().expect("a round"));
    drop(last);
    let from_snapshot = |member: &mut Member<Real>| {
        let newest = member.snapshot(0, IDENTITY).expect("the broker answers");
        newest.expect("a snapshot").1
    };
    let snapshots: Vec<_> =
        (0..ROUNDS).map(|n| whole(&place, users, &format!("s{n}"), from_snapshot).0).collect();
    println!(
        "\n{:<34}{:>8}{:>12}{:>14}",
        format!("restore of {users} users"),
        "s",
        "k/s",
        "CPU µs each"
    );
    row("the journal, only read", users, &read);
    row("from the journal alone", users, &restored);
    row("from a snapshot", users, &snapshots);
}

fn row(name: &str, users: u64, rounds: &[Round]) {
    let Round { wall, cpu } = median(rounds);
    let each = users as f64;
    println!("{name:<34}{wall:>8.2}{:>12.1}{:>14.2}", each / wall / 1e3, cpu * 1e6 / each);
}

/// Reads the journal through, and does nothing with it.
fn read_only(cluster: &Cluster) -> u64 {
    let mut reader = Reader::new(cluster, Topic::Journal).expect("a journal");
    reader.go_to(0, 0).expect("a partition");
    let mut bytes = 0;
    loop {
        match reader.next(PATIENCE).expect("the broker answers") {
            Next::Record(message) => bytes += message.bytes().unwrap_or_default().len() as u64,
            Next::End { .. } => return bytes,
            Next::Nothing => panic!("the journal has no end"),
        }
    }
}

/// Writes a round of snapshots, as the daemon does.
fn snapshot(worker: &mut Worker<Member<Real>, Real>) {
    let [partition] = worker.partitions_mut() else { panic!("one partition") };
    let mut round = Snapshot::begin(partition.state().next_seq, None);
    partition.begin_checkpoint(IDENTITY);
    let mut is_cut = true;
    while is_cut {
        let [partition] = worker.partitions_mut() else { panic!("one partition") };
        let chunks = partition.checkpoint_slice(SLICE);
        is_cut = partition.state().is_cut();
        worker.log().keep_chunks(0, &mut round, &chunks).expect("it is written");
    }
}

/// From when the group gives the partition until it can decide; `known`: what is known of it beside the
/// journal's tail.
fn whole(
    place: &Place,
    users: u64,
    name: &str,
    known: impl Fn(&mut Member<Real>) -> State,
) -> (Round, Worker<Member<Real>, Real>) {
    let group = format!("{}{name}", place.cluster.group);
    let cluster = Cluster { group, ..place.cluster.clone() };
    let options =
        Options { shard: 0, commit_interval: Duration::from_millis(100), lost: Lost::Stop };
    let member = Member::join(&cluster, options, Real).expect("a member of the group");
    let settings = Settings { partitions: Some(1), ..Settings::default() };
    let mut worker = Worker::new(member, Real, settings);
    let mut began = None;
    loop {
        worker.watched_step(Duration::from_millis(20), &mut ()).expect("a step");
        for change in worker.log().take_changes() {
            assert!(matches!(change, Change::Assigned(_)), "nobody else is in the group");
            began = Some((Instant::now(), cpu_seconds()));
            let state = known(worker.log());
            worker.take_on(Partition::new(0, state));
        }
        if let Some((wall, cpu)) = began
            && worker.partitions().iter().any(Partition::is_whole)
        {
            let round = Round { wall: wall.elapsed().as_secs_f64(), cpu: cpu_seconds() - cpu };
            assert_eq!(worker.state().users.len() as u64, users, "all of them");
            return (round, worker);
        }
    }
}
