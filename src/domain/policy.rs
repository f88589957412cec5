//! What an operator may decide: waits, lifetimes, retries, quotas, switches.
//!
//! The policy is an argument of every decision and a record of the journal, so a replay decides by the
//! policy of its time. A change moves no deadline that stands (TM-1).
//!
//! Source: `rules.md` 4.1 to 4.5, and the rule that each field cites.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

mod keys;
mod words;

pub use keys::{Expected, KEYS, Key, PolicyError, nearest};
pub use words::{
    Accept202, AccessSwitch, FirstTry, ImsiChange, OnStoreFailure, SmsMode, SmsReports, UnknownSms,
};

/// Everything that an operator may decide about deliveries, for all users alike.
///
/// Shape: a field a key of `[policy]`; a key in seconds has its unit in its name there, and in its type
/// here. Units: whole seconds. Bounds: [`KEYS`]; [`check`](Self::check) holds a policy against them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    // Waiting for IP.
    /// How long a phone that attached to CS or PS has to register for IP before its messages go
    /// by SMS; 0: no wait. (TM-5, TM-6)
    #[serde(rename = "ip_wait_after_attach_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub ip_wait_after_attach: Duration,

    /// The same wait after the network said ready for SMS; 0: no wait. (TM-5, TM-6)
    #[serde(rename = "ip_wait_after_sms_ready_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub ip_wait_after_sms_ready: Duration,

    /// The same wait after a phone that had IP lost it and may be registering again; 0: no
    /// wait. (TM-6, R-1)
    #[serde(rename = "ip_wait_after_ip_loss_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub ip_wait_after_ip_loss: Duration,

    /// How long a new registration is left alone before the first message goes to it; 0: none.
    /// (T-3, R-30)
    #[serde(rename = "settle_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub settle: Duration,

    /// How long messages of a conversation stay behind an SMS in flight once the phone has IP;
    /// 0: not at all.
    #[serde(rename = "sms_hold_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub sms_hold: Duration,

    /// For a user of whom nothing is known: wait for an event or the ladder, or try an SMS at
    /// once. (T-2b)
    pub first_try: FirstTry,

    // Lifetimes and memory.
    /// How long a message is kept at most; the sender may ask for less. (T-17, P-7)
    #[serde(rename = "lifetime_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub lifetime: Duration,

    /// How long an IMDN for a user is kept at most. (T-17, R-33)
    #[serde(rename = "notification_lifetime_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub notification_lifetime: Duration,

    /// How long the end of a message is remembered, so that the same submission is told from a
    /// new one. (T-24)
    #[serde(rename = "terminal_keep_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub terminal_keep: Duration,

    /// How long a partition remembers which submissions, revocations and hands it has seen.
    ///
    #[serde(rename = "duplicate_window_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub duplicate_window: Duration,

    // Attempts.
    /// Whether gateways say `started` before they send; only then is a silent one known to be
    /// dead. (T-12)
    pub gateway_reports_start: bool,

    /// Until when a gateway may start an attempt: the command's deadline. (T-12)
    #[serde(rename = "start_within_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub start_within: Duration,

    /// How long a started attempt by IP may stay without an answer; SIP itself gives up after
    /// 32. (T-7, R-28)
    #[serde(rename = "ip_attempt_timeout_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub ip_attempt_timeout: Duration,

    /// How long the SMS gateway may take to accept or refuse; then the outcome is unknown.
    ///
    #[serde(rename = "sms_response_timeout_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub sms_response_timeout: Duration,

    /// How long a single-shot SMS that was accepted may stay without its report.
    #[serde(rename = "sms_report_timeout_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub sms_report_timeout: Duration,

    /// Whether a 202 to a sender who asked for an IMDN waits for it, or counts as delivered.
    /// (T-6)
    pub accept_202: Accept202,

    /// How long a 202 waits for its IMDN; then the outcome is unknown. (T-6)
    #[serde(rename = "imdn_wait_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub imdn_wait: Duration,

    /// How many messages of one user may be under way by IP at once. (T-1, P-1)
    pub ip_pipeline: u32,

    /// How often one message tries a contact before new evidence of it is needed.
    pub ip_attempts_per_episode: u32,

    /// How many attempts by IP in a row may fail on the way before the message may go by SMS.
    /// (T-7b)
    pub infra_failures_before_sms: u32,

    /// How many SMS a message may cost without news of the phone between them. (R-13, T-14)
    pub sms_attempts: u32,

    // Trying again.
    /// The ladder: when to try again while no event tells us anything; the last value repeats.
    /// (T-14, I-5)
    #[serde(rename = "absent_retry_seconds", with = "ladder")]
    #[schemars(with = "Vec<u64>")]
    pub absent_retry: Vec<Duration>,

    /// How long no SMS goes to a phone whose memory is full, the first time, the second, …; the
    /// last value repeats. (T-15)
    #[serde(rename = "memory_full_retry_seconds", with = "ladder")]
    #[schemars(with = "Vec<u64>")]
    pub memory_full_retry: Vec<Duration>,

    /// The first wait after busy, congestion or a failure on the way; it doubles each time.
    /// (T-23, T-7b)
    #[serde(rename = "backoff_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub backoff: Duration,

    /// Where that doubling ends. (T-23, T-7b)
    #[serde(rename = "backoff_max_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub backoff_max: Duration,

    /// How far a back-off may be off, either way, so that a failed gateway is not asked by all
    /// at once. (TM-4, P-24)
    pub jitter_percent: u32,

    /// How long no SMS is tried to a user whom the network bars or does not serve. (T-12)
    #[serde(rename = "sms_barred_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub sms_barred: Duration,

    // What is known of a phone.
    /// How long a registration counts beyond its expiry.
    #[serde(rename = "registration_grace_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub registration_grace: Duration,

    /// How old an attach may be before it counts as unknown; twice the periodic update is about
    /// right. (T-4, P-15)
    #[serde(rename = "attach_stale_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub attach_stale: Duration,

    /// How far the clocks of two probes may be apart.
    #[serde(rename = "clock_tolerance_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub clock_tolerance: Duration,

    /// How late an event may be and still move a deadline to where it would have been. (TM-2)
    #[serde(rename = "max_event_lag_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub max_event_lag: Duration,

    /// What a new IMSI does to what is held: nothing, or closes it all.
    pub imsi_change: ImsiChange,

    // SMS.
    /// Whether the SMSC tries once and reports, so that we retry, or takes the message over and
    /// retries itself.
    pub sms_mode: SmsMode,

    /// Which reports are asked of the SMS side; with failures only, silence is taken for
    /// delivery. (R-13, P-11)
    pub sms_reports: SmsReports,

    /// After an SMS of unknown outcome: IP only, or another SMS that the phone may show twice.
    /// (R-13, I-3)
    pub unknown_sms: UnknownSms,

    /// Whether a phone with PS and no CS can take SMS unless the event says otherwise.
    pub sms_over_ps: bool,

    /// Whether the primary phone is still owed the message, by SMS too, when another device has
    /// taken it by IP.
    pub sms_even_if_secondary: bool,

    /// How many segments a text may have as SMS; a longer one waits for IP and is announced.
    /// (R-20, P-4)
    pub sms_max_segments: u32,

    /// Whether a file may go by SMS as a link.
    pub file_link_by_sms: bool,

    /// Whether a geolocation may go by SMS as text.
    pub geolocation_by_sms: bool,

    /// How many announcements (UCN) a user gets by SMS an hour; 0: none. (R-20, P-25)
    pub ucn_per_user_per_hour: u32,

    // Devices, quotas, preferences.
    /// How long another device of the user is owed its copy after the delivery; 0: no copies.
    ///
    #[serde(rename = "device_copy_seconds", with = "seconds")]
    #[schemars(with = "u64")]
    pub device_copy: Duration,

    /// How many messages are held for one user; IMDNs have as many of their own. (T-25)
    pub max_deferred_per_user: u32,

    /// How many bytes are held for one user; IMDNs have as many of their own. (T-25, P-23)
    pub max_deferred_bytes_per_user: u64,

    /// Whether do-not-disturb also holds what a preference sends by SMS; `false` is the order
    /// the standard prints. (T-20, R-27)
    pub dnd_blocks_interwork: bool,

    // Switches.
    /// IP for everybody: `hold` starts nothing and changes no access, `off` is as if nobody had
    /// a device. (3.6.0)
    pub access_cpm: AccessSwitch,

    /// SMS for everybody: `hold` starts nothing and changes no access, `off` is as if nobody
    /// had a number. (3.6.0, R-24)
    pub access_sms: AccessSwitch,

    /// Whether an event report that cannot be delivered is kept. (SEED4-41)
    pub events_defer: bool,

    /// Whether an event report may be stored instead of delivered. (SEED4-41)
    pub events_store: bool,

    /// Whether an event report may go by SMS. (SEED4-41)
    pub events_interwork: bool,

    /// `pager.on_store_failure`: a key of the procedure that a decision rests on, so it travels with
    /// the policy.
    #[serde(rename = "pager_on_store_failure", skip_serializing_if = "OnStoreFailure::is_reject")]
    #[schemars(skip)]
    pub on_store_failure: OnStoreFailure,

    /// `pager.literal_imdn_rules`, which travels likewise.
    #[serde(rename = "pager_literal_imdn_rules", skip_serializing_if = "std::ops::Not::not")]
    #[schemars(skip)]
    pub literal_imdn_rules: bool,

    /// `ucn.texts`, which travel likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(skip)]
    pub ucn_texts: Vec<Box<str>>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ip_wait_after_attach: secs(30),
            ip_wait_after_sms_ready: secs(15),
            ip_wait_after_ip_loss: secs(15),
            settle: secs(2),
            sms_hold: secs(10),
            first_try: FirstTry::Wait,

            lifetime: secs(604_800),
            notification_lifetime: secs(86400),
            terminal_keep: secs(86400),
            duplicate_window: secs(172_800),

            gateway_reports_start: false,
            start_within: secs(30),
            ip_attempt_timeout: secs(35),
            sms_response_timeout: secs(35),
            sms_report_timeout: secs(120),
            accept_202: Accept202::AwaitImdn,
            imdn_wait: secs(300),
            ip_pipeline: 5,
            ip_attempts_per_episode: 2,
            infra_failures_before_sms: 3,
            sms_attempts: 8,

            absent_retry: vec![secs(900), secs(1800), secs(3600), secs(14400)],
            memory_full_retry: vec![secs(3600), secs(21600)],
            backoff: secs(10),
            backoff_max: secs(600),
            jitter_percent: 20,
            sms_barred: secs(86400),

            registration_grace: secs(60),
            attach_stale: secs(21600),
            clock_tolerance: secs(2),
            max_event_lag: secs(3600),
            imsi_change: ImsiChange::Keep,

            sms_mode: SmsMode::SingleShot,
            sms_reports: SmsReports::AskBoth,
            unknown_sms: UnknownSms::Park,
            sms_over_ps: true,
            sms_even_if_secondary: false,
            sms_max_segments: 8,
            file_link_by_sms: false,
            geolocation_by_sms: false,
            ucn_per_user_per_hour: 3,

            device_copy: secs(86400),
            max_deferred_per_user: 500,
            max_deferred_bytes_per_user: 10_485_760,
            dnd_blocks_interwork: true,

            access_cpm: AccessSwitch::On,
            access_sms: AccessSwitch::On,
            events_defer: false,
            events_store: false,
            events_interwork: false,
            on_store_failure: OnStoreFailure::Reject,
            literal_imdn_rules: false,
            ucn_texts: Vec::new(),
        }
    }
}

