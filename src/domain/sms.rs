//! How a text becomes SMS: its alphabet, its segments, and the originator it may bear.
//!
//! Source: 3GPP TS 23.038 6.2.1 (alphabet and extension table), TS 23.040 9.2.3.24 (concatenation);
//! `rules.md` 4.5, S-1 to S-6. National shift tables are off (S-4).

use std::fmt;

/// The default alphabet, sixteen characters a row; the escape at 0x1B is no character.
const DEFAULT: [&str; 8] = [
    "@£$¥èéùìòÇ\nØø\rÅå",
    "Δ_ΦΓΛΩΠΨΣΘΞÆæßÉ",
    " !\"#¤%&'()*+,-./",
    "0123456789:;<=>?",
    "¡ABCDEFGHIJKLMNO",
    "PQRSTUVWXYZÄÖÑÜ§",
    "¿abcdefghijklmno",
    "pqrstuvwxyzäöñüà",
];

/// The extension table: an escape and a septet each, which stay together (S-1).
const EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// Longest alphanumeric originator, in septets: what fits the ten octets of TP-OA (S-6).
const ORIGINATOR_SEPTETS: usize = 11;

/// The alphabet of a whole message: one character outside GSM 7-bit turns all of it into UCS-2 (S-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// GSM 7-bit default; its unit is the septet.
    Gsm7,
    /// UCS-2; its unit is the UTF-16 code unit (S-2).
    Ucs2,
}

/// The reference number that ties segments together; the wider one costs room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// Eight bits: what nearly everybody sends.
    Bits8,
    /// Sixteen bits.
    Bits16,
}

/// What a text takes as SMS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmsSize {
    /// The alphabet of all its segments.
    pub alphabet: Alphabet,
    /// Septets or UTF-16 code units, without headers.
    pub units: usize,
    /// Segments with an 8-bit reference, as [`segments`] cuts them; one for an empty text.
    pub segments: usize,
}

impl Alphabet {
    /// The smallest alphabet that holds the text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        if text.chars().all(|c| septets(c).is_some()) { Self::Gsm7 } else { Self::Ucs2 }
    }

    /// Units of a message that is one segment and needs no header.
    const fn alone(self) -> usize {
        match self {
            Self::Gsm7 => 160,
            Self::Ucs2 => 70,
        }
    }

    /// Units of one segment among several.
    const fn together(self, reference: Reference) -> usize {
        match (self, reference) {
            (Self::Gsm7, Reference::Bits8) => 153,
            (Self::Gsm7, Reference::Bits16) => 152,
            (Self::Ucs2, Reference::Bits8) => 67,
            (Self::Ucs2, Reference::Bits16) => 66,
        }
    }

    /// Units of a character of this alphabet. They never part, be they an escape and its septet or a
    /// surrogate pair.
    fn units(self, c: char) -> usize {
        match self {
            Self::Gsm7 => septets(c).unwrap_or(1),
            Self::Ucs2 => c.len_utf16(),
        }
    }
}

/// What `text` takes as SMS.
#[must_use]
pub fn size(text: &str) -> SmsSize {
    let alphabet = Alphabet::of(text);
    let units = text.chars().map(|c| alphabet.units(c)).sum();
    SmsSize { alphabet, units, segments: Pieces::of(text, alphabet, Reference::Bits8).count() }
}

/// The text of each segment, in order: joined they are `text`, and none parts a character. No cap is
/// set here; ask [`fits`] first.
#[must_use]
pub fn segments(text: &str, reference: Reference) -> Vec<&str> {
    Pieces::of(text, Alphabet::of(text), reference).collect()
}

/// Whether `text` takes at most `max_segments` with an 8-bit reference. The protocol's own cap is the
/// 255 that a `u8` can say (S-5). A text far too large is not read.
#[must_use]
pub fn fits(text: &str, max_segments: u8) -> bool {
    let max = usize::from(max_segments);
    // A byte is at most one unit of UCS-2, and a segment of several takes 67 of them, of which a
    // surrogate pair may waste one; of septets a byte is at most two, and a segment takes 153.
    if (1..=max * 66).contains(&text.len()) {
        return true;
    }
    // No unit of either alphabet takes more than three bytes of UTF-8.
    let fewest_units = text.len() / 3;
    fewest_units <= max * Alphabet::Gsm7.alone()
        && Pieces::of(text, Alphabet::of(text), Reference::Bits8).nth(max).is_none()
}

