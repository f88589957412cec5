//! The walk-throughs of `rules.md` 3.11, W-1 to W-8, as stories.

use super::story::{D, H, M, S, Say, Step, Story, Tale, at, text};

pub(super) const PHONE: &str = "phone";
pub(super) const TABLET: &str = "tablet";
pub(super) const SENDER: &str = "sender";
pub(super) const NETWORK: &str = "network";
pub(super) const GATEWAY: &str = "gateway";
pub(super) const DEFERD: &str = "deferd";

/// Ten minutes ahead of the story proper.
pub(super) const BEFORE: i64 = -10 * M;
/// A registration that outlives its story, in seconds.
pub(super) const LONG: i64 = 3 * 86_400;

pub(super) const TAKEN: &str = "accepts the SMS";
pub(super) const GOT_SMS: &str = "reports: the phone has the SMS";
pub(super) const GOT_IP: &str = "answers: received";
pub(super) const SIGNS_IN: &str = "has data: its messaging app signs in";

pub(super) const fn accepted(message: &'static str, n: u32) -> Say {
    Say::Outcome(message, n, "sms", "outcome=accepted")
}

pub(super) const fn delivered(message: &'static str, n: u32) -> Say {
    Say::Outcome(message, n, "cpm", "outcome=delivered")
}

pub(super) const fn arrived(message: &'static str) -> Say {
    Say::Report(message, true, "domain=CS")
}

pub(super) const fn absent(message: &'static str) -> Say {
    Say::Report(message, false, "cause=absent domain=CS")
}

pub(super) const fn on(device: &'static str) -> Say {
    Say::Registered(device, LONG)
}

/// W-1 to W-8.
pub(super) static FIRST: [Story; 8] = [
    Story {
        number: 1,
        name: "airplane",
        title: "Airplane mode off",
        intro: "Voice comes back first, data six seconds later. No SMS is wasted.",
        tales: &[Tale { or: "", policy: &[], steps: AIRPLANE }],
    },
    Story {
        number: 2,
        name: "2g",
        title: "Nothing but 2G",
        intro: "The phone comes back where there is voice and no data. IP gets 30 seconds, then it is SMS.",
        tales: &[Tale { or: "", policy: &[], steps: ONLY_2G }],
    },
    Story {
        number: 3,
        name: "off-again",
        title: "Off again",
        intro: "The phone vanishes just as the SMS goes out. The message is kept until the next sign of life.",
        tales: &[Tale { or: "", policy: &[], steps: OFF_AGAIN }],
    },
    Story {
        number: 4,
        name: "file",
        title: "A file",
        intro: "No SMS can carry a photo. A short notice goes instead, and the photo follows when there is \
                data.",
        tales: &[Tale { or: "", policy: &[], steps: FILE }],
    },
    Story {
        number: 5,
        name: "outage",
        title: "Catching up",
        intro: "deferd itself is down for an hour. It reads all it missed before it acts on any of it.",
        tales: &[
            Tale { or: "", policy: &[], steps: OUTAGE },
            Tale { or: "the phone never got data", policy: &[], steps: OUTAGE_NO_IP },
        ],
    },
    Story {
        number: 6,
        name: "blip",
        title: "A radio blip",
        intro: "Data comes and goes within a second. That moves nothing: the first deadline stands.",
        tales: &[
            Tale { or: "", policy: &[], steps: BLIP },
            Tale { or: "the blip runs over the deadline", policy: &[], steps: BLIP_LATE },
            Tale { or: "data had worked, and is lost", policy: &[], steps: LOSS },
        ],
    },
    Story {
        number: 7,
        name: "tablet",
        title: "A second device",
        intro: "The phone has the message, so for the sender it is over. The tablet gets its copy later.",
        tales: &[
            Tale { or: "", policy: &[], steps: TABLET_LATER },
            Tale { or: "the tablet comes an instant too late", policy: &[], steps: TABLET_SOON },
        ],
    },
    Story {
        number: 8,
        name: "gateway",
        title: "Dead gateway, not dead phone",
        intro: "The IP gateway says nothing at all. The phone is not blamed, and after three tries it is SMS.",
        tales: &[
            Tale { or: "", policy: STARTS, steps: DEAD_GATEWAY },
            Tale { or: "the gateway says \"too late\"", policy: STARTS, steps: LATE },
            Tale { or: "it had started, so it is the phone", policy: STARTS, steps: DEAD_PHONE },
            Tale { or: "that phone had answered before", policy: STARTS, steps: LOST_PHONE },
            Tale { or: "a gateway that never says it started", policy: &[], steps: SILENT },
        ],
    },
];

const STARTS: &[(&str, &str)] = &[("gateway_reports_start", "true")];
const BACK: &str = "is on again: the voice network sees it, data is not there yet";
const OUT: &str = "sends \"Lunch at one?\"; the phone is off";