impl Policy {
    /// `Ok` if every value is one that its key may have.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Value`] names the first key whose value does not: the operator changes it.
    pub fn check(&self) -> Result<(), PolicyError> {
        let values = self.values();
        for key in KEYS {
            let value = values.get(key.name).unwrap_or(&Value::Null);
            if !key.expected.admits(value) {
                return Err(PolicyError::Value {
                    key: key.name,
                    given: value.to_string(),
                    expected: key.expected.to_string(),
                });
            }
        }
        Ok(())
    }

    /// This policy with one key set from text, as in `--set policy.settle_seconds=0`.
    ///
    /// `key` may stand with or without `policy.`; lists are `[900, 1800]` or `900,1800`.
    ///
    /// # Errors
    ///
    /// [`PolicyError::UnknownKey`] and [`PolicyError::Value`]: the operator corrects what was typed.
    pub fn with(&self, key: &str, value: &str) -> Result<Self, PolicyError> {
        let key = Key::find(key.strip_prefix("policy.").unwrap_or(key))?;
        let read = key.expected.read(value);
        if !key.expected.admits(&read) {
            return Err(PolicyError::Value {
                key: key.name,
                given: value.to_owned(),
                expected: key.expected.to_string(),
            });
        }
        let mut values = self.values();
        values.insert(key.name.to_owned(), read);
        Ok(Self::of(values))
    }

