//! The simplest rule as a Kafka Streams job (`benches/streams`), on the same topics and broker as deferd.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use deferd::log::kafka::Topic;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::loops::{Case, ours_once, row};
use crate::measure::{Round, cpu_seconds_of, target};
use crate::ours::Shape;
use crate::place::{Broker, Input, Place, inputs};
use crate::stream::Stream;
use crate::window::Cost;

const CASE: Case = Case { shards: 1, interval: Duration::from_millis(100), least: 0.0 };
/// What the JVM takes until it is warm is not measured: this much of the inputs.
const WARM: f64 = 0.4;
const PATIENCE: Duration = Duration::from_secs(300);
/// How often the group is asked how far it has come.
const ASKED: Duration = Duration::from_millis(20);
const TOPICS: [Topic; 2] = [Topic::Messages, Topic::Reachability];

/// Kills its process when it is dropped.
struct Job(Child);

impl Drop for Job {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The rows: the bench stream without its outcomes, of which the job knows nothing, in two topics.
pub(crate) fn report(broker: &Broker, stream: &Stream, rounds: usize) {
    let classpath = compiled();
    let mut inputs = inputs(stream, 1);
    inputs.retain_mut(|input| {
        let says = |word: &[u8]| input.bytes.windows(word.len()).any(|window| window == word);
        let is_message = says(b"cpm.message.submitted.v1");
        let is_outcome = says(b"cpm.delivery.outcome.v1");
        input.topic = if is_message { Topic::Messages } else { Topic::Reachability };
        !is_outcome
    });
    let (mut jobs, mut ours, mut delivered) = (Vec::new(), Vec::new(), (0, 0));
    for round in 0..rounds {
        let place = Place::new(broker, &format!("streams-{round}"), 1);
        place.fill(&inputs);
        jobs.push(job_once(broker, &place, &inputs, &classpath));
        let (cost, shapes) = ours_once(&place, broker, CASE, &inputs);
        ours.push(cost);
        let deliveries = |shape: &Shape| shape.records_of(Topic::Deliveries);
        delivered = (records_in(&place), shapes.iter().map(deliveries).sum());
    }
    println!("\n{} inputs without outcomes, 100 ms", inputs.len());
    let job = row("Kafka Streams, when warm", &jobs);
    let ours = row("deferd", &ours);
    target("CPU against Kafka Streams", ours.1 / job.1, "x", 0.2, false);
    println!("deliveries: Kafka Streams {}, deferd {}", delivered.0, delivered.1);
}

/// Compiles the job; where its jars are.
fn compiled() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let kept = root.join("target/streams-classpath");
    let done = Command::new("mvn")
        .args(["-q", "-B", "compile", "dependency:build-classpath", "-f"])
        .arg(root.join("benches/streams/pom.xml"))
        .arg(format!("-Dmdep.outputFile={}", kept.display()))
        .output()
        .expect("Maven and a JDK of 17 or newer, on Debian maven and openjdk-17-jdk-headless");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "the job cannot be compiled: {said}");
    let jars = std::fs::read_to_string(kept).expect("Maven wrote it");
    format!("{}:{}", root.join("target/streams/classes").display(), jars.trim())
}

fn job_once(broker: &Broker, place: &Place, inputs: &[Input], classpath: &str) -> Cost {
    let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-streams");
    let _ = std::fs::remove_dir_all(&state);
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-streams.log");
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("ops/kafka/log4j2.properties");
    let group = format!("{}streams", place.cluster.prefix);
    let said = std::fs::File::create(&log).expect("a log");
    let child = Command::new(java())
        .args([
            "-Xmx2g",
            "-Dkafka.log.level=WARN",
            "-Dkafka.log.target=SYSTEM_ERR",
            "-cp",
            classpath,
        ])
        .arg(format!("-Dlog4j2.configurationFile={}", settings.display()))
        .args(["DeferJob", &broker.bootstrap, &place.cluster.prefix])
        .arg(CASE.interval.as_millis().to_string())
        .arg(&state)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said)
        .spawn()
        .expect("java");
    let mut job = Job(child);
    let process = job.0.id().to_string();
    let mut config = place.client();
    let group: BaseConsumer = config.set("group.id", &group).create().expect("a client");
    let (began, all) = (Instant::now(), inputs.len() as u64);
    let mut warm = None;
    loop {
        let taken = taken(&group, place);
        let now = (Instant::now(), cpu_seconds_of(&process), cpu_seconds_of(&broker.process()));
        if warm.is_none() && taken as f64 >= all as f64 * WARM {
            warm = Some((now, taken));
        }
        if let Some((then, before)) = warm
            && taken == all
        {
            let wall = now.0.duration_since(then.0).as_secs_f64();
            let round = Round { wall, cpu: now.1 - then.1 };
            let inputs = (all - before) as usize;
            return Cost { inputs, round, broker: now.2 - then.2, commits: None };
        }
        assert!(
            began.elapsed() < PATIENCE && job.0.try_wait().is_ok_and(|ended| ended.is_none()),
            "the job takes nothing more at {taken} of {all}: see {}",
            log.display()
        );
        std::thread::sleep(ASKED);
    }
}

fn java() -> PathBuf {
    std::env::var_os("JAVA_HOME")
        .map_or_else(|| "java".into(), |home| Path::new(&home).join("bin/java"))
}

/// How many inputs the job has committed.
fn taken(group: &BaseConsumer, place: &Place) -> u64 {
    let mut list = TopicPartitionList::new();
    for topic in TOPICS {
        list.add_partition(&place.cluster.topic(topic), 0);
    }
    let Ok(found) = group.committed_offsets(list, Duration::from_secs(2)) else { return 0 };
    let offset =
        |offset| if let Offset::Offset(offset) = offset { offset.cast_unsigned() } else { 0 };
    found.elements().iter().map(|element| offset(element.offset())).sum()
}

/// How many commands the job has given.
fn records_in(place: &Place) -> usize {
    let reader = place.reader(&place.raw(Topic::Deliveries), Offset::Beginning);
    std::iter::from_fn(|| reader.poll(Duration::from_secs(2))).filter(Result::is_ok).count()
}