const AIRPLANE: &[Step] = &[
    at(
        BEFORE,
        SENDER,
        "sends \"Lunch at one?\"; the phone is in airplane mode",
        Say::Message(text("m-lunch", "Lunch at one?")),
    ),
    at(0, PHONE, "leaves airplane mode: the voice network sees it", Say::Cs),
    at(S, PHONE, "gets a data connection", Say::Ps),
    at(6 * S, PHONE, "its messaging app signs in over data", on(PHONE)),
    at(9 * S, PHONE, GOT_IP, delivered("m-lunch", 1)),
];

const ONLY_2G: &[Step] = &[
    at(
        BEFORE,
        SENDER,
        "sends \"Boarding now\" and asks for receipts; the phone is off",
        Say::Message(text("m-2g", "Boarding now").with_receipts()),
    ),
    at(0, PHONE, "is switched on in a village with 2G only", Say::Cs),
    at(31 * S, GATEWAY, TAKEN, accepted("m-2g", 1)),
    at(36 * S, GATEWAY, GOT_SMS, arrived("m-2g")),
];

const OFF_AGAIN: &[Step] = &[
    at(BEFORE, SENDER, OUT, Say::Message(text("m-again", "Lunch at one?"))),
    at(0, PHONE, BACK, Say::Cs),
    at(31 * S, GATEWAY, TAKEN, accepted("m-again", 1)),
    at(36 * S, GATEWAY, "reports: the phone does not answer any more", absent("m-again")),
    at(400 * S, NETWORK, "says: that phone can take SMS again", Say::Ready("domain=CS")),
    at(416 * S, GATEWAY, TAKEN, accepted("m-again", 2)),
    at(420 * S, GATEWAY, GOT_SMS, arrived("m-again")),
];

const FILE: &[Step] = &[
    at(BEFORE, SENDER, "sends a photo; the phone is off", Say::Message(text("m-file", ""))),
    at(0, PHONE, BACK, Say::Cs),
    at(31 * S, GATEWAY, TAKEN, accepted("m-file", 1)),
    at(36 * S, GATEWAY, GOT_SMS, arrived("m-file")),
    at(D, PHONE, "is home, on Wi-Fi: its messaging app signs in", on(PHONE)),
    at(D + 3 * S, PHONE, GOT_IP, delivered("m-file", 2)),
];

const NOON: i64 = 12 * H;

const OUTAGE: &[Step] = &[
    at(NOON - M, SENDER, OUT, Say::Message(text("m-outage", "Lunch at one?"))),
    at(NOON, DEFERD, "is stopped for maintenance", Say::Stops),
    at(NOON + 10 * M, PHONE, "is on again: the voice network sees it; nobody reads that", Say::Cs),
    at(
        NOON + 10 * M + 6 * S,
        PHONE,
        "has data: its messaging app signs in; nobody reads that",
        on(PHONE),
    ),
    at(NOON + H, DEFERD, "is back, and reads what it missed", Say::Returns),
    at(NOON + H + S, PHONE, GOT_IP, delivered("m-outage", 1)),
];

const OUTAGE_NO_IP: &[Step] = &[
    at(NOON - M, SENDER, OUT, Say::Message(text("m-outage-b", "Lunch at one?"))),
    at(NOON, DEFERD, "is stopped for maintenance", Say::Stops),
    at(NOON + 10 * M, PHONE, "is on again: the voice network sees it; nobody reads that", Say::Cs),
    at(NOON + H, DEFERD, "is back, and reads what it missed", Say::Returns),
    at(NOON + H + S, GATEWAY, TAKEN, accepted("m-outage-b", 1)),
    at(NOON + H + 6 * S, GATEWAY, GOT_SMS, arrived("m-outage-b")),
];

const BLIP: &[Step] = &[
    at(BEFORE, SENDER, OUT, Say::Message(text("m-blip", "Lunch at one?"))),
    at(0, PHONE, BACK, Say::Cs),
    at(10 * S, PHONE, SIGNS_IN, on(PHONE)),
    at(11 * S, PHONE, "and loses data again", Say::Gone(PHONE)),
    at(31 * S, GATEWAY, TAKEN, accepted("m-blip", 1)),
    at(36 * S, GATEWAY, GOT_SMS, arrived("m-blip")),
];

const BLIP_LATE: &[Step] = &[
    at(BEFORE, SENDER, OUT, Say::Message(text("m-blip-b", "Lunch at one?"))),
    at(0, PHONE, BACK, Say::Cs),
    at(29 * S, PHONE, SIGNS_IN, on(PHONE)),
    at(30 * S + 500, PHONE, "and loses data again", Say::Gone(PHONE)),
    at(31 * S, GATEWAY, TAKEN, accepted("m-blip-b", 1)),
    at(36 * S, GATEWAY, GOT_SMS, arrived("m-blip-b")),
];

