use proptest::prelude::*;

use super::*;
use crate::policy::{DEFAULT_TOML, Item};

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn compile(text: &str) -> Result<CompiledPolicy, Vec<CompileError>> {
    CompiledPolicy::compile(Policy::from_toml(text).unwrap(), reviewed())
}

fn with_uplink_groups(groups: &str) -> String {
    let (head, rest) = DEFAULT_TOML.split_once("groups = [").unwrap();
    let (_, rest) = rest.split_once("]\n").unwrap();
    format!("{head}groups = [{groups}]\n{rest}")
}

//= specs/en-303-645.md#5.5-1
//= type=test
//# A device MUST use best-practice cryptography for its communication.
#[test]
fn the_built_in_policy_compiles_hybrid_first() {
    let policy = CompiledPolicy::built_in();
    for use_ in Use::ALL {
        let rules = policy.rules(use_);
        assert!(rules.weakest() >= Strength(128));
        assert!(rules.groups()[0].contains("MLKEM768"));
        assert_eq!(rules.groups().len(), rules.provider.kx_groups.len());
    }
    assert_eq!(policy.expires().to_rfc3339(), "2031-12-31T23:59:59Z");
    assert_eq!((policy.maker(), policy.withdraws()), (None, &[][..]));
}

//= specs/house.md#house-channel
//= type=test
//# TLS below 1.3 MUST be refused by the default policy.
//= specs/house.md#house-policy
//= type=test
//# A policy that the provider cannot carry out MUST be refused with the reason.
#[test]
fn each_fault_names_its_line_its_field_and_the_mend() {
    let long = "x".repeat(241);
    for (from, to, path, mend) in [
        ("\"X25519MLKEM768\"", "\"X25519Kyber\"", "uses.device-uplink.groups[1]", "use one of"),
        ("\"TLS 1.3\"", "\"TLS 1.2\"", "uses.device-uplink.versions[0]", "TLS 1.3"),
        ("tickets = 0", "tickets = 9", "uses.device-uplink.tickets", "0 to 4"),
        ("version = 1\n", "version = 0\n", "version", "1 or more"),
        ("version = 1\n", "version = 1\nmaker = \" \"\n", "maker", "ceremony plan"),
        ("version = 1\n", "version = 3\nwithdraws = [2, 3]\n", "withdraws[1]", "below 3"),
        ("\"AEAD_AES_256_GCM_SIV\"", "\"ROT13\"", "storage.aead[0]", "AEAD_AES_256_GCM_SIV"),
        (
            "\"TLS 1.3\"",
            &format!("{{ name = \"TLS 1.3\", because = \"{long}\" }}"),
            "uses.device-uplink.versions[0]",
            "240 printable",
        ),
    ] {
        let text = DEFAULT_TOML.replacen(from, to, 1);
        let errors = compile(&text).unwrap_err();
        let found = errors.iter().find(|error| error.path == path);
        let error = found.unwrap_or_else(|| panic!("{path}: {errors:?}"));
        assert!(error.to_string().contains(mend), "{error}");
        let line = text.lines().nth(error.line.unwrap() - 1).unwrap();
        let what = error.item.as_deref().unwrap_or(path.split(['.', '[']).next_back().unwrap());
        let field = path.split('[').next().unwrap().rsplit('.').next().unwrap();
        assert!(line.contains(what) || line.starts_with(field), "{error} is not at {line:?}");
    }
}

#[test]
fn a_missing_use_and_a_name_that_stands_twice_are_faults() {
    let missing = DEFAULT_TOML.replace("[uses.est]", "[uses.pairing2]");
    assert!(Policy::from_toml(&missing).is_err(), "an unknown use is no use");
    let errors = compile(&with_uplink_groups("\"secp256r1\", \"secp256r1\"")).unwrap_err();
    assert_eq!((errors.len(), errors[0].fault.as_str()), (1, "stands twice"));
    assert!(compile(&with_uplink_groups("")).unwrap_err()[0].fault.contains("is empty"));
}

