//! The configuration as its operator meets it: `ops/deferd.toml`, the environment, `--set`, and what
//! is said when one of them is wrong.

use std::path::{Path, PathBuf};
use std::time::Duration;

use deferd::cli::config::{Config, ConfigError, Loaded, Origin, keys};
use deferd::domain::policy::{Expected, SmsMode};

#[test]
fn the_shipped_file_is_the_default() {
    let loaded = Config::load(Some(&shipped()), [].into_iter(), &[]).unwrap();

    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn the_shipped_file_has_every_key() {
    let loaded = Config::load(Some(&shipped()), [].into_iter(), &[]).unwrap();

    let absent: Vec<_> = loaded
        .origins
        .iter()
        .filter(|(_, (_, origin))| !matches!(origin, Origin::File { .. }))
        .map(|(key, _)| key)
        .collect();
    assert!(absent.is_empty(), "ops/deferd.toml lacks {absent:?}");
}

/// The line above a key says its unit and bounds in the words of the error that holds them.
#[test]
fn the_shipped_file_tells_bounds_and_version() {
    let text = std::fs::read_to_string(shipped()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let loaded = Config::load(Some(&shipped()), [].into_iter(), &[]).unwrap();

    for (key, expected) in keys() {
        let Origin::File { line, .. } = loaded.origins[&key].1 else { panic!("{key}") };
        let (says, bounds) = (lines[line - 3], lines[line - 2]);
        assert!(bounds.starts_with(&format!("# {expected}; since 0.1")), "{key}: {bounds}");
        assert!(says.starts_with("# ") && says.ends_with('.'), "{key}: {says}");
    }
}

#[test]
fn every_key_has_a_value_and_an_origin() {
    let loaded = Config::load(None, [].into_iter(), &[]).unwrap();

    assert_eq!(loaded.config, Config::default());
    let names: Vec<_> = loaded.origins.keys().cloned().collect();
    let mut known: Vec<_> = keys().map(|(key, _)| key).collect();
    known.sort();
    assert_eq!(names, known);
    assert!(loaded.origins.values().all(|(_, origin)| *origin == Origin::Default));
}

#[test]
fn every_key_can_be_changed_by_hand() {
    let before = loaded(&[]);
    for (key, expected) in keys() {
        let (typed, toml) = another(expected, &before.origins[&key].0);

        let after = loaded(&[&format!("{key}={typed}")]);

        assert_eq!(after.origins[&key], (toml, Origin::Set), "{key}");
        assert_ne!(after.config, before.config, "{key}");
        let others = |l: &Loaded| l.origins.iter().filter(|(k, _)| **k != key).count();
        assert_eq!(others(&after), others(&before), "{key}");
    }
}

#[test]
fn every_key_can_be_changed_by_file_and_environment() {
    let before = loaded(&[]);
    for (key, expected) in keys() {
        let (typed, toml) = another(expected, &before.origins[&key].0);
        let variable = format!("DEFERD_{}", key.to_uppercase().replace('.', "__"));

        let by_environment = env(&[(&variable, &typed)]).unwrap();
        let by_file = file("one.toml", &format!("{key} = {toml}\n")).unwrap();

        assert_eq!(by_environment.origins[&key], (toml.clone(), Origin::Environment(variable)));
        assert_eq!(by_file.origins[&key].0, toml);
        assert_eq!(by_file.config, by_environment.config, "{key}");
    }
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let path = written("order.toml", "[policy]\nsettle_seconds = 3\njitter_percent = 0\n");
    let variables = [
        ("DEFERD_POLICY__SETTLE_SECONDS".to_owned(), "4".to_owned()),
        ("DEFERD_POLICY__IP_PIPELINE".to_owned(), "6".to_owned()),
        ("HOME".to_owned(), "/root".to_owned()),
    ];
    let sets = ["policy.settle_seconds=5".to_owned()];

    let file = Config::load(Some(&path), [].into_iter(), &[]).unwrap();
    let environment = Config::load(Some(&path), variables.clone().into_iter(), &[]).unwrap();
    let flag = Config::load(Some(&path), variables.into_iter(), &sets).unwrap();

    let settles = [&file, &environment, &flag].map(|l| l.config.policy.settle.as_secs());
    assert_eq!(settles, [3, 4, 5]);
    let provenance = |key: &str| {
        let (value, origin) = &flag.origins[key];
        format!("{key} = {value}  # {origin}").replace(&path.display().to_string(), "deferd.toml")
    };
    assert_eq!(provenance("policy.settle_seconds"), "policy.settle_seconds = 5  # --set");
    assert_eq!(
        provenance("policy.ip_pipeline"),
        "policy.ip_pipeline = 6  # DEFERD_POLICY__IP_PIPELINE"
    );
    assert_eq!(provenance("policy.jitter_percent"), "policy.jitter_percent = 0  # deferd.toml:3");
    assert_eq!(provenance("imdn.form"), "imdn.form = \"oma\"  # default");
}

#[test]
fn the_last_set_of_a_key_counts() {
    let loaded = loaded(&["policy.settle_seconds=1", "policy.settle_seconds = 0"]);

    assert_eq!(loaded.config.policy.settle, Duration::ZERO);
}

#[test]
fn values_are_typed_as_people_type_them() {
    let loaded = loaded(&[
        "policy.absent_retry_seconds=[60, 120]",
        "policy.memory_full_retry_seconds=60,120",
        "policy.sms_mode=\"buffered\"",
        "policy.max_deferred_bytes_per_user=20_000_000",
        "home_country_code=44",
        "home_domains=ims.example, example.net",
        "pager.user_agents=['A/1.0 (x=y)', \"B\"]",
    ]);

    let minutes = [60, 120].map(Duration::from_secs);
    assert_eq!(loaded.config.policy.absent_retry, minutes);
    assert_eq!(loaded.config.policy.memory_full_retry, minutes);
    assert_eq!(loaded.config.policy.sms_mode, SmsMode::Buffered);
    assert_eq!(loaded.config.policy.max_deferred_bytes_per_user, 20_000_000);
    assert_eq!(loaded.config.home_country_code.as_deref(), Some("44"));
    assert_eq!(loaded.config.home_domains, ["ims.example", "example.net"]);
    assert_eq!(loaded.config.pager.user_agents, ["A/1.0 (x=y)", "B"]);
    assert_eq!(loaded.origins["home_country_code"].0, "\"44\"");
    assert_eq!(loaded.origins["policy.absent_retry_seconds"].0, "[60, 120]");
}

/// Whoever pastes a line of `config show --origin` into a file gets the same configuration.
#[test]
fn what_is_shown_can_be_read_again() {
    let odd = loaded(&["pager.user_agents=a \"b\" \\c\u{7f}", "policy.absent_retry_seconds=1"]);
    let shown: String = odd.origins.iter().map(|(key, (v, _))| format!("{key} = {v}\n")).collect();

    assert_eq!(file("shown.toml", &shown).unwrap().config, odd.config);
}

#[test]
fn a_file_may_be_empty_or_have_empty_tables() {
    for text in ["", "\n# nothing\n", "[policy]\n[pager]\n", "policy = {}"] {
        assert_eq!(file("empty.toml", text).unwrap().config, Config::default(), "{text:?}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_nearest_key() {
    let cases = [
        (
            "[policy]\n\nsetle_seconds = 0",
            "unknown.toml:3: policy.setle_seconds is no key; the nearest is policy.settle_seconds",
        ),
        (
            "settle_seconds = 0",
            "unknown.toml:1: settle_seconds is no key; the nearest is policy.settle_seconds",
        ),
        (
            "[polcy]\nip_pipeline = 1",
            "unknown.toml:2: polcy.ip_pipeline is no key; the nearest is policy.ip_pipeline",
        ),
        (
            "[policy]\nsettle_seconds.min = 0",
            "unknown.toml:2: policy.settle_seconds.min is no key; the nearest is \
             policy.settle_seconds",
        ),
        ("[xm]", "unknown.toml:1: xm is no key; the nearest is xml"),
    ];
    for (text, told) in cases {
        assert_eq!(refused(file("unknown.toml", text)), told);
    }
    assert_eq!(
        refused(set("policy.sms_atempts=1")),
        "--set: policy.sms_atempts is no key; the nearest is policy.sms_attempts"
    );
    assert_eq!(
        refused(env(&[("DEFERD_POLICY__FIRST_TYR", "sms")])),
        "DEFERD_POLICY__FIRST_TYR: policy.first_tyr is no key; the nearest is policy.first_try"
    );
}

/// A Kubernetes service of our name, or a flag's variable, must not keep us from starting.
#[test]
fn a_variable_that_may_be_anothers_is_a_warning() {
    let loaded = env(&[("DEFERD_HOME_CONTRY_CODE", "44"), ("DEFER_POLICY__X", "1")]).unwrap();

    assert_eq!(loaded.config, Config::default());
    assert_eq!(
        loaded.warnings,
        ["DEFERD_HOME_CONTRY_CODE is no key; the nearest is home_country_code"]
    );
}

#[test]
fn a_value_that_no_key_takes_is_refused_with_what_was_expected() {
    let cases = [
        (
            "[policy]\nsettle_seconds = 61",
            "value.toml:2: policy.settle_seconds is `61`, expected whole seconds from 0 to 60",
        ),
        (
            "[policy]\nsettle_seconds = 1.5",
            "value.toml:2: policy.settle_seconds is `1.5`, expected whole seconds from 0 to 60",
        ),
        (
            "[policy]\nsettle_seconds = \"2\"",
            "value.toml:2: policy.settle_seconds is `\"2\"`, expected whole seconds from 0 to 60",
        ),
        (
            "[policy]\nabsent_retry_seconds = [\n  900,\n  -1,\n]",
            "value.toml:2: policy.absent_retry_seconds is `[ 900, -1, ]`, expected a list of \
             whole seconds, at least one, each from 1 to 2592000",
        ),
        (
            "home_country_code = \"+44\"",
            "value.toml:1: home_country_code is `\"+44\"`, expected 1 to 3 digits without +, or empty",
        ),
        (
            "home_domains = [\"sip:ims.example\"]",
            "value.toml:1: home_domains is `[\"sip:ims.example\"]`, expected a list of domain names",
        ),
        ("policy = 3", "value.toml:1: policy is `3`, expected a table, [policy]"),
    ];
    for (text, told) in cases {
        assert_eq!(refused(file("value.toml", text)), told);
    }
    assert_eq!(
        refused(set("policy.ip_pipeline=0")),
        "--set: policy.ip_pipeline is `0`, expected a whole number from 1 to 100"
    );
    assert_eq!(
        refused(set("policy.access_sms=")),
        "--set: policy.access_sms is ``, expected one of on, hold, off"
    );
    assert_eq!(
        refused(env(&[("DEFERD_XML__REPAIR", "yes")])),
        "DEFERD_XML__REPAIR: xml.repair is `yes`, expected true or false"
    );
}

/// A wrong line in the file is told even where a flag would have its way.
#[test]
fn what_is_overruled_is_judged_too() {
    let path = written("overruled.toml", "[policy]\nip_pipeline = 0\n");

    let loaded = Config::load(Some(&path), [].into_iter(), &["policy.ip_pipeline=1".to_owned()]);

    assert!(matches!(loaded, Err(ConfigError::Value { .. })), "{loaded:?}");
}

#[test]
fn a_longest_backoff_below_the_first_is_a_warning() {
    let loaded = loaded(&["policy.backoff_seconds=700"]);

    assert_eq!(loaded.config.policy.backoff(0), Duration::from_secs(600));
    assert_eq!(
        loaded.warnings,
        ["policy.backoff_seconds is 700, and policy.backoff_max_seconds makes it 600"]
    );
}

/// What librdkafka gets as it is: its names have dots, quoted or not, and are nobody's keys of ours.
#[test]
fn a_property_is_passed_through() {
    let text = "[kafka.librdkafka]\nsocket.timeout.ms = 30000\n\"compression.type\" = \"zstd\"\n";
    let path = written("passed.toml", text);
    let variables = [("DEFERD_KAFKA__LIBRDKAFKA__FETCH__MIN__BYTES".to_owned(), "2".to_owned())];
    let sets = ["kafka.librdkafka.socket.timeout.ms=40000".to_owned()];
    let loaded = Config::load(Some(&path), variables.into_iter(), &sets).unwrap();

    let passed = &loaded.config.kafka.librdkafka;
    let passed: Vec<_> = passed.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(passed, ["compression.type=zstd", "fetch.min.bytes=2", "socket.timeout.ms=40000"]);
    let origin = &loaded.origins["kafka.librdkafka.socket.timeout.ms"];
    assert_eq!(origin, &("40000".to_owned(), Origin::Set));
    let properties = loaded.config.kafka.cluster().unwrap().properties;
    assert!(properties.contains(&("socket.timeout.ms".to_owned(), "40000".to_owned())));
    let shown: String =
        loaded.origins.iter().map(|(key, (value, _))| format!("{key} = {value}\n")).collect();
    assert_eq!(file("passed-shown.toml", &shown).unwrap().config, loaded.config);
}

#[test]
fn a_property_that_cannot_be_passed_through_is_refused_where_it_stands() {
    let cases = [
        (
            "[kafka.librdkafka]\nsocket.timeout = 1",
            "passed-bad.toml:2: kafka.librdkafka.socket.timeout is `1`: librdkafka says: No such \
             configuration property: \"socket.timeout\"",
        ),
        (
            "[kafka.librdkafka]\nisolation.level = \"read_uncommitted\"",
            "passed-bad.toml:2: kafka.librdkafka.isolation.level is `\"read_uncommitted\"`: it is not \
             to be set: what an aborted transaction wrote must not be read",
        ),
        (
            "[kafka.librdkafka]\n\"sasl.password\" = \"hunter2\"",
            "passed-bad.toml:2: kafka.librdkafka.sasl.password is `…`: it has a key of its own, \
             kafka.sasl_password_file",
        ),
        (
            "[kafka.librdkafka]\nlinger.ms = 1.5",
            "passed-bad.toml:2: kafka.librdkafka.linger.ms is `1.5`, expected text, a whole number, \
             true or false",
        ),
        (
            "kafka.librdkafka = 3",
            "passed-bad.toml:1: kafka.librdkafka is `3`, expected a table, [kafka.librdkafka]",
        ),
    ];
    for (text, told) in cases {
        assert_eq!(refused(file("passed-bad.toml", text)), told);
    }
    let told = refused(set("kafka.librdkafka.socket.timeout.ms=soon"));
    assert!(
        told.starts_with("--set: kafka.librdkafka.socket.timeout.ms is `soon`: librdkafka says: "),
        "{told}"
    );
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    let told = refused(file("not.toml", "[policy]\nsettle_seconds = 2\nsettle seconds\n"));
    assert!(told.starts_with("not.toml:3: not TOML: "), "{told}");

    let told = refused(file("not.toml", "[policy]\nip_pipeline = 2\nip_pipeline = 2\n"));
    assert_eq!(told, "not.toml:3: not TOML: duplicate key");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let told = refused(Config::load(Some(Path::new("/nowhere/deferd.toml")), [].into_iter(), &[]));

    assert_eq!(told, "cannot read /nowhere/deferd.toml");
}

#[test]
fn a_set_needs_its_value() {
    assert_eq!(
        refused(set("policy.settle_seconds")),
        "--set `policy.settle_seconds` has no `=`, expected KEY=VALUE"
    );
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ops/deferd.toml")
}

/// A file of this test's own, `name` being used by no other.
fn written(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).expect("the test directory takes files");
    path
}

fn file(name: &str, text: &str) -> Result<Loaded, ConfigError> {
    Config::load(Some(&written(name, text)), [].into_iter(), &[])
}

fn env(variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    Config::load(None, variables, &[])
}

fn set(typed: &str) -> Result<Loaded, ConfigError> {
    Config::load(None, [].into_iter(), &[typed.to_owned()])
}

fn loaded(sets: &[&str]) -> Loaded {
    let sets: Vec<_> = sets.iter().map(|&set| set.to_owned()).collect();
    Config::load(None, [].into_iter(), &sets).expect("these are allowed")
}

/// The error's text, without the directory of the test's file.
fn refused(loaded: Result<Loaded, ConfigError>) -> String {
    let told = loaded.expect_err("this is not allowed").to_string();
    told.replace(&format!("{}/", env!("CARGO_TARGET_TMPDIR")), "")
}

/// A value that is allowed and not the default: as typed, and as TOML.
fn another(expected: Expected, default: &str) -> (String, String) {
    let same = |text: String| (text.clone(), text);
    match expected {
        Expected::Number { from, .. } if default == from.to_string() => {
            same((from + 1).to_string())
        }
        Expected::Number { from, .. } => same(from.to_string()),
        Expected::Ladder { from, .. } => same(format!("[{from}, {}]", from + 1)),
        Expected::Flag => same((default == "false").to_string()),
        Expected::Word(words) => {
            let word = words.iter().find(|word| default != format!("\"{word}\""));
            let word = word.expect("a choice has two words");
            ((*word).to_owned(), format!("\"{word}\""))
        }
        Expected::Texts | Expected::Domains => ("a.b,c".to_owned(), "[\"a.b\", \"c\"]".to_owned()),
        Expected::UcnTexts => ("en=a,fr=b".to_owned(), "[\"en=a\", \"fr=b\"]".to_owned()),
        Expected::CountryCode => ("49".to_owned(), "\"49\"".to_owned()),
        Expected::Text(what) => {
            let text = match what.split(' ').nth(1) {
                Some("path,") => "/tmp/x",
                Some("address") => "[::1]:80",
                Some("http") => "https://gw/x",
                Some("several") => "k1:9092,k2:9092",
                Some("digits,") => "other-1",
                Some("name,") => "ann",
                Some("server's") => "imap:993",
                Some("SIP") => "sip:us@here",
                Some("template") => "{user}",
                _ => panic!("{what}"),
            };
            (text.to_owned(), format!("\"{text}\""))
        }
    }
}
