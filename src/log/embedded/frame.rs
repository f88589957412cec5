//! A frame: one journal record, what follows from it, and a checksum over both.
//!
//! ```text
//! magic u32 | body length u32 | CRC-32 u32 | zero u32 | start of its commit u64 | body
//! body: seq u64 | at i64 | line length u32 | line | outputs u16
//!       | for each: topic u8 | key length u16, 65535: none | key | length u32 | CloudEvent
//! ```
//!
//! All numbers are little-endian. The checksum covers the length, the start of the commit and the body. A
//! frame knows where its commit began, so that a damaged frame before it is told from a torn tail: what
//! stood before the start of a commit was durable when the commit began.

use crate::domain::time::Timestamp;
use crate::engine::ports::Entry;
use crate::engine::tail::Asked;
use crate::record::output::Output;

const MAGIC: [u8; 4] = *b"dfrd";
/// Octets before the body.
pub(super) const HEADER: usize = 24;
/// The longest body: far above any record, far below what would exhaust memory.
const LONGEST: usize = 64 << 20;
/// The topics of outputs, by their number in a frame.
const TOPICS: [&str; 3] = ["cpm.deliveries", "cpm.notifications", "cpm.dead-letters"];
const NO_KEY: u16 = u16::MAX;

/// A frame, borrowed from its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The number of its record in its partition.
    pub seq: u64,
    /// When its record was decided.
    pub at: Timestamp,
    /// The journal record, one line without its end.
    pub line: &'a [u8],
    outputs: &'a [u8],
    count: u16,
}

/// What is found where a frame should begin.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    /// A whole frame, so many bytes, and the start of its commit.
    Frame { length: usize, commit: u64 },
    /// The bytes end before the frame does.
    Short,
    /// No frame of ours, or one that was changed.
    Damaged(&'static str),
}

/// Appends the frame of an entry to `to`. `commit`: where in the segment its commit begins.
pub(super) fn write(to: &mut Vec<u8>, seq: u64, at: Timestamp, entry: &Entry, commit: u64) {
    let start = to.len();
    to.extend_from_slice(&MAGIC);
    to.extend_from_slice(&[0; 12]);
    to.extend_from_slice(&commit.to_le_bytes());
    to.extend_from_slice(&seq.to_le_bytes());
    to.extend_from_slice(&at.as_millis().to_le_bytes());
    put_long(to, &entry.line);
    let count = u16::try_from(entry.outputs.len()).expect("decide bounds what follows");
    to.extend_from_slice(&count.to_le_bytes());
    for Output { topic, key, bytes } in &entry.outputs {
        let number = TOPICS.iter().position(|known| known == topic).expect("a topic of ours");
        to.push(u8::try_from(number).expect("there are few topics"));
        let key_length = key.as_deref().map_or(NO_KEY, |key| {
            u16::try_from(key.len()).ok().filter(|n| *n < NO_KEY).expect("an address is short")
        });
        to.extend_from_slice(&key_length.to_le_bytes());
        to.extend_from_slice(key.as_deref().unwrap_or_default().as_bytes());
        put_long(to, bytes);
    }
    let length = u32::try_from(to.len() - start - HEADER).expect("a record is bounded");
    let Some(frame) = to.get_mut(start..) else { return };
    if let Some(place) = frame.get_mut(4..8) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    let crc = checksum(frame).to_le_bytes();
    if let Some(place) = frame.get_mut(8..12) {
        place.copy_from_slice(&crc);
    }
}

fn put_long(to: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("a record is bounded");
    to.extend_from_slice(&length.to_le_bytes());
    to.extend_from_slice(bytes);
}

/// The checksum of a whole frame.
fn checksum(frame: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(frame.get(4..8).unwrap_or_default());
    hash.update(frame.get(16..).unwrap_or_default());
    hash.finalize()
}