const LOSS: &[Step] = &[
    at(BEFORE, SENDER, OUT, Say::Message(text("m-loss", "Lunch at one?"))),
    at(0, PHONE, BACK, Say::Cs),
    at(10 * S, PHONE, SIGNS_IN, on(PHONE)),
    at(13 * S, PHONE, GOT_IP, delivered("m-loss", 1)),
    at(40 * S, PHONE, "loses data", Say::Gone(PHONE)),
    at(41 * S, SENDER, "sends \"Or at two?\"", Say::Message(text("m-loss-2", "Or at two?"))),
    at(56 * S, GATEWAY, TAKEN, accepted("m-loss-2", 1)),
    at(60 * S, GATEWAY, GOT_SMS, arrived("m-loss-2")),
];

const TABLET_LATER: &[Step] = &[
    at(-3 * D, TABLET, "signs in for ten minutes, three days ago", Say::Registered(TABLET, 600)),
    at(BEFORE, PHONE, SIGNS_IN, on(PHONE)),
    at(0, SENDER, "sends \"Lunch at one?\"", Say::Message(text("m-tablet", "Lunch at one?"))),
    at(300, PHONE, GOT_IP, delivered("m-tablet", 1)),
    at(2 * H, TABLET, "is opened: its messaging app signs in", on(TABLET)),
    at(2 * H + 3 * S, TABLET, GOT_IP, delivered("m-tablet", 2)),
];

const TABLET_SOON: &[Step] = &[
    at(-3 * D, TABLET, "signs in for ten minutes, three days ago", Say::Registered(TABLET, 600)),
    at(BEFORE, PHONE, SIGNS_IN, on(PHONE)),
    at(0, SENDER, "sends \"Lunch at one?\"", Say::Message(text("m-tablet-b", "Lunch at one?"))),
    at(100, TABLET, "is opened: its messaging app signs in", on(TABLET)),
    at(300, PHONE, GOT_IP, delivered("m-tablet-b", 1)),
    at(3 * S, TABLET, GOT_IP, delivered("m-tablet-b", 2)),
];

const CALM: &str = "is on the voice network, as for an hour already";
const CALM_IP: &str = "has data, and its messaging app is signed in";
const SENDS: &str = "sends \"Lunch at one?\"";
const LATE_SAYS: &str = "says: too late to start that one";

const fn started(message: &'static str, n: u32) -> Say {
    Say::Outcome(message, n, "cpm", "outcome=started")
}

const fn late(n: u32) -> Say {
    Say::Outcome("m-late", n, "cpm", "outcome=failed cause=late")
}

const DEAD_GATEWAY: &[Step] = &[
    at(-H, PHONE, CALM, Say::Cs),
    at(-H, PHONE, CALM_IP, on(PHONE)),
    at(0, SENDER, SENDS, Say::Message(text("m-gateway", "Lunch at one?"))),
    at(127 * S, GATEWAY, TAKEN, accepted("m-gateway", 4)),
    at(131 * S, GATEWAY, GOT_SMS, arrived("m-gateway")),
];

const LATE: &[Step] = &[
    at(-H, PHONE, CALM, Say::Cs),
    at(-H, PHONE, CALM_IP, on(PHONE)),
    at(0, SENDER, SENDS, Say::Message(text("m-late", "Lunch at one?"))),
    at(30 * S, GATEWAY, LATE_SAYS, late(1)),
    at(70 * S, GATEWAY, LATE_SAYS, late(2)),
    at(120 * S, GATEWAY, LATE_SAYS, late(3)),
    at(121 * S, GATEWAY, TAKEN, accepted("m-late", 4)),
    at(125 * S, GATEWAY, GOT_SMS, arrived("m-late")),
];

const DEAD_PHONE: &[Step] = &[
    at(-H, PHONE, CALM, Say::Cs),
    at(-H, PHONE, CALM_IP, on(PHONE)),
    at(0, SENDER, SENDS, Say::Message(text("m-dead", "Lunch at one?"))),
    at(S, GATEWAY, "says: I am calling the phone", started("m-dead", 1)),
    at(37 * S, GATEWAY, TAKEN, accepted("m-dead", 2)),
    at(41 * S, GATEWAY, GOT_SMS, arrived("m-dead")),
];

const LOST_PHONE: &[Step] = &[
    at(-H, PHONE, CALM, Say::Cs),
    at(-H, PHONE, CALM_IP, on(PHONE)),
    at(-50 * M, SENDER, "sends \"Good morning\"", Say::Message(text("m-lost-0", "Good morning"))),
    at(-50 * M + S, PHONE, GOT_IP, delivered("m-lost-0", 1)),
    at(0, SENDER, SENDS, Say::Message(text("m-lost", "Lunch at one?"))),
    at(S, GATEWAY, "says: I am calling the phone", started("m-lost", 1)),
    at(52 * S, GATEWAY, TAKEN, accepted("m-lost", 2)),
    at(56 * S, GATEWAY, GOT_SMS, arrived("m-lost")),
];

const SILENT: &[Step] = &[
    at(-H, PHONE, CALM, Say::Cs),
    at(-H, PHONE, CALM_IP, on(PHONE)),
    at(0, SENDER, SENDS, Say::Message(text("m-silent", "Lunch at one?"))),
    at(66 * S, PHONE, GOT_IP, delivered("m-silent", 2)),
];
