//! The walk-throughs of `rules.md` 3.11, W-9 to W-15, as stories.

use super::stories::{
    BEFORE, GATEWAY, GOT_IP, GOT_SMS, NETWORK, PHONE, SENDER, SIGNS_IN, TAKEN, absent, accepted,
    arrived, delivered, on,
};
use super::story::{H, M, S, Say, Step, Story, Tale, at, text};

/// W-9 to W-15.
pub(super) static REST: [Story; 7] = [
    Story {
        number: 9,
        name: "memory",
        title: "Memory full",
        intro: "The phone is there, only its SMS memory is full. Coming back helps nothing; freed memory does.",
        tales: &[
            Tale { or: "", policy: &[], steps: FREED },
            Tale { or: "it is not freed: once an hour, then every six", policy: &[], steps: FULL },
        ],
    },
    Story {
        number: 10,
        name: "no-report",
        title: "An SMS nobody reports on",
        intro: "It may have arrived or not. A second SMS might be read twice, so from here on it is IP only.",
        tales: &[
            Tale { or: "", policy: &[], steps: NO_REPORT },
            Tale { or: "the report comes after all", policy: &[], steps: LATE_REPORT },
            Tale {
                or: "neither comes: the sender hears that nobody knows",
                policy: &[],
                steps: NEVER,
            },
        ],
    },
    Story {
        number: 11,
        name: "smsc-keeps",
        title: "An SMS centre that keeps messages",
        intro: "Some SMS centres retry for days by themselves. What they have taken is theirs to deliver.",
        tales: &[
            Tale { or: "", policy: BUFFERED, steps: KEPT },
            Tale { or: "it never says a word", policy: BUFFERED, steps: KEPT_SILENT },
        ],
    },
    Story {
        number: 12,
        name: "crossing",
        title: "Data comes while an SMS is out",
        intro: "The SMS cannot be called back. What comes behind it waits ten seconds, so that order is kept.",
        tales: &[
            Tale { or: "", policy: &[], steps: CROSSING },
            Tale {
                or: "the SMS fails: both go over IP, in order",
                policy: &[],
                steps: CROSSING_FAILS,
            },
            Tale {
                or: "not a word of it: the next one goes first",
                policy: &[],
                steps: CROSSING_SILENT,
            },
        ],
    },
    Story {
        number: 13,
        name: "expiry",
        title: "Too late",
        intro: "One message is worth nothing after 20 seconds. It is dropped, the sender told, the rest goes on.",
        tales: &[Tale { or: "", policy: &[], steps: EXPIRY }],
    },
    Story {
        number: 14,
        name: "no-news",
        title: "No news of the phone",
        intro: "Nobody tells where the phone is. deferd tries now and then, ever more rarely, until news comes.",
        tales: &[
            Tale { or: "", policy: &[], steps: NO_NEWS },
            Tale {
                or: "the operator prefers to try an SMS at once",
                policy: SMS_FIRST,
                steps: AT_ONCE,
            },
            Tale { or: "eight tries, and then only news can help", policy: &[], steps: EIGHT },
        ],
    },
    Story {
        number: 15,
        name: "both",
        title: "Both at once",
        intro: "The recipient asked for an SMS beside every message. Whichever arrives, the message is delivered.",
        tales: &[
            Tale { or: "", policy: &[], steps: BOTH },
            Tale {
                or: "neither arrives: from then on like any other",
                policy: &[],
                steps: NEITHER,
            },
        ],
    },
];

const BUFFERED: &[(&str, &str)] = &[("sms_mode", "buffered")];
const SMS_FIRST: &[(&str, &str)] = &[("first_try", "sms")];
const OFF: &str = "sends \"Lunch at one?\"; the phone is off";
const AND: &str = "sends \"Or at two?\" as well";
const BACK: &str = "is on again: the voice network sees it, data is not there yet";
const NO_ANSWER: &str = "reports: the phone does not answer";
const FULL_SAYS: &str = "reports: the phone's SMS memory is full";
const CAN_SMS: &str = "says: that phone can take SMS again";

const fn full(message: &'static str) -> Say {
    Say::Report(message, false, "cause=memory-full")
}

const FREED: &[Step] = &[
    at(BEFORE, SENDER, OFF, Say::Message(text("m-memory", "Lunch at one?"))),
    at(0, PHONE, BACK, Say::Cs),
    at(33 * S, GATEWAY, FULL_SAYS, full("m-memory")),
    at(300 * S, PHONE, "is seen again, which frees no memory", Say::Cs),
    at(
        900 * S,
        NETWORK,
        "says: that phone has room for SMS again",
        Say::Ready("alert_reason=memory"),
    ),
    at(901 * S, GATEWAY, TAKEN, accepted("m-memory", 2)),
    at(905 * S, GATEWAY, GOT_SMS, arrived("m-memory")),
];