/// How many bytes must be there before [`read`] can tell what stands at the beginning of `bytes`.
pub(super) fn needs(bytes: &[u8]) -> usize {
    let long = |header: &[u8]| header.starts_with(&MAGIC) && number(header, 4) as usize <= LONGEST;
    match bytes.get(..HEADER).filter(|header| long(header)) {
        Some(header) => HEADER + number(header, 4) as usize,
        None => HEADER,
    }
}

/// Reads what stands at the beginning of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Found {
    let Some(header) = bytes.get(..HEADER) else {
        // An all-zero rest is a hole that a crash left, and no beginning of a frame.
        let begins = bytes.iter().zip(&MAGIC).all(|(one, other)| one == other);
        return if begins { Found::Short } else { Found::Damaged("no frame") };
    };
    if !header.starts_with(&MAGIC) {
        return Found::Damaged("no frame");
    }
    let length = number(header, 4) as usize;
    if length > LONGEST {
        return Found::Damaged("a length that no frame has");
    }
    let whole = HEADER + length;
    let Some(frame) = bytes.get(..whole) else { return Found::Short };
    if checksum(frame) != number(header, 8) || number(header, 12) != 0 {
        return Found::Damaged("its checksum does not fit");
    }
    let commit = header.get(16..24).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
    match unchecked(frame) {
        Some(_) => Found::Frame { length: whole, commit },
        None => Found::Damaged("its parts do not fit"),
    }
}

/// The parts of a frame that [`read`] has found whole.
pub(super) fn unchecked(frame: &[u8]) -> Option<Frame<'_>> {
    let mut parts = Parts(frame.get(HEADER..)?);
    let seq = u64::from_le_bytes(parts.array()?);
    let at = Timestamp::from_millis(i64::from_le_bytes(parts.array()?));
    let line = parts.long()?;
    let count = u16::from_le_bytes(parts.array()?);
    Some(Frame { seq, at, line, outputs: parts.0, count })
}

impl<'a> Frame<'a> {
    /// What follows from its record, in order.
    pub fn outputs(&self) -> impl Iterator<Item = Asked<'a>> + use<'a> {
        let mut parts = Parts(self.outputs);
        (0..self.count).map_while(move |_| parts.output())
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// What is left to read of a body.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(length as usize)
    }

    fn output(&mut self) -> Option<Asked<'a>> {
        let [topic] = self.array()?;
        let key = match u16::from_le_bytes(self.array()?) {
            NO_KEY => None,
            length => Some(std::str::from_utf8(self.take(usize::from(length))?).ok()?),
        };
        Some(Asked { topic: TOPICS.get(usize::from(topic))?, key, bytes: self.long()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let output = |key: Option<&str>| Output {
            topic: "cpm.notifications",
            key: key.map(Box::from),
            bytes: b"{\"a\":1}".to_vec(),
        };
        Entry {
            user: None,
            line: b"{\"seq\":7}".to_vec(),
            outputs: vec![output(Some("tel:+15145550100")), output(None)],
            fate: None,
        }
    }

    fn written() -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, 7, Timestamp::from_millis(1000), &entry(), 40);
        bytes
    }

    #[test]
    fn a_frame_comes_back_as_it_was_written() {
        let bytes = written();
        let Found::Frame { length, commit } = read(&bytes) else { panic!() };
        let frame = unchecked(&bytes).unwrap();

        assert_eq!(
            (frame.seq, frame.line, length, commit),
            (7, &b"{\"seq\":7}"[..], bytes.len(), 40)
        );
        assert_eq!(frame.at, Timestamp::from_millis(1000));
        let outputs: Vec<_> = frame.outputs().collect();
        assert_eq!(outputs.len(), 2);
        assert_eq!(outputs[0].key, Some("tel:+15145550100"));
        assert_eq!(outputs[1], Asked { key: None, ..outputs[0] });
    }

    #[test]
    fn no_cut_and_no_flipped_bit_passes() {
        let bytes = written();
        for end in 1..bytes.len() {
            assert!(matches!(read(&bytes[..end]), Found::Short), "cut after {end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(read(&damaged), Found::Frame { .. }), "bit {bit}");
        }
    }
}
