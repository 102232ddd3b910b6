use super::*;

fn bill() -> Value {
    bill_of_materials(&Policy::built_in(), "built-in", "0.0.0")
}

fn find<'a>(bill: &'a Value, reference: &str) -> Option<&'a Value> {
    bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .find(|component| component["bom-ref"] == reference)
}

#[test]
fn whatever_the_provider_offers_is_described() {
    let bill = bill();
    let mut names: Vec<&str> = provider::GROUPS.iter().map(|group| group.name).collect();
    names.extend(provider::SCHEMES.iter().map(|scheme| scheme.name));
    names.extend(provider::SECOND.iter().map(|second| second.name()));
    names.extend([provider::SEAL_AEAD, note_key::NAME]);
    names.extend(provider::DRBG);
    names.extend(provider::hpke_256().map(|_| assets::HPKE_256));
    names.extend(provider::hpke_192().map(|_| assets::HPKE_192));
    for suite in provider::SUITES {
        assert!(!of_suite(suite.name).is_empty(), "{}", suite.name);
        names.extend(of_suite(suite.name));
    }
    for name in names {
        assert!(find(&bill, &format!("crypto/algorithm/{name}")).is_some(), "{name}");
    }
    for (place, whole) in assets::ASSETS.iter().enumerate() {
        for part in whole.made_of {
            let part = assets::ASSETS.iter().position(|asset| asset.name == *part).unwrap();
            assert!(place < part, "{} stands before its parts", whole.name);
        }
    }
    for group in provider::GROUPS {
        assert_eq!(asset(group.name).unwrap().bits, Some(group.bits), "{}", group.name);
    }
}

#[test]
fn nothing_is_described_that_the_provider_does_not_offer() {
    let bill = bill();
    for algorithm in crate::second::SecondAlgorithm::ALL {
        let described = find(&bill, &format!("crypto/algorithm/{}", algorithm.name())).is_some();
        assert_eq!(described, provider::SECOND.contains(&algorithm), "{algorithm}");
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_component_has_one() {
    let bill = bill();
    let mut known: Vec<String> = bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|component| component["bom-ref"].as_str().unwrap().to_owned())
        .collect();
    let count = known.len();
    known.push(APPLICATION.to_owned());
    known.sort();
    known.dedup();
    assert_eq!(known.len(), count + 1, "references are unique");
    for dependency in bill["dependencies"].as_array().unwrap() {
        let ends = ["dependsOn", "provides"]
            .map(|key| dependency[key].as_array().cloned().unwrap_or_default());
        for end in ends.into_iter().flatten().chain([dependency["ref"].clone()]) {
            assert!(known.contains(&end.as_str().unwrap().to_owned()), "{end}");
        }
    }
}

#[test]
fn the_policys_use_stands_at_the_algorithm_and_nothing_is_called_certified() {
    let bill = bill();
    let first = find(&bill, "crypto/algorithm/SecP256r1MLKEM768").unwrap();
    let marks = first["properties"].to_string();
    assert!(marks.contains("uses.device-uplink.groups[0]"), "{marks}");
    // No policy names it; custodians' parts are wrapped with it, where the provider can.
    let wraps = find(&bill, &format!("crypto/algorithm/{}", assets::HPKE_192)).is_some();
    let aside = find(&bill, "crypto/algorithm/secp384r1").unwrap();
    let expected = if wraps { format!("part of {}", assets::HPKE_192) } else { "none".to_owned() };
    assert_eq!(aside["properties"][0]["value"], expected);
    let part = find(&bill, "crypto/algorithm/ML-KEM-768").unwrap();
    assert_eq!(part["properties"][0]["value"], "part of SecP256r1MLKEM768");
    for component in bill["components"].as_array().unwrap() {
        let algorithm = &component["cryptoProperties"]["algorithmProperties"];
        if algorithm.is_object() {
            assert_eq!(algorithm["certificationLevel"], serde_json::json!(["none"]));
        }
    }
    assert_eq!(bill.to_string(), self::bill().to_string(), "the same twice");
}