const FULL: &[Step] = &[
    at(BEFORE, SENDER, OFF, Say::Message(text("m-full", "Lunch at one?"))),
    at(0, PHONE, BACK, Say::Cs),
    at(33 * S, GATEWAY, FULL_SAYS, full("m-full")),
    at(3636 * S, GATEWAY, FULL_SAYS, full("m-full")),
    at(25_300 * S, PHONE, "has been tidied up, and is seen again", Say::Cs),
    at(25_331 * S, GATEWAY, TAKEN, accepted("m-full", 3)),
    at(25_336 * S, GATEWAY, GOT_SMS, arrived("m-full")),
];

const NO_REPORT: &[Step] = &[
    at(BEFORE, SENDER, OFF, Say::Message(text("m-quiet", "Lunch at one?").with_receipts())),
    at(BEFORE + S, SENDER, AND, Say::Message(text("m-quiet-2", "Or at two?"))),
    at(-30 * S, PHONE, BACK, Say::Cs),
    at(500, GATEWAY, "starts", Say::Outcome("m-quiet", 1, "sms", "outcome=started")),
    at(S, GATEWAY, TAKEN, accepted("m-quiet", 1)),
    at(122 * S, GATEWAY, TAKEN, accepted("m-quiet-2", 1)),
    at(125 * S, GATEWAY, GOT_SMS, arrived("m-quiet-2")),
    at(600 * S, PHONE, SIGNS_IN, on(PHONE)),
    at(603 * S, PHONE, GOT_IP, delivered("m-quiet", 2)),
];

const LATE_REPORT: &[Step] = &[
    at(BEFORE, SENDER, OFF, Say::Message(text("m-quiet-b", "Lunch at one?").with_receipts())),
    at(-30 * S, PHONE, BACK, Say::Cs),
    at(S, GATEWAY, TAKEN, accepted("m-quiet-b", 1)),
    at(300 * S, GATEWAY, GOT_SMS, arrived("m-quiet-b")),
    at(600 * S, PHONE, SIGNS_IN, on(PHONE)),
];

const NEVER: &[Step] = &[
    at(
        BEFORE,
        SENDER,
        "sends \"Lunch at one?\", good for 70 minutes; the phone is off",
        Say::Message(text("m-quiet-c", "Lunch at one?").with_receipts().living(4200)),
    ),
    at(-30 * S, PHONE, BACK, Say::Cs),
    at(S, GATEWAY, TAKEN, accepted("m-quiet-c", 1)),
];

const KEPT: &[Step] = &[
    at(
        BEFORE,
        SENDER,
        "sends \"Lunch at one?\", good for a day; the phone is off",
        Say::Message(text("m-kept", "Lunch at one?").with_receipts().living(87_000)),
    ),
    at(
        BEFORE,
        SENDER,
        AND,
        Say::Message(text("m-kept-2", "Or at two?").with_receipts().living(87_000)),
    ),
    at(0, PHONE, BACK, Say::Cs),
    at(31 * S, GATEWAY, TAKEN, accepted("m-kept", 1)),
    at(32 * S, GATEWAY, TAKEN, accepted("m-kept-2", 1)),
    at(500 * S, PHONE, SIGNS_IN, on(PHONE)),
    at(7200 * S, GATEWAY, GOT_SMS, arrived("m-kept")),
    at(
        86_400 * S,
        GATEWAY,
        "reports: the SMS expired",
        Say::Report("m-kept-2", false, "error.protocol=tp-status error.code=0x46"),
    ),
];

const KEPT_SILENT: &[Step] = &[
    at(
        BEFORE,
        SENDER,
        "sends \"Lunch at one?\", good for a day; the phone is off",
        Say::Message(text("m-kept-b", "Lunch at one?").with_receipts().living(87_000)),
    ),
    at(0, PHONE, BACK, Say::Cs),
    at(31 * S, GATEWAY, TAKEN, accepted("m-kept-b", 1)),
];

const CROSSING: &[Step] = &[
    at(BEFORE, SENDER, OFF, Say::Message(text("m-cross", "Lunch at one?"))),
    at(BEFORE, SENDER, AND, Say::Message(text("m-cross-2", "Or at two?"))),
    at(-30 * S, PHONE, BACK, Say::Cs),
    at(3 * S, PHONE, SIGNS_IN, on(PHONE)),
    at(9 * S, GATEWAY, GOT_SMS, arrived("m-cross")),
    at(10 * S, PHONE, GOT_IP, delivered("m-cross-2", 1)),
];

const CROSSING_FAILS: &[Step] = &[
    at(BEFORE, SENDER, OFF, Say::Message(text("m-cross-b", "Lunch at one?"))),
    at(BEFORE, SENDER, AND, Say::Message(text("m-cross-b2", "Or at two?"))),
    at(-30 * S, PHONE, BACK, Say::Cs),
    at(3 * S, PHONE, SIGNS_IN, on(PHONE)),
    at(9 * S, GATEWAY, NO_ANSWER, absent("m-cross-b")),
    at(10 * S, PHONE, GOT_IP, delivered("m-cross-b", 2)),
    at(11 * S, PHONE, GOT_IP, delivered("m-cross-b2", 1)),
];

