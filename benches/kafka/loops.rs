//! How many inputs a second, beside a loop that decides nothing.

use std::time::Duration;

use crate::measure::target;
use crate::ours::{self, Shape, Time};
use crate::place::{Broker, Input, Place};
use crate::raw;
use crate::window::{Cost, Window};

/// What is compared: so many shards, and how long a transaction takes in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) shards: u32,
    pub(crate) interval: Duration,
    /// The least part of the raw loop's rate.
    pub(crate) least: f64,
}

/// The rows of a case; each round has topics of its own, and who goes first in it alternates.
pub(crate) fn report(broker: &Broker, case: Case, inputs: &[Input], rounds: usize) {
    let Case { shards, interval, least } = case;
    let named = |round: &str| format!("{shards}-{}-{round}", interval.as_millis());
    // Before the first round everything is cold, and what the raw loop is to write is not known.
    let (_, shapes) =
        ours_once(&filled(broker, &named("warm"), case, inputs), broker, case, inputs);
    let (mut raws, mut deferds) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let place = filled(broker, &named(&round.to_string()), case, inputs);
        for raw_now in [round % 2 == 0, round % 2 != 0] {
            if raw_now {
                raws.push(raw_once(&place, broker, case, inputs, &shapes));
            } else {
                deferds.push(ours_once(&place, broker, case, inputs).0);
            }
        }
    }
    let milliseconds = interval.as_millis();
    let many = if shards == 1 { "one shard" } else { "two shards" };
    let name = |who: &str| format!("{many}, {milliseconds} ms: {who}");
    let raw = row(&name("raw loop"), &raws);
    let ours = row(&name("deferd"), &deferds);
    target(&format!("{many}, {milliseconds} ms, against raw"), ours.0 / raw.0, "x", least, true);
    let bytes: usize = shapes.iter().map(Shape::bytes).sum();
    let records: usize = shapes.iter().map(Shape::records).sum();
    let each = inputs.len() as f64;
    println!(
        "written for an input: {:.2} records, {:.0} bytes",
        records as f64 / each,
        bytes as f64 / each
    );
}

/// Heads the columns of [`report`].
pub(crate) fn header() {
    let columns = ["k/s", "CPU µs each", "broker's CPU", "commits"];
    println!("{:<30}{:>10}{:>14}{:>14}{:>10}", "", columns[0], columns[1], columns[2], columns[3]);
}

/// Prints a row; inputs a second and CPU an input, as the median of the rounds has them.
pub(crate) fn row(name: &str, costs: &[Cost]) -> (f64, f64) {
    let mut costs = costs.to_vec();
    costs.sort_by(|one, other| one.rate().total_cmp(&other.rate()));
    let cost = costs.get(costs.len() / 2).expect("a round");
    let each = |seconds: f64| seconds * 1e6 / cost.inputs as f64;
    let commits = cost.commits.map_or_else(String::new, |commits| commits.to_string());
    let (rate, cpu, broker) = (cost.rate(), each(cost.round.cpu), each(cost.broker));
    println!("{name:<30}{:>10.1}{cpu:>14.2}{broker:>14.2}{commits:>10}", rate / 1e3);
    (rate, cpu)
}

fn filled(broker: &Broker, name: &str, case: Case, inputs: &[Input]) -> Place {
    let place = Place::new(broker, name, case.shards);
    place.fill(inputs);
    place
}

/// A round of ours, and what it wrote, by partition.
pub(crate) fn ours_once(
    place: &Place,
    broker: &Broker,
    case: Case,
    inputs: &[Input],
) -> (Cost, Vec<Shape>) {
    let window = &Window::new(broker.process(), case.shards, inputs.len());
    let mut shapes = std::thread::scope(|scope| {
        let shard = |number| ours::shard(place, number, case.interval, Time::Logged, window);
        let shards: Vec<_> =
            (0..case.shards).map(|number| scope.spawn(move || shard(number))).collect();
        let joined = shards.into_iter().map(|shard| shard.join().expect("a shard"));
        joined.collect::<Vec<_>>()
    });
    shapes.sort_by_key(|(partition, _)| *partition);
    (window.cost(), shapes.into_iter().map(|(_, shape)| shape).collect())
}

/// A round of the raw loop.
fn raw_once(
    place: &Place,
    broker: &Broker,
    case: Case,
    inputs: &[Input],
    shapes: &[Shape],
) -> Cost {
    let window = &Window::new(broker.process(), case.shards, inputs.len());
    std::thread::scope(|scope| {
        for number in 0..case.shards {
            scope.spawn(move || raw::shard(place, number, case.interval, shapes, window));
        }
    });
    window.cost()
}
