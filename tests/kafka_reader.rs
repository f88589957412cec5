//! The reader of a topic on a real broker: committed records only, to the stable end, by number.

#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, reason = "a test: what is not there fails it")]

mod kafka_place;

use std::time::Duration;

use deferd::log::kafka::{Ends, Found, KafkaFault, Next, Reader, Topic};

use self::kafka_place::Place;

const PATIENCE: Duration = Duration::from_secs(10);

/// A journal line as far as a search reads it.
fn line(seq: u64) -> String {
    format!(
        r#"{{"seq":{seq},"epoch":1,"at":"2026-11-21T08:00:00Z","rules":1,"policy":"ab","user":"tel:+1"}}"#
    )
}

/// The records up to the end of a partition.
fn read(reader: &mut Reader, partition: u32) -> Vec<(u64, String)> {
    let mut read = Vec::new();
    loop {
        match reader.next(PATIENCE).expect("the broker answers") {
            Next::Record(message) => {
                assert_eq!(message.partition(), partition);
                let text = message.bytes().map(String::from_utf8_lossy).unwrap_or_default();
                read.push((message.offset(), text.into_owned()));
            }
            Next::End { partition: ended } if ended == partition => return read,
            Next::End { .. } => {}
            Next::Nothing => panic!("neither a record nor an end came"),
        }
    }
}

/// Aborted records and those of an open transaction are not seen, and the end is the stable one.
#[test]
fn only_what_is_committed_is_read() {
    let place = Place::new("committed", 2);
    let writer = place.transactional("a");
    writer.commit(Topic::Journal, 0, (0..5).map(line));
    for _ in 0..20 {
        writer.abort(Topic::Journal, 0, (900..903).map(line));
    }
    writer.commit(Topic::Journal, 0, (5..7).map(line));
    let mut reader = Reader::new(&place.cluster, Topic::Journal).unwrap();
    assert_eq!(reader.partitions(), 2);
    // 5 and a mark, 20 times 3 and a mark, 2 and a mark.
    let all = Ends { oldest: 0, stable: 89, high: 89 };
    assert_eq!(reader.ends(0).unwrap(), all);
    assert_eq!(reader.ends(1).unwrap(), Ends::default());
    writer.begin(Topic::Journal, 0, (7..9).map(line));
    assert_eq!(reader.ends(0).unwrap(), Ends { high: 91, ..all });

    reader.go_to(0, 0).unwrap();
    let seen = read(&mut reader, 0);
    let expected: Vec<_> = [0, 1, 2, 3, 4, 86, 87].into_iter().zip((0..7).map(line)).collect();
    assert_eq!(seen, expected);
    // Nothing more, until it is committed.
    assert!(matches!(reader.next(Duration::from_millis(300)), Ok(Next::Nothing)));
    writer.end();
    assert_eq!(read(&mut reader, 0), [(89, line(7)), (90, line(8))]);

    // Somewhere else, and back, and a second partition beside it.
    reader.go_to(0, 4).unwrap();
    assert_eq!(read(&mut reader, 0).len(), 5);
    reader.go_to(0, 90).unwrap();
    assert_eq!(read(&mut reader, 0), [(90, line(8))]);
    reader.go_to(1, 0).unwrap();
    assert_eq!(read(&mut reader, 1), []);
    writer.commit(Topic::Journal, 1, [line(0)].into_iter());
    assert_eq!(read(&mut reader, 1), [(0, line(0))]);
    // 91 is the mark of a commit: an end, and no record.
    reader.go_to(0, 92).unwrap();
    assert_eq!(read(&mut reader, 0), []);
}

/// Every record is found by its number, whatever stands between; one that is not there yet is told from
/// one that is gone.
#[test]
fn a_record_is_found_by_its_number() {
    let place = Place::new("found", 1);
    let mut reader = Reader::new(&place.cluster, Topic::Journal).unwrap();
    assert_eq!(reader.find_seq(0, 0), Ok(Found::NotYet), "nothing is there");

    let writer = place.transactional("a");
    let mut stands = Vec::new();
    let mut next = 0;
    for round in 0..40_u64 {
        // Small steps and large ones, and much that was aborted.
        let count = [1, 3, 700, 2500][usize::try_from(round % 4).unwrap()];
        let first = u64::try_from(stands.len()).unwrap();
        writer.commit(Topic::Journal, 0, (first..first + count).map(line));
        stands.extend(next..next + count);
        next += count + 1;
        if round == 0 {
            assert_eq!(reader.find_seq(0, 0), Ok(Found::At(0)));
            assert_eq!(reader.find_seq(0, 1), Ok(Found::NotYet));
        }
        if round % 5 == 4 {
            writer.abort(Topic::Journal, 0, (0..4000).map(line));
            next += 4001;
        }
    }
    writer.begin(Topic::Journal, 0, (0..3).map(line));
    let last = stands.len() - 1;
    for seq in (0..stands.len()).step_by(997).chain([1, 2, 4, last - 1, last]) {
        let found = reader.find_seq(0, seq.try_into().unwrap());
        assert_eq!(found, Ok(Found::At(stands[seq])), "{seq}");
    }
    for seq in [last + 1, last + 2, last + 5000, usize::MAX] {
        let found = reader.find_seq(0, seq.try_into().unwrap());
        assert_eq!(found, Ok(Found::NotYet), "{seq}");
    }

    let kept = u64::try_from(last / 2).unwrap();
    let offset = stands[last / 2];
    place.remove_before(Topic::Journal, 0, offset);
    assert_eq!(reader.find_seq(0, 0), Ok(Found::Removed { oldest: kept, offset }));
    assert_eq!(reader.find_seq(0, kept), Ok(Found::At(offset)));
    reader.go_to(0, 0).unwrap();
    let Err(KafkaFault::Refused { why, .. }) = reader.next(PATIENCE) else { panic!("it is gone") };
    assert!(why.contains("retention"), "{why}");
}

#[test]
fn what_cannot_be_read_is_said() {
    let place = Place::new("refused", 1);
    let mut elsewhere = place.cluster.clone();
    elsewhere.prefix = "nobody-made-these-".to_owned();
    let Err(KafkaFault::Refused { what, why }) = Reader::new(&elsewhere, Topic::Journal) else {
        panic!("there is no such topic")
    };
    assert!(what.contains("nobody-made-these-cpm.journal"), "{what}");
    assert!(why.contains("deferd topics create"), "{why}");

    let mut reader = Reader::new(&place.cluster, Topic::Journal).unwrap();
    assert!(matches!(reader.ends(1), Err(KafkaFault::Refused { .. })));
    assert!(matches!(reader.go_to(1, 0), Err(KafkaFault::Refused { .. })));
    place.write(Topic::Journal, 0, "not a record");
    let Err(KafkaFault::Refused { what, .. }) = reader.find_seq(0, 3) else { panic!("no record") };
    assert!(what.contains("cpm.journal/0/0"), "{what}");

    let mut away = place.cluster;
    away.brokers = "127.0.0.1:1".to_owned();
    let Err(KafkaFault::Unreachable { brokers, why }) = Reader::new(&away, Topic::Journal) else {
        panic!("nobody answers there")
    };
    assert_eq!(brokers, "127.0.0.1:1");
    assert!(why.contains("refused"), "{why}");
}
