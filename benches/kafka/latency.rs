//! How long until others can read what came of an input, at a rate that leaves room.

use std::time::{Duration, Instant};

use deferd::domain::time::Timestamp;
use deferd::engine::ports::Clock;
use deferd::log::kafka::Topic;
use deferd::record::journal::Record;
use rdkafka::Offset;
use rdkafka::message::Message;
use rdkafka::producer::Producer;

use crate::loops::{Case, ours_once};
use crate::measure::cpu_seconds;
use crate::ours::{self, Time};
use crate::place::{Broker, Input, Place, inputs};
use crate::raw;
use crate::stream::{Real, stream_from};
use crate::window::Window;

const RATE: u32 = 5000;
const SECONDS: u32 = 20;
/// Inputs come in handfuls, as from a probe that keeps no more than a moment of them.
const TICK: Duration = Duration::from_millis(1);
const LINGER: u32 = 2;
/// Left out at the beginning: caches and connections are cold.
const COLD: usize = 2 * RATE as usize;
const USERS: u64 = 1_000_000;
/// The stream is made, and the group is formed, in this time.
const AHEAD: Duration = Duration::from_secs(6);
const PATIENCE: Duration = Duration::from_secs(5);

/// The rows for these commit intervals.
pub(crate) fn report(broker: &Broker, intervals: &[Duration]) {
    let title = format!("at {RATE} inputs a second");
    println!("\n{title:<30}{:>10}{:>10}{:>14}", "p50 ms", "p99 ms", "CPU µs each");
    for interval in intervals {
        let milliseconds = interval.as_millis();
        let named = |name: &str| Place::new(broker, &format!("{name}-{milliseconds}"), 1);
        // What the raw loop is to write: as much as deferd does for such a stream.
        let (_, inputs) = live();
        let place = named("shape");
        place.fill(&inputs);
        let case = Case { shards: 1, interval: *interval, least: 0.0 };
        let (_, shapes) = ours_once(&place, broker, case, &inputs);
        drop(place);

        let place = named("raw");
        let journal = place.raw(Topic::Journal);
        let latencies = run(broker, &place, &journal, offset_of_raw, |window| {
            raw::shard(&place, 0, *interval, &shapes, window);
        });
        row(&format!("{milliseconds} ms: raw loop"), latencies);
        let place = named("live");
        let journal = place.cluster.topic(Topic::Journal);
        let latencies = run(broker, &place, &journal, offset_of_ours, |window| {
            ours::shard(&place, 0, *interval, Time::Real, window);
        });
        row(&format!("{milliseconds} ms: deferd"), latencies);
    }
}

fn row(name: &str, (mut latencies, cpu): (Vec<Duration>, f64)) {
    latencies.sort();
    let at = |percent: usize| {
        let found = latencies.get(latencies.len() * percent / 100);
        found.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    };
    println!("{name:<30}{:>10.1}{:>10.1}{cpu:>14.2}", at(50), at(99));
}

/// A stream of what is about to happen, and when it begins.
fn live() -> (Timestamp, Vec<Input>) {
    let start = Real.now() + AHEAD;
    let pace = Duration::from_secs(1) / RATE;
    let stream = stream_from(start, pace, (RATE * SECONDS) as usize, USERS, 1);
    (start, inputs(&stream, 1))
}

/// Latencies from when an input was due, so that what held one up counts for those behind it too; and CPU
/// microseconds an input of this process, the bench's own producer and reader included.
fn run(
    broker: &Broker,
    place: &Place,
    journal: &str,
    offset_of: fn(&[u8]) -> Option<usize>,
    shard: impl FnOnce(&Window) + Send,
) -> (Vec<Duration>, f64) {
    let (start, inputs) = live();
    let window = &Window::new(broker.process(), 1, inputs.len());
    std::thread::scope(|scope| {
        scope.spawn(|| shard(window));
        window.wait_until_open();
        let until = u64::try_from(start.as_millis() - Real.now().as_millis());
        let began = Instant::now() + Duration::from_millis(until.expect("AHEAD is enough"));
        let due = move |offset: usize| began + Duration::from_secs(1) * offset as u32 / RATE;
        let cpu = cpu_seconds();
        let inputs = &inputs;
        let producing = scope.spawn(move || {
            let producer = place.inputs_producer(LINGER);
            for (offset, input) in inputs.iter().enumerate() {
                while due(offset) > Instant::now() {
                    producer.poll(Duration::ZERO);
                    std::thread::sleep(TICK);
                }
                place.send(&producer, input);
            }
            producer.flush(PATIENCE).expect("they are written");
        });
        let reader = place.reader(journal, Offset::Beginning);
        let mut latencies = Vec::with_capacity(inputs.len());
        while latencies.len() < inputs.len() {
            let Some(message) = reader.poll(PATIENCE + AHEAD) else {
                panic!("nothing came after {} inputs", latencies.len());
            };
            let message = message.expect("a record");
            // Records of alarms, which the raw loop writes for the input before them, are nobody's wait.
            let offset = offset_of(message.payload().unwrap_or_default());
            if offset == Some(latencies.len()) {
                latencies.push(due(latencies.len()).elapsed());
            }
        }
        producing.join().expect("the producer");
        let cpu = (cpu_seconds() - cpu) * 1e6 / inputs.len() as f64;
        latencies.drain(..COLD);
        (latencies, cpu)
    })
}

/// The first octets, as the raw loop writes them.
fn offset_of_raw(bytes: &[u8]) -> Option<usize> {
    let octets = bytes.first_chunk().expect("an offset");
    usize::try_from(i64::from_le_bytes(*octets)).ok()
}

/// The place in the journal.
fn offset_of_ours(bytes: &[u8]) -> Option<usize> {
    let record = Record::read(bytes).expect("our own journal");
    record.pos.as_deref()?.rsplit('/').next()?.parse().ok()
}
