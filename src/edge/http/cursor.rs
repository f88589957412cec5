//! How far a reader of a feed has come: the next record of each partition.

use std::fmt;
use std::str::FromStr;

/// A reader's place, partition by partition; opaque to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor(Vec<(u32, u64)>);

impl Cursor {
    /// A reader of `partitions` partitions, at these places.
    pub(super) fn new(partitions: u32, place: impl Fn(u32) -> u64) -> Self {
        Self((0..partitions).map(|partition| (partition, place(partition))).collect())
    }

    /// Its place in a partition; `None`: it has not been there.
    pub(super) fn place(&self, partition: u32) -> Option<u64> {
        self.0.iter().find(|(known, _)| *known == partition).map(|(_, seq)| *seq)
    }

    /// A partition that it names, and that is none of `partitions`.
    pub(super) fn stranger(&self, partitions: u32) -> Option<u32> {
        self.0.iter().map(|(partition, _)| *partition).find(|partition| *partition >= partitions)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (partition, seq)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{partition}:{seq}")?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
            plain.then(|| digits.parse::<u64>().ok()).flatten()
        };
        let mut places: Vec<(u32, u64)> = Vec::new();
        for place in text.split(',') {
            let (partition, seq) = place.split_once(':').ok_or(())?;
            let partition = number(partition).and_then(|p| u32::try_from(p).ok()).ok_or(())?;
            if places.iter().any(|(known, _)| *known == partition) {
                return Err(());
            }
            places.push((partition, number(seq).ok_or(())?));
        }
        Ok(Self(places))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_as_it_was_written() {
        let cursor = Cursor::new(2, |partition| u64::from(partition) + 7);
        assert_eq!(cursor.to_string(), "0:7,1:8");
        assert_eq!("0:7,1:8".parse(), Ok(cursor.clone()));
        assert_eq!((cursor.place(1), cursor.place(2)), (Some(8), None));
        assert_eq!((cursor.stranger(2), cursor.stranger(1)), (None, Some(1)));
        for bad in
            ["", ":", "0", "0:", "0:x", "0:-1", "0:+1", "0:1,", "0:1,0:2", "0:99999999999999999999"]
        {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }
}
