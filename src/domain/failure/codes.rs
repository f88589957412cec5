//! What the codes of MAP, Diameter, SMPP, TP-Status and RP mean, and the diagnostic of an absence.
//!
//! Source: `rules.md` 4.6 to 4.8, P-10; 3GPP TS 23.040, 24.011, 29.002 and 29.338, SMPP 3.4.
//!
//! The tables are the rules; the first row that holds a number counts. A number in no row says as
//! much as no code does: nobody answers there now, so absent.

use super::sip::sip_from_gateway;
use super::{BlockKind, Class, Diagnosis, Protocol, Report, SlotNews, Verdict};

impl Protocol {
    /// Its codes; SIP's have tables of their own.
    const fn rows(self) -> &'static [Row] {
        match self {
            Self::Map => MAP,
            Self::Diameter => DIAMETER,
            Self::Smpp => SMPP,
            Self::TpStatus => TP_STATUS,
            Self::Rp => RP,
            Self::Sip => &[],
        }
    }
}

/// First and last number, the standard's names for it, what it means.
type Row = (u32, u32, &'static str, Report);

const fn plain(class: Class) -> Report {
    Report::Failed(Verdict::plain(class))
}
const fn block(kind: BlockKind) -> Report {
    Report::Failed(Verdict { block: Some(kind), ..Verdict::plain(Class::Permanent) })
}

const ASSUMED: Report = Report::Delivered { assumed: true };
const DELIVERED: Report = Report::Delivered { assumed: false };
const ABSENT: Report = plain(Class::Absent);
const BUSY: Report = plain(Class::Busy);
const CONGESTION: Report = plain(Class::Congestion);
const CONTENT: Report = plain(Class::Content);
const INFRA: Report = plain(Class::Infrastructure);
const MEMORY_FULL: Report = plain(Class::MemoryFull);
const POLICY: Report = plain(Class::Policy);
const BARRED: Report = block(BlockKind::Barred);
const NOT_CAPABLE: Report = block(BlockKind::NotCapable);
const NO_ALERT: Report =
    Report::Failed(Verdict { no_alert: true, ..Verdict::plain(Class::Absent) });
const ALARM: Report =
    Report::Failed(Verdict { alarm: true, ..Verdict::plain(Class::Infrastructure) });

/// Absent-subscriber diagnostics that say more than "absent" (rules.md 4.6): class, CS slot, PS slot.
/// 11 and 12 speak of IP, which we watch ourselves; they and all unknown ones name no slot.
const DIAGNOSES: &[(u8, Class, Option<SlotNews>, Option<SlotNews>)] = &[
    (0, Class::Absent, Some(SlotNews::Unknown), None),
    (1, Class::Absent, Some(SlotNews::Detached), None),
    (2, Class::Permanent, None, None),
    (3, Class::Absent, Some(SlotNews::Detached), None),
    (4, Class::Absent, Some(SlotNews::Detached), None),
    (5, Class::Absent, None, Some(SlotNews::Unknown)),
    (6, Class::Absent, None, Some(SlotNews::Detached)),
    (7, Class::Absent, None, Some(SlotNews::Detached)),
    (8, Class::Absent, None, Some(SlotNews::Detached)),
    (9, Class::Absent, Some(SlotNews::Detached), None),
    (10, Class::Absent, None, Some(SlotNews::Detached)),
    (13, Class::Busy, None, None),
];

/// rules.md 4.8. The last row is our reading of the errors it leaves out: the network's own trouble.
const MAP: &[Row] = &[
    (1, 1, "unknownSubscriber", NOT_CAPABLE),
    (5, 5, "unidentifiedSubscriber", ABSENT),
    (6, 6, "absentSubscriberSM", ABSENT),
    (9, 9, "illegalSubscriber", NOT_CAPABLE),
    (11, 11, "teleserviceNotProvisioned", NOT_CAPABLE),
    (12, 12, "illegalEquipment", NOT_CAPABLE),
    (13, 13, "callBarred", BARRED),
    (21, 21, "facilityNotSupported", NOT_CAPABLE),
    (27, 27, "absentSubscriber", ABSENT),
    (31, 31, "subscriberBusyForMT-SMS", BUSY),
    (32, 32, "sm-DeliveryFailure", INFRA),
    (33, 33, "messageWaitingListFull", NO_ALERT),
    (34, 34, "systemFailure", INFRA),
    (35, 35, "dataMissing", INFRA),
    (36, 36, "unexpectedDataValue", INFRA),
    (0, 255, "", INFRA),
];

/// rules.md 4.8: each as its MAP counterpart. The last two rows are our reading of the rest: TOO_BUSY
/// of the base protocol, and protocol errors.
const DIAMETER: &[Row] = &[
    (5001, 5001, "DIAMETER_ERROR_USER_UNKNOWN", NOT_CAPABLE),
    (5550, 5550, "DIAMETER_ERROR_ABSENT_USER", ABSENT),
    (5551, 5551, "DIAMETER_ERROR_USER_BUSY_FOR_MT_SMS", BUSY),
    (5552, 5552, "DIAMETER_ERROR_FACILITY_NOT_SUPPORTED", NOT_CAPABLE),
    (5553, 5553, "DIAMETER_ERROR_ILLEGAL_USER", NOT_CAPABLE),
    (5554, 5554, "DIAMETER_ERROR_ILLEGAL_EQUIPMENT", NOT_CAPABLE),
    (5555, 5555, "DIAMETER_ERROR_SM_DELIVERY_FAILURE", INFRA),
    (5556, 5556, "DIAMETER_ERROR_SERVICE_NOT_SUBSCRIBED", NOT_CAPABLE),
    (5557, 5557, "DIAMETER_ERROR_SERVICE_BARRED", BARRED),
    (5558, 5558, "DIAMETER_ERROR_MWD_LIST_FULL", NO_ALERT),
    (3004, 3004, "DIAMETER_TOO_BUSY", CONGESTION),
    (3000, 5999, "", INFRA),
];

/// What MAP 32 and Diameter 5555 say more closely (rules.md 4.8).
const DELIVERY_FAILURE: &[Row] = &[
    (0, 0, "memoryCapacityExceeded", MEMORY_FULL),
    (1, 1, "equipmentProtocolError", INFRA),
    (2, 2, "equipmentNotSM-Equipped", NOT_CAPABLE),
    (3, 3, "unknownServiceCentre", ALARM),
    (4, 4, "sc-Congestion", CONGESTION),
    (5, 5, "invalidSME-Address", CONTENT),
    (6, 6, "subscriberNotSC-Subscriber", POLICY),
    (0, 255, "", INFRA),
];

/// rules.md 4.7 by `message_state`, then overload by `command_status` (3.8), which no state collides
/// with. What a platform numbers its own way is in no row.
const SMPP: &[Row] = &[
    (1, 1, "ENROUTE", Report::Trying),
    (2, 2, "DELIVRD DELIVERED", DELIVERED),
    (3, 3, "EXPIRED", ABSENT),
    (4, 4, "DELETED", POLICY),
    (5, 5, "UNDELIV UNDELIVERABLE", POLICY),
    (6, 6, "ACCEPTD ACCEPTED", Report::Trying),
    (7, 7, "UNKNOWN", Report::Unknown),
    (8, 8, "REJECTD REJECTED", POLICY),
    (0x14, 0x14, "ESME_RMSGQFUL", CONGESTION),
    (0x58, 0x58, "ESME_RTHROTTLED", CONGESTION),
];

/// rules.md 4.7. It leaves out values that TS 23.040 9.2.3.15 reserves or gives to each centre: they
/// are read by their group, which two bits of every value tell.
const TP_STATUS: &[Row] = &[
    (0x00, 0x00, "", DELIVERED),
    (0x01, 0x1F, "", ASSUMED),
    (0x20, 0x3F, "", Report::Trying),
    (0x46, 0x46, "", ABSENT),
    (0x40, 0x5F, "", POLICY),
    (0x60, 0x60, "", CONGESTION),
    (0x61, 0x61, "", BUSY),
    (0x62, 0x62, "", ABSENT),
    (0x63, 0x63, "", POLICY),
    (0x64, 0x7F, "", INFRA),
];

/// rules.md 3.8 names 22 and TP-FCS 0xD3; the rest is our reading of TS 24.011 8.2.5.4 and of TP-FCS,
/// each as the MAP error it comes from. 24.011 wants unknown causes read as a passing failure.
const RP: &[Row] = &[
    (1, 1, "", NOT_CAPABLE),       // unassigned number
    (8, 8, "", BARRED),            // operator determined barring
    (10, 10, "", BARRED),          // call barred
    (21, 21, "", POLICY),          // short message transfer rejected
    (22, 22, "", MEMORY_FULL),     // memory capacity exceeded
    (27, 28, "", ABSENT),          // destination out of order, unidentified subscriber
    (29, 30, "", NOT_CAPABLE),     // facility rejected, unknown subscriber
    (42, 42, "", CONGESTION),      // congestion
    (47, 47, "", CONGESTION),      // resources unavailable
    (50, 50, "", NOT_CAPABLE),     // requested facility not subscribed
    (69, 69, "", NOT_CAPABLE),     // requested facility not implemented
    (0xD0, 0xD0, "", MEMORY_FULL), // SIM SMS storage full
    (0xD1, 0xD1, "", NOT_CAPABLE), // no SMS storage capability in SIM
    (0xD3, 0xD3, "", MEMORY_FULL), // memory capacity exceeded
    (0xD4, 0xD4, "", BUSY),        // SIM Application Toolkit busy
    (0, 255, "", INFRA),
];

/// What an absent-subscriber diagnostic says; one we do not know says just "absent".
#[must_use]
pub fn diagnose(diagnostic: u8) -> Diagnosis {
    let row = DIAGNOSES.iter().find(|(number, ..)| *number == diagnostic);
    let (_, class, cs, ps) = row.copied().unwrap_or((diagnostic, Class::Absent, None, None));
    Diagnosis { class, cs, ps, barred_roaming: class == Class::Permanent }
}

/// What `error.code` says, with the diagnostic that came with it. None: it is neither a number nor a
/// word we know, or it is no SIP answer that ends anything; it counts as no code then.
///
/// `code` is decimal, hexadecimal after `0x`, or a standard's name; case and punctuation are free.
/// With MAP 32 and Diameter 5555 `diagnostic` is the cause of the delivery failure, else that of the
/// absence.
#[must_use]
pub fn classify(protocol: Protocol, code: &str, diagnostic: Option<u8>) -> Option<Report> {
    let (protocol, number, report) = match number(code) {
        Some(code) if protocol == Protocol::Sip => {
            (protocol, code, sip_from_gateway(u16::try_from(code).ok()?)?.report())
        }
        Some(code) => (protocol, code, by_number(protocol.rows(), code).unwrap_or(ABSENT)),
        None => by_name(protocol, code)?,
    };
    let report = match (protocol, number, diagnostic) {
        (Protocol::Map, 32, Some(cause)) | (Protocol::Diameter, 5555, Some(cause)) => {
            by_number(DELIVERY_FAILURE, cause.into()).unwrap_or(report)
        }
        // 4.7: the centre gave up, and said what the phone's absence was.
        (Protocol::Smpp, 5, Some(_)) => ABSENT,
        _ => report,
    };
    Some(match report {
        Report::Failed(verdict) => Report::Failed(verdict.with(diagnostic)),
        Report::Delivered { .. } | Report::Trying | Report::Unknown => report,
    })
}

/// Whether the code says that the message's own life ended at the centre (rules.md P-10).
#[must_use]
pub fn is_expired(protocol: Protocol, code: &str) -> bool {
    match number(code) {
        Some(number) => {
            matches!((protocol, number), (Protocol::Smpp, 3) | (Protocol::TpStatus, 0x46))
        }
        None => {
            by_name(protocol, code).is_some_and(|(of, row, _)| (of, row) == (Protocol::Smpp, 3))
        }
    }
}

fn by_number(rows: &[Row], code: u32) -> Option<Report> {
    rows.iter().find(|(first, last, ..)| (*first..=*last).contains(&code)).map(|row| row.3)
}

/// The row that bears the name, and whose it is. A receipt's word is known under any protocol, for
/// gateways put it beside whichever they speak.
fn by_name(protocol: Protocol, name: &str) -> Option<(Protocol, u32, Report)> {
    let more = match protocol {
        Protocol::Map | Protocol::Diameter => DELIVERY_FAILURE,
        Protocol::Smpp | Protocol::TpStatus | Protocol::Rp | Protocol::Sip => &[],
    };
    [(protocol, protocol.rows()), (protocol, more), (Protocol::Smpp, SMPP)]
        .into_iter()
        .flat_map(|(whose, rows)| rows.iter().map(move |row| (whose, row)))
        .find(|(_, (_, _, names, _))| names.split(' ').any(|known| same(known, name)))
        .map(|(whose, (first, _, _, report))| (whose, *first, *report))
}

/// Whether two names differ in case and punctuation only; what holds no letter is no name.
fn same(known: &str, found: &str) -> bool {
    fn letters(name: &str) -> impl Iterator<Item = u8> {
        name.bytes().filter(|byte| !b" -_./".contains(byte)).map(|byte| byte.to_ascii_lowercase())
    }
    !known.is_empty() && letters(known).eq(letters(found))
}

fn number(code: &str) -> Option<u32> {
    let code = code.trim();
    let hex = code.strip_prefix("0x").or_else(|| code.strip_prefix("0X"));
    let (digits, radix) = hex.map_or((code, 10), |hex| (hex, 16));
    // The parser would take a sign.
    let unsigned = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    unsigned.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::failure::{SipVerdict, sip_from_client};

    #[test]
    fn every_row_is_reached_by_its_number_and_by_its_names() {
        for &protocol in Protocol::ALL {
            for &(first, last, names, report) in protocol.rows() {
                let reached = by_number(protocol.rows(), last);
                assert_eq!(reached, Some(report), "{protocol} {first}-{last}");
                assert!(classify(protocol, &first.to_string(), None).is_some());
                for name in names.split_whitespace() {
                    let by_number = classify(protocol, &format!("{first:#x}"), None);
                    assert_eq!(classify(protocol, &name.to_lowercase(), None), by_number, "{name}");
                }
            }
        }
        for &(cause, _, name, report) in DELIVERY_FAILURE {
            let cause = u8::try_from(cause).ok();
            if !name.is_empty() {
                assert_eq!(classify(Protocol::Map, "32", cause), Some(report), "{name}");
                assert_eq!(classify(Protocol::Diameter, "5555", cause), Some(report), "{name}");
                assert_eq!(classify(Protocol::Map, name, None), Some(report), "{name}");
            }
        }
    }

    #[test]
    fn every_class_has_a_code() {
        let reports = Protocol::ALL.iter().flat_map(|protocol| protocol.rows()).map(|row| row.3);
        let mut found: BTreeSet<_> = reports.filter_map(class).collect();
        found.extend((200..700).filter_map(|code| match sip_from_client(code, true)? {
            SipVerdict::Failed { class, .. } => Some(class),
            SipVerdict::Delivered | SipVerdict::Accepted | SipVerdict::Artefact => None,
        }));

        assert_eq!(found, Class::ALL.iter().copied().collect());
    }

    #[test]
    fn a_diagnostic_explains_an_absence() {
        let of = |diagnostic| match classify(Protocol::Map, "absentSubscriberSM", Some(diagnostic))
        {
            Some(Report::Failed(verdict)) => verdict,
            other => panic!("{other:?}"),
        };
        let slots = |diagnostic| (diagnose(diagnostic).cs, diagnose(diagnostic).ps);
        let (detached, unknown) = (Some(SlotNews::Detached), Some(SlotNews::Unknown));

        assert_eq!([1, 3, 4, 9].map(slots), [(detached, None); 4]);
        assert_eq!([6, 7, 8, 10].map(slots), [(None, detached); 4]);
        assert_eq!([0, 5].map(slots), [(unknown, None), (None, unknown)]);
        assert_eq!([2, 11, 12, 13, 14, 255].map(slots), [(None, None); 6]);
        assert_eq!((of(2).class, of(2).block), (Class::Permanent, Some(BlockKind::Barred)));
        assert!(of(2).diagnosis.is_some_and(|diagnosis| diagnosis.barred_roaming));
        assert_eq!(
            [11, 12, 13, 14].map(|n| of(n).class == Class::Busy),
            [false, false, true, false]
        );
        // 4.7: a centre that gave up says policy, unless it says why.
        assert_eq!(classify(Protocol::Smpp, "UNDELIV", None), Some(POLICY));
        assert_eq!(classify(Protocol::Smpp, "5", Some(1)).and_then(class), Some(Class::Absent));
        assert_eq!(classify(Protocol::Map, "31", Some(1)), Some(BUSY));
    }

    #[test]
    fn what_no_row_names_falls_to_its_default() {
        let of = |protocol, code| classify(protocol, code, None);

        assert_eq!(of(Protocol::Map, "99"), Some(INFRA));
        assert_eq!(of(Protocol::Diameter, "5999"), Some(INFRA));
        assert_eq!(of(Protocol::Rp, "127"), Some(INFRA));
        assert_eq!(of(Protocol::Map, "32"), Some(INFRA));
        assert_eq!(of(Protocol::Smpp, "1077"), Some(ABSENT));
        assert_eq!(of(Protocol::TpStatus, "0x80"), Some(ABSENT));
        assert_eq!(of(Protocol::Sip, "408"), Some(Report::Unknown));
        assert_eq!(of(Protocol::Sip, "404"), Some(NOT_CAPABLE));
        assert_eq!([of(Protocol::Sip, "180"), of(Protocol::Sip, "65736")], [None; 2]);
    }

    #[test]
    fn expiry_is_told_by_number_and_word() {
        for code in
            [(Protocol::Smpp, "3"), (Protocol::TpStatus, "0x46"), (Protocol::TpStatus, "70")]
        {
            assert!(is_expired(code.0, code.1), "{code:?}");
        }
        assert!(Protocol::ALL.iter().all(|&protocol| is_expired(protocol, " Expired ")));
        assert!(!is_expired(Protocol::Map, "3") && !is_expired(Protocol::TpStatus, "46"));
    }

    #[test]
    fn no_text_panics() {
        let long = "9".repeat(9999);
        for code in
            ["", " ", "0x", "0xx", "+6", "-1", "0x+6", "6,5", "é€😀", "0x1FFFFFFFF", "\0", &long]
        {
            for &protocol in Protocol::ALL {
                assert_eq!(classify(protocol, code, Some(0)), None, "{protocol} {code:?}");
                assert!(!is_expired(protocol, code));
            }
        }
    }

    fn class(report: Report) -> Option<Class> {
        match report {
            Report::Failed(verdict) => Some(verdict.class),
            Report::Unknown => Some(Class::Unknown),
            Report::Delivered { .. } | Report::Trying => None,
        }
    }
}