/// Septets of a character, or none where the alphabet lacks it.
fn septets(c: char) -> Option<usize> {
    if c.is_ascii_alphanumeric() || c == ' ' || DEFAULT.iter().any(|row| row.contains(c)) {
        return Some(1);
    }
    EXTENSION.contains(c).then_some(2)
}

/// A text's segments, cut as late as each may be, which makes them the fewest.
struct Pieces<'a> {
    /// What is yet to be cut; none after the last piece.
    rest: Option<&'a str>,
    alphabet: Alphabet,
    room: usize,
}

impl<'a> Pieces<'a> {
    fn of(text: &'a str, alphabet: Alphabet, reference: Reference) -> Self {
        let alone = cut(text, alphabet, alphabet.alone()).1.is_empty();
        let room = if alone { alphabet.alone() } else { alphabet.together(reference) };
        Self { rest: Some(text), alphabet, room }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (piece, rest) = cut(self.rest?, self.alphabet, self.room);
        self.rest = (!rest.is_empty()).then_some(rest);
        Some(piece)
    }
}

/// The longest beginning of `text` that takes at most `room` units, and the rest.
fn cut(text: &str, alphabet: Alphabet, room: usize) -> (&str, &str) {
    let mut used = 0;
    let too_far = text.char_indices().find(|&(_, c)| {
        used += alphabet.units(c);
        used > room
    });
    // The index is that of a character, so the split cannot fail.
    too_far.and_then(|(at, _)| text.split_at_checked(at)).unwrap_or((text, ""))
}

/// A sender that an SMSC can take (S-6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Originator {
    /// E.164 with its `+`: 7 to 15 digits.
    Number(String),
    /// Up to 6 digits.
    ShortCode(String),
    /// A name: one that cannot be answered.
    Alphanumeric(String),
}

/// Why a sender cannot be an SMS's originator. Whatever it is, the sender needs a mapped number, or
/// to be named in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadOriginator {
    /// There is nothing.
    Empty,
    /// Begins as a number, and is none.
    Number,
    /// More digits than a short code has, and no `+`: whose country's they are is not told.
    National,
    /// A SIP address.
    Sip,
    /// A name of that many septets.
    Long(usize),
    /// A name with that character, which GSM 7-bit lacks or which breaks the line.
    Character(char),
}

impl fmt::Display for BadOriginator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no sender, expected a number or a name"),
            Self::Number => f.write_str("not a number, expected + and 7 to 15 digits"),
            Self::National => f.write_str("digits without +, expected at most 6 of them"),
            Self::Sip => f.write_str("a SIP address, expected a number or a name"),
            Self::Long(found) => {
                write!(f, "a name of {found} septets, expected at most {ORIGINATOR_SEPTETS}")
            }
            Self::Character(found) => {
                write!(f, "a name with {found:?}, expected printable characters of GSM 7-bit")
            }
        }
    }
}

impl std::error::Error for BadOriginator {}