//= specs/house.md#house-policy
//= type=test
//# An item of a policy MUST NOT be offered after the day until which it is allowed.
//= specs/house.md#house-policy
//= type=test
//# A use that is left without any item MUST be an error that names the day since when.
#[test]
fn items_leave_after_their_day_and_the_last_one_is_an_error() {
    let ends = "{ name = \"secp384r1\", until = \"2029-12-31\" }, { name = \"secp256r1\", until = \"2031-12-31\" }";
    let policy = compile(&with_uplink_groups(ends)).unwrap();
    let groups = |policy: &CompiledPolicy| policy.rules(Use::DeviceUplink).groups().to_vec();
    assert_eq!(groups(&policy), ["secp384r1", "secp256r1"]);
    assert_eq!(policy.next_change(), Some(day("2030-01-01")));
    let unchanged = policy.at(day("2029-12-31")).unwrap();
    assert_eq!((groups(&unchanged).len(), unchanged.day()), (2, day("2029-12-31")));
    let later = policy.at(day("2030-01-01")).unwrap();
    assert_eq!(groups(&later), ["secp256r1"]);
    assert_eq!(later.next_change(), Some(day("2032-01-01")));
    let errors = later.at(day("2032-01-01")).unwrap_err();
    assert_eq!(errors.len(), 1);
    let told = errors[0].to_string();
    for part in ["line ", "uses.device-uplink.groups", "since 2032-01-01", "\"secp256r1\""] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(groups(&later.at(reviewed()).unwrap()).len(), 2, "a clock that went back");
}

#[test]
fn a_second_signature_is_read_and_must_be_offered() {
    let with = |second: &str| {
        let signing = format!("[document-signing]\nsecond = [\"{second}\"]\n");
        compile(&DEFAULT_TOML.replace("[document-signing]\n", &signing))
    };
    match with("ML-DSA-65") {
        Ok(policy) => assert_eq!(policy.second_signing_algorithms(), [SecondAlgorithm::MlDsa65]),
        Err(errors) => {
            assert!(SecondAlgorithm::offered().is_empty(), "{errors:?}");
            let told = errors[0].to_string();
            assert!(told.contains("not offered by the provider"), "{told}");
            assert!(told.contains("leave the list out"), "{told}");
        }
    }
    assert!(CompiledPolicy::built_in().second_signing_algorithms().is_empty());
    assert_eq!(with("rot13").unwrap_err()[0].path, "document-signing.second[0]");
}

fn until() -> impl Strategy<Value = Option<Day>> {
    prop_oneof![
        2 => Just(None),
        3 => (2024u16..2036, 1u8..=12, 1u8..=28).prop_map(|(y, m, d)| Day::new(y, m, d)),
    ]
}

proptest! {
    /// Compiling at a day is compiling the policy from which the items past their `until` were taken out.
    #[test]
    fn compiling_at_a_day_drops_what_has_ended(
        untils in prop::collection::vec(until(), 64),
        (year, month, date) in (2024u16..2036, 1u8..=12, 1u8..=28),
    ) {
        let at = Day::new(year, month, date).unwrap();
        let (mut policy, mut untils) = (Policy::built_in(), untils.into_iter());
        let mut each = |list: &mut Vec<Item>| {
            list.iter_mut().for_each(|item| item.until = untils.next().flatten());
        };
        for tls in policy.uses.values_mut() {
            let lists = [&mut tls.versions, &mut tls.groups, &mut tls.suites, &mut tls.signatures];
            lists.into_iter().for_each(&mut each);
        }
        each(&mut policy.document_signing.signatures);
        each(&mut policy.storage.aead);

        let mut dropped = policy.clone();
        let retain = |list: &mut Vec<Item>| list.retain(|item| item.until.is_none_or(|end| end >= at));
        for tls in dropped.uses.values_mut() {
            let lists = [&mut tls.versions, &mut tls.groups, &mut tls.suites, &mut tls.signatures];
            lists.into_iter().for_each(retain);
        }
        retain(&mut dropped.document_signing.signatures);
        retain(&mut dropped.storage.aead);

        let (whole, rest) = (
            CompiledPolicy::for_provider(policy.clone(), at),
            CompiledPolicy::for_provider(dropped, at),
        );
        prop_assert_eq!(whole.is_ok(), rest.is_ok());
        if let (Ok(whole), Ok(rest)) = (&whole, &rest) {
            for use_ in Use::ALL {
                let (a, b) = (whole.rules(use_), rest.rules(use_));
                prop_assert_eq!(a.groups(), b.groups());
                prop_assert_eq!(a.suites(), b.suites());
                prop_assert_eq!(a.signatures(), b.signatures());
                prop_assert_eq!(a.weakest(), b.weakest());
            }
            prop_assert_eq!(whole.signing_algorithms(), rest.signing_algorithms());
            if let Some(change) = whole.next_change() {
                prop_assert!(change > at);
            }
        }
        // From wherever it was compiled, the same day gives the same.
        if let Ok(earlier) = CompiledPolicy::for_provider(policy, Day::new(2024, 1, 1).unwrap()) {
            prop_assert_eq!(earlier.at(at).is_ok(), whole.is_ok());
        }
    }
}