const CROSSING_SILENT: &[Step] = &[
    at(BEFORE, SENDER, OFF, Say::Message(text("m-cross-c", "Lunch at one?"))),
    at(BEFORE, SENDER, AND, Say::Message(text("m-cross-c2", "Or at two?"))),
    at(-30 * S, PHONE, BACK, Say::Cs),
    at(3 * S, PHONE, SIGNS_IN, on(PHONE)),
    at(14 * S, PHONE, GOT_IP, delivered("m-cross-c2", 1)),
    at(20 * S, GATEWAY, NO_ANSWER, absent("m-cross-c")),
    at(21 * S, PHONE, GOT_IP, delivered("m-cross-c", 2)),
];

const EXPIRY: &[Step] = &[
    at(
        BEFORE,
        SENDER,
        "sends \"Taxi in ten?\", which nobody needs 620 s later; the phone is off",
        Say::Message(text("m-taxi", "Taxi in ten?").with_receipts().living(620)),
    ),
    at(
        BEFORE,
        SENDER,
        "sends \"See you tomorrow\"",
        Say::Message(text("m-tomorrow", "See you tomorrow")),
    ),
    at(0, PHONE, BACK, Say::Cs),
    at(31 * S, GATEWAY, TAKEN, accepted("m-tomorrow", 1)),
    at(36 * S, GATEWAY, GOT_SMS, arrived("m-tomorrow")),
];

const NO_NEWS: &[Step] = &[
    at(0, SENDER, OFF, Say::Message(text("m-nonews", "Lunch at one?"))),
    at(905 * S, GATEWAY, NO_ANSWER, no_answer("m-nonews")),
    at(2710 * S, GATEWAY, NO_ANSWER, no_answer("m-nonews")),
    at(6315 * S, GATEWAY, NO_ANSWER, no_answer("m-nonews")),
    at(20_000 * S, NETWORK, CAN_SMS, Say::Ready("")),
    at(20_016 * S, GATEWAY, TAKEN, accepted("m-nonews", 4)),
    at(20_020 * S, GATEWAY, GOT_SMS, arrived("m-nonews")),
];

const fn no_answer(message: &'static str) -> Say {
    Say::Report(message, false, "cause=absent")
}

const AT_ONCE: &[Step] = &[
    at(0, SENDER, OFF, Say::Message(text("m-atonce", "Lunch at one?"))),
    at(S, GATEWAY, TAKEN, accepted("m-atonce", 1)),
    at(5 * S, GATEWAY, GOT_SMS, arrived("m-atonce")),
];

const EIGHT: &[Step] = &[
    at(0, SENDER, OFF, Say::Message(text("m-eight", "Lunch at one?"))),
    at(905 * S, GATEWAY, NO_ANSWER, no_answer("m-eight")),
    at(2710 * S, GATEWAY, NO_ANSWER, no_answer("m-eight")),
    at(6315 * S, GATEWAY, NO_ANSWER, no_answer("m-eight")),
    at(20_720 * S, GATEWAY, NO_ANSWER, no_answer("m-eight")),
    at(35_125 * S, GATEWAY, NO_ANSWER, no_answer("m-eight")),
    at(49_530 * S, GATEWAY, NO_ANSWER, no_answer("m-eight")),
    at(63_935 * S, GATEWAY, NO_ANSWER, no_answer("m-eight")),
    at(78_340 * S, GATEWAY, NO_ANSWER, no_answer("m-eight")),
    at(200_000 * S, NETWORK, CAN_SMS, Say::Ready("")),
    at(200_016 * S, GATEWAY, TAKEN, accepted("m-eight", 9)),
    at(200_020 * S, GATEWAY, GOT_SMS, arrived("m-eight")),
];

const BOTH: &[Step] = &[
    at(-H, PHONE, SIGNS_IN, on(PHONE)),
    at(
        0,
        SENDER,
        "sends \"Lunch at one?\"",
        Say::Message(text("m-both", "Lunch at one?").and_sms()),
    ),
    at(S, PHONE, "answers over IP: received", delivered("m-both", 1)),
    at(2 * S, GATEWAY, TAKEN, accepted("m-both", 2)),
    at(5 * S, GATEWAY, GOT_SMS, arrived("m-both")),
];

const NEITHER: &[Step] = &[
    at(-50 * M, PHONE, SIGNS_IN, on(PHONE)),
    at(
        0,
        SENDER,
        "sends \"Lunch at one?\"",
        Say::Message(text("m-both-b", "Lunch at one?").and_sms()),
    ),
    at(
        2 * S,
        GATEWAY,
        "says: no answer over IP",
        Say::Outcome("m-both-b", 1, "cpm", "outcome=failed cause=absent"),
    ),
    at(8 * S, GATEWAY, "reports: no answer to the SMS", no_answer("m-both-b")),
    at(909 * S, PHONE, GOT_IP, delivered("m-both-b", 3)),
];