    /// The back-off after `n` others in a row: the first one doubled `n` times, up to the longest.
    /// Without jitter. (T-23)
    ///
    /// Where `backoff_max` is shorter than `backoff`, it wins.
    #[must_use]
    pub fn backoff(&self, n: u32) -> Duration {
        self.backoff.saturating_mul(2_u32.saturating_pow(n)).min(self.backoff_max)
    }

    /// How long the ladder waits for its rung `rung`, the first being 0; the last value repeats.
    #[must_use]
    pub fn absent_retry(&self, rung: u32) -> Duration {
        step(&self.absent_retry, rung)
    }

    /// How long memory stays full the `step`th time in a row, the first being 0; the last value
    /// repeats. (T-15)
    #[must_use]
    pub fn memory_full_retry(&self, step: u32) -> Duration {
        self::step(&self.memory_full_retry, step)
    }

    /// What tells this policy from others: 16 hex digits, the same for equal policies only.
    ///
    /// Method: the start of SHA-256 over the JSON of this, keys in alphabetical order, no spaces.
    #[must_use]
    pub fn digest(&self) -> String {
        let sorted: BTreeMap<_, _> = self.values().into_iter().collect();
        let json = sorted.iter().map(|(key, value)| format!("{key:?}:{value}"));
        let json = format!("{{{}}}", json.collect::<Vec<_>>().join(","));
        Sha256::digest(json).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    fn values(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(values)) => values,
            other => panic!("a policy is a JSON object, and this is {other:?}"),
        }
    }

    fn of(values: Map<String, Value>) -> Self {
        serde_json::from_value(Value::Object(values)).expect("each value was admitted by its key")
    }
}

/// The value for try `n`; never again, if there is none.
fn step(ladder: &[Duration], n: u32) -> Duration {
    let at = usize::try_from(n).ok().and_then(|n| ladder.get(n));
    at.or_else(|| ladder.last()).copied().unwrap_or(Duration::MAX)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(span.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_secs)
    }
}

mod ladder {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(spans: &[Duration], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(spans.iter().map(Duration::as_secs))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Duration>, D::Error> {
        Ok(Vec::deserialize(from)?.into_iter().map(Duration::from_secs).collect())
    }
}

#[cfg(test)]
mod tests;
