//! What a SIP answer to an attempt means, from a client and from the ISF/IWF.
//!
//! Source: `rules.md` 4.9, RFC 3261.

use super::{Class, Report, SipVerdict, Verdict};

const fn sip(class: Class) -> SipVerdict {
    SipVerdict::Failed { class, alarm: false, drop_contact: false }
}
const fn sip_alarm(class: Class) -> SipVerdict {
    SipVerdict::Failed { class, alarm: true, drop_contact: false }
}

/// A client's answers (rules.md 4.9). A number below 10 stands for its hundred.
const FROM_CLIENT: &[(&[u16], SipVerdict)] = &[
    (&[202], SipVerdict::Accepted),
    (&[401, 407], sip_alarm(Class::Infrastructure)),
    (&[404, 408, 480, 504], sip(Class::Absent)),
    (&[413, 415, 488, 513, 606], sip(Class::Content)),
    (&[416], sip_alarm(Class::Permanent)),
    (&[430], SipVerdict::Failed { class: Class::Absent, alarm: false, drop_contact: true }),
    (&[481, 487, 491], SipVerdict::Artefact),
    (&[486, 600], sip(Class::Busy)),
    (&[603], sip(Class::Declined)),
    (&[400, 402, 403, 405, 410, 420, 421, 604], sip(Class::Permanent)),
    (&[500, 502, 503], sip(Class::Infrastructure)),
    (&[200, 2], SipVerdict::Delivered),
    (&[3, 4], sip(Class::Permanent)),
    (&[5], sip(Class::Infrastructure)),
    (&[6], sip(Class::Busy)),
];

/// The ISF/IWF's answers (rules.md 4.9). Where it says that our request was wrong, an operator must
/// look: it is not the user's SMS that fails.
const FROM_GATEWAY: &[(&[u16], SipVerdict)] = &[
    (&[408, 504], sip(Class::Unknown)),
    (&[403], sip(Class::Policy)),
    (&[404, 410, 603, 604], sip(Class::Permanent)),
    (&[480], sip(Class::Absent)),
    (&[413, 415, 488, 513, 606], sip(Class::Content)),
    (
        &[400, 401, 402, 405, 407, 416, 420, 421, 430, 481, 487, 491],
        sip_alarm(Class::Infrastructure),
    ),
    (&[200, 202, 2], SipVerdict::Accepted),
    (&[3], sip_alarm(Class::Infrastructure)),
    (&[4, 5], sip(Class::Infrastructure)),
    (&[6], sip(Class::Busy)),
];

/// What a client's final answer means; nothing for a provisional one. A 503 that says when to come
/// again is overload, any other a fault.
#[must_use]
pub fn sip_from_client(code: u16, retry_after: bool) -> Option<SipVerdict> {
    if code == 503 && retry_after {
        return Some(sip(Class::Congestion));
    }
    answer(FROM_CLIENT, code)
}

/// What the ISF/IWF's final answer means; nothing for a provisional one.
#[must_use]
pub fn sip_from_gateway(code: u16) -> Option<SipVerdict> {
    answer(FROM_GATEWAY, code)
}

fn answer(rows: &[(&[u16], SipVerdict)], code: u16) -> Option<SipVerdict> {
    let of = |key| rows.iter().find(|(codes, _)| codes.contains(&key)).map(|(_, verdict)| *verdict);
    // Below 100 is no SIP code; it must not be taken for a hundred.
    (code >= 100).then(|| of(code).or_else(|| of(code / 100))).flatten()
}

impl SipVerdict {
    /// The answer as a report: what the gateway only accepted is still on its way.
    pub(super) fn report(self) -> Report {
        match self {
            Self::Delivered => Report::Delivered { assumed: false },
            Self::Accepted => Report::Trying,
            Self::Artefact => Report::Failed(Verdict::of(Class::Absent, None)),
            Self::Failed { class: Class::Unknown, .. } => Report::Unknown,
            Self::Failed { class, alarm, .. } => {
                Report::Failed(Verdict { alarm, ..Verdict::of(class, None) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sip_row_is_reached() {
        for (rows, of) in [
            (FROM_CLIENT, (|code| sip_from_client(code, false)) as fn(u16) -> _),
            (FROM_GATEWAY, sip_from_gateway),
        ] {
            for (codes, verdict) in rows {
                for &code in *codes {
                    // 99 of each hundred stands in no row.
                    let code = if code < 10 { code * 100 + 99 } else { code };
                    assert_eq!(of(code), Some(*verdict), "{code}");
                }
            }
            assert_eq!([0, 2, 6, 99, 100, 180, 199, 700, u16::MAX].map(of), [None; 9]);
        }
        assert_eq!(sip_from_client(503, true), Some(sip(Class::Congestion)));
    }
}
