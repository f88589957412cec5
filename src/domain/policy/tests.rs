//! The policy as its operator writes it, and as the journal keeps it.

use super::*;

#[test]
fn the_default_makes_sense() {
    assert_eq!(Policy::default().check(), Ok(()));
}

#[test]
fn every_field_has_its_key_and_every_key_its_field() {
    let values = Policy::default().values();

    assert_eq!(values.len(), KEYS.len());
    assert!(KEYS.iter().all(|key| values.contains_key(key.name)), "{values:?}");
}

/// T-23, and no overflow after a year of failures.
#[test]
fn backoff_doubles_up_to_its_end() {
    let policy = Policy::default();

    let spans = [0, 1, 2, 5, 6, 40, u32::MAX].map(|n| policy.backoff(n).as_secs());

    assert_eq!(spans, [10, 20, 40, 320, 600, 600, 600]);
}

#[test]
fn the_last_value_of_a_ladder_repeats() {
    let policy = Policy::default();

    assert_eq!(policy.absent_retry(0), secs(900));
    assert_eq!(policy.absent_retry(3), secs(14400));
    assert_eq!(policy.absent_retry(u32::MAX), secs(14400));
    assert_eq!([0, 1, 9].map(|n| policy.memory_full_retry(n).as_secs()), [3600, 21600, 21600]);
}

#[test]
fn every_word_is_one_that_serde_reads_and_writes() {
    for key in KEYS {
        let Expected::Word(words) = key.expected else { continue };
        for word in words {
            let policy = Policy::default().with(key.name, word).unwrap();
            assert_eq!(policy.values()[key.name], *word, "{}", key.name);
        }
    }
}

#[test]
fn every_bound_is_taken_and_nothing_beyond_it() {
    for key in KEYS {
        let Expected::Number { from, to, .. } = key.expected else { continue };
        let given = |n: u64| Policy::default().with(key.name, &n.to_string());
        assert!(given(from).is_ok() && given(to).is_ok(), "{key:?}");
        assert!(given(to + 1).is_err(), "{key:?}");
        assert!(from == 0 || given(from - 1).is_err(), "{key:?}");
    }
}

#[test]
fn lists_are_written_both_ways() {
    for text in ["[60, 1_200]", "60,1200", " 60 , 1200, "] {
        let policy = Policy::default().with("policy.absent_retry_seconds", text).unwrap();
        assert_eq!(policy.absent_retry, [secs(60), secs(1200)], "{text}");
    }
}

#[test]
fn errors_name_the_key_what_was_given_and_what_was_expected() {
    let told = |key: &str, value: &str| {
        Policy::default().with(key, value).map_or_else(|e| e.to_string(), |_| "taken".to_owned())
    };

    assert_eq!(told("settle_seconds", "0"), "taken");
    assert_eq!(
        told("settle_seconds", "61"),
        "settle_seconds is `61`, expected whole seconds from 0 to 60"
    );
    assert_eq!(
        told("policy.ip_pipeline", "0"),
        "ip_pipeline is `0`, expected a whole number from 1 to 100"
    );
    assert_eq!(
        told("absent_retry_seconds", "[]"),
        "absent_retry_seconds is `[]`, expected a list of whole seconds, at least one, each from \
         1 to 2592000"
    );
    assert_eq!(told("sms_over_ps", "yes"), "sms_over_ps is `yes`, expected true or false");
    assert_eq!(
        told("sms_mode", "single_shot"),
        "sms_mode is `single_shot`, expected one of single-shot, buffered"
    );
    assert_eq!(
        told("setle_second", "0"),
        "setle_second is no policy key; the nearest is settle_seconds"
    );
}

#[test]
fn a_policy_without_ladder_is_refused_and_never_retries() {
    let policy = Policy { absent_retry: Vec::new(), ..Policy::default() };

    assert!(policy.check().is_err());
    assert_eq!(policy.absent_retry(0), Duration::MAX);
}

/// Members that run different policies must be told apart, and equal ones not, whatever their
/// builds: so the digest of the default is held still here.
#[test]
fn a_digest_tells_policies_apart() {
    let policy = Policy::default();
    let mut digests = vec![policy.digest()];
    digests.push(policy.with("settle_seconds", "3").unwrap().digest());
    digests.push(policy.with("sms_mode", "buffered").unwrap().digest());

    assert_eq!(digests[0], "cfe68f914fea108e");
    assert_eq!(policy.with("settle_seconds", "2").unwrap().digest(), digests[0]);
    digests.dedup();
    assert_eq!(digests.len(), 3);
}

#[test]
fn json_has_the_published_names_and_reads_back() {
    let json = serde_json::to_string(&Policy::default()).unwrap();

    assert!(json.starts_with(r#"{"ip_wait_after_attach_seconds":30,"#), "{json}");
    assert!(json.contains(r#""absent_retry_seconds":[900,1800,3600,14400]"#), "{json}");
    assert!(json.contains(r#""accept_202":"await-imdn""#), "{json}");
    assert_eq!(serde_json::from_str::<Policy>(&json).unwrap(), Policy::default());
    assert_eq!(serde_json::from_str::<Policy>("{}").unwrap(), Policy::default());
    assert!(serde_json::from_str::<Policy>(r#"{"settle": 1}"#).is_err());
}