/// `sender` as an originator: E.164 (also as a `tel:` URI), a short code, or else a name of at most
/// 11 septets (S-6).
///
/// # Errors
///
/// [`BadOriginator`] says why an SMSC would not take it: give the sender a mapped number, or name it
/// in the text.
pub fn originator(sender: &str) -> Result<Originator, BadOriginator> {
    let sender = sender.trim();
    let begins = |scheme: &str| {
        sender.get(..scheme.len()).is_some_and(|found| found.eq_ignore_ascii_case(scheme))
    };
    if begins("sip:") || begins("sips:") {
        return Err(BadOriginator::Sip);
    }
    let number = if begins("tel:") { sender.get(4..).unwrap_or("") } else { sender };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(digits) = number.strip_prefix('+') {
        let fits = (7..=15).contains(&digits.len()) && all_digits(digits);
        return if fits {
            Ok(Originator::Number(number.to_owned()))
        } else {
            Err(BadOriginator::Number)
        };
    }
    if number.is_empty() {
        return Err(BadOriginator::Empty);
    }
    if all_digits(number) {
        let fits = number.len() <= 6;
        return if fits {
            Ok(Originator::ShortCode(number.to_owned()))
        } else {
            Err(BadOriginator::National)
        };
    }
    if number.len() != sender.len() {
        return Err(BadOriginator::Number);
    }
    if let Some(c) = sender.chars().find(|c| c.is_control() || septets(*c).is_none()) {
        return Err(BadOriginator::Character(c));
    }
    match sender.chars().filter_map(septets).sum() {
        ..=ORIGINATOR_SEPTETS => Ok(Originator::Alphanumeric(sender.to_owned())),
        septets => Err(BadOriginator::Long(septets)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is short enough is not read, and the answer is the same.
    #[test]
    fn short_texts_fit_as_long_ones_would() {
        for max in 0..4_u8 {
            for (first, then) in
                [("", "x"), ("", "^"), ("ж", "x"), ("", "ж"), ("🙂", "x"), ("x", "🙂")]
            {
                for times in 0..=usize::from(max) * 160 + 10 {
                    let text = format!("{first}{}", then.repeat(times));
                    let slow = size(&text).segments <= usize::from(max);
                    assert_eq!(fits(&text, max), slow, "{first} and {times} of {then} in {max}");
                }
            }
        }
    }

    #[test]
    fn gsm_segments_are_160_alone_and_153_together() {
        assert_eq!(size(&"a".repeat(160)), gsm(160, 1));
        assert_eq!(size(&"a".repeat(161)), gsm(161, 2));
        assert_eq!(size(&"a".repeat(306)), gsm(306, 2));
        assert_eq!(size(&"a".repeat(307)), gsm(307, 3));
        assert_eq!(lengths(&"a".repeat(306), Reference::Bits16), [152, 152, 2]);
    }

    #[test]
    fn ucs2_segments_are_70_alone_and_67_together() {
        assert_eq!(size(&"ж".repeat(70)), ucs2(70, 1));
        assert_eq!(size(&"ж".repeat(71)), ucs2(71, 2));
        assert_eq!(size(&"ж".repeat(134)), ucs2(134, 2));
        assert_eq!(size(&"ж".repeat(135)), ucs2(135, 3));
        assert_eq!(lengths(&"ж".repeat(134), Reference::Bits16), [66, 66, 2]);
    }

    /// S-1: the straddle costs a septet, so 306 septets do not fit two segments.
    #[test]
    fn escape_pair_is_not_parted() {
        assert_eq!(size(&("a".repeat(158) + "€")), gsm(160, 1));
        assert_eq!(size(&("a".repeat(159) + "€")), gsm(161, 2));

        let text = "a".repeat(152) + "€" + &"a".repeat(152);

        assert_eq!(size(&text), gsm(306, 3));
        assert_eq!(lengths(&text, Reference::Bits8), [152, 152, 1]);
    }

    /// S-2: as above, with a surrogate pair.
    #[test]
    fn surrogate_pair_is_not_parted() {
        assert_eq!(size(&"😀".repeat(35)), ucs2(70, 1));

        let text = "ж".repeat(66) + "😀" + &"ж".repeat(66);

        assert_eq!(size(&text), ucs2(134, 3));
        assert_eq!(lengths(&text, Reference::Bits8), [66, 66, 1]);
    }

    #[test]
    fn one_foreign_character_turns_all_into_ucs2() {
        for foreign in ["ç", "`", "\t", "\u{1b}", "\u{2126}", "’"] {
            assert_eq!(size(&("a".repeat(70) + foreign)), ucs2(71, 2), "{foreign:?}");
        }
    }

    #[test]
    fn tables_hold_the_whole_alphabet_once() {
        let mut all: Vec<char> = DEFAULT.concat().chars().chain(EXTENSION.chars()).collect();
        assert_eq!(DEFAULT.map(|row| row.chars().count()), [16, 15, 16, 16, 16, 16, 16, 16]);
        assert_eq!(size(&DEFAULT.concat()), gsm(127, 1));
        assert_eq!(size("^{}\\[]~|€\u{c}"), gsm(20, 1));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 137);
    }

    #[test]
    fn empty_text_is_one_segment() {
        assert_eq!(size(""), gsm(0, 1));
        assert_eq!(segments("", Reference::Bits8), [""]);
        assert!(fits("", 1) && !fits("", 0));
    }

    #[test]
    fn cap_is_exact_and_a_huge_text_exceeds_it() {
        assert!(fits(&"a".repeat(160), 1) && !fits(&"a".repeat(161), 1));
        assert!(fits(&"a".repeat(8 * 153), 8) && !fits(&"a".repeat(8 * 153 + 1), 8));
        assert!(fits(&"ж".repeat(8 * 67), 8) && !fits(&"ж".repeat(8 * 67 + 1), 8));
        assert!(fits(&"中".repeat(255 * 67), 255) && !fits(&"中".repeat(255 * 67 + 1), 255));
        assert!(!fits(&"a".repeat(50_000_000), 255));
    }

    /// Goal: segments are the text, each fits, none could have taken more, and `size` and `fits` agree
    /// with them. Method: texts of random length from each mixture of characters, over seeds.
    #[test]
    fn segments_join_to_the_text_and_each_fits() {
        let mixtures = ["aB 1", "a€{é", "aж", "ж😀", "a€中😀\n\u{c}", "€"];
        for seed in 0..150 {
            let mut random = Lcg(seed);
            let mixture: Vec<char> = mixtures[random.below(mixtures.len())].chars().collect();
            let length = random.below(700);
            let text: String = (0..length).map(|_| mixture[random.below(mixture.len())]).collect();
            let SmsSize { alphabet, units, segments: count } = size(&text);
            for reference in [Reference::Bits8, Reference::Bits16] {
                let pieces = segments(&text, reference);
                let alone = units <= alphabet.alone();
                let room = if alone { alphabet.alone() } else { alphabet.together(reference) };
                let of = |piece: &str| piece.chars().map(|c| alphabet.units(c)).sum::<usize>();

                assert_eq!(pieces.concat(), text, "seed {seed}");
                assert_eq!(pieces.len() == 1, alone, "seed {seed}");
                assert!(pieces.iter().all(|piece| of(piece) <= room), "seed {seed}");
                for pair in pieces.windows(2) {
                    let next = pair[1].chars().next().expect("a later piece is not empty");
                    assert!(of(pair[0]) + alphabet.units(next) > room, "seed {seed}");
                }
                if reference == Reference::Bits8 {
                    assert_eq!(pieces.len(), count, "seed {seed}");
                }
            }
            let cap = u8::try_from(count).expect("700 characters are few segments");
            assert!(fits(&text, cap) && !fits(&text, cap - 1), "seed {seed}");
        }
    }

    #[test]
    fn originator_is_a_number_else_a_short_name() {
        let number = Originator::Number("+15145550100".to_owned());
        assert_eq!(originator("+15145550100"), Ok(number.clone()));
        assert_eq!(originator(" tel:+15145550100 "), Ok(number));
        assert_eq!(originator("12345"), Ok(Originator::ShortCode("12345".to_owned())));
        for name in ["ACME Bank", "elevenchars", "Ψ7", "€€€€€a"] {
            assert_eq!(originator(name), Ok(Originator::Alphanumeric(name.to_owned())));
        }
        for (sender, why) in [
            (" ", BadOriginator::Empty),
            ("tel:", BadOriginator::Empty),
            ("+123456", BadOriginator::Number),
            ("+1234567890123456", BadOriginator::Number),
            ("+1 514 555", BadOriginator::Number),
            ("tel:home", BadOriginator::Number),
            ("5145550100", BadOriginator::National),
            ("SIP:a@b.c", BadOriginator::Sip),
            ("twelve chars", BadOriginator::Long(12)),
            ("€€€€€€", BadOriginator::Long(12)),
            ("Žofie", BadOriginator::Character('Ž')),
            ("a\nb", BadOriginator::Character('\n')),
            ("😀", BadOriginator::Character('😀')),
        ] {
            assert_eq!(originator(sender), Err(why), "{sender:?}");
        }
    }

    fn gsm(units: usize, segments: usize) -> SmsSize {
        SmsSize { alphabet: Alphabet::Gsm7, units, segments }
    }

    fn ucs2(units: usize, segments: usize) -> SmsSize {
        SmsSize { alphabet: Alphabet::Ucs2, units, segments }
    }

    fn lengths(text: &str, reference: Reference) -> Vec<usize> {
        segments(text, reference).iter().map(|piece| piece.chars().count()).collect()
    }

    /// Knuth's MMIX generator; its high bits are the good ones.
    struct Lcg(u64);

    impl Lcg {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).map_or(0, |high| high % bound)
        }
    }
}
