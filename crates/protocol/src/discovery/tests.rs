use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// SplitMix64.
struct Seeded(u64);

impl Random for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = (z ^ (z >> 31)).to_le_bytes()[0];
        }
    }
}

fn thing(name: &str) -> ThingId {
    name.parse().unwrap()
}

fn home(name: &str) -> HomeKey {
    HomeKey::of_anchor(name.as_bytes())
}

//= specs/house.md#house-discovery
//= type=test
//# A controller of the home MUST recognise its devices, and nobody else MUST be able to tell two epochs of one device from two devices.
#[test]
fn an_observer_of_a_hundred_epochs_has_nothing_to_link() {
    let key = home("a public key that strangers do not see");
    let things = [thing("plug-000001"), thing("plug-000002")];
    let mut seen: Vec<(usize, String)> = Vec::new();
    let mut random = Seeded(1);
    for _ in 0..100 {
        for (index, thing) in things.iter().enumerate() {
            let name = Pseudonym::in_home(&key.of_thing(thing), &mut random);
            seen.push((index, name.as_str().to_owned()));
        }
    }
    // The home tells them apart, every time.
    for (index, name) in &seen {
        assert_eq!(key.recognise(&things, name), Some(&things[*index]));
    }
    // A stranger sees two hundred names. No two share a quarter of their bytes in place, as two of one device would
    // that had a common part; and two of one device are no closer than two of different ones.
    let names: BTreeSet<&str> = seen.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names.len(), seen.len());
    let (mut same, mut different) = ((0_u64, 0_u64), (0_u64, 0_u64));
    for (at, (one, a)) in seen.iter().enumerate() {
        for (other, b) in &seen[at + 1..] {
            let equal = a.as_bytes().chunks(2).zip(b.as_bytes().chunks(2));
            let equal = equal.filter(|(a, b)| a == b).count();
            assert!(equal < 5, "{a} {b}");
            let sum = if one == other { &mut same } else { &mut different };
            *sum = (sum.0 + u64::try_from(equal).unwrap(), sum.1 + 1);
        }
    }
    // Chance makes one byte in 256 equal: 20 bytes, about ten thousand pairs each way.
    let mean = |(sum, pairs): (u64, u64)| sum as f64 / pairs as f64;
    assert!((mean(same) - mean(different)).abs() < 0.02, "{same:?} {different:?}");
}

#[test]
fn who_joined_recognises_that_device_and_no_other_of_the_home() {
    let (key, mut random) = (home("a public key that strangers do not see"), Seeded(4));
    let [theirs, other] = ["plug-000001", "plug-000002"].map(|name| key.of_thing(&thing(name)));
    let text = serde_json::to_string(&theirs).unwrap();
    let kept: ThingKey = serde_json::from_str(&text).unwrap();
    assert!(kept == ThingKey::from_bytes(*theirs.as_bytes()) && text.len() == 66);
    for _ in 0..100 {
        assert!(kept.recognises(Pseudonym::in_home(&theirs, &mut random).as_str()));
        assert!(!kept.recognises(Pseudonym::in_home(&other, &mut random).as_str()));
    }
    assert!(serde_json::from_str::<ThingKey>("\"00\"").is_err());
    assert!(!format!("{theirs:?}").contains(&text[1..9]));
}

#[test]
fn a_hint_finds_the_label_and_does_not_tell_the_serial() {
    let mut random = Seeded(2);
    let name = Pseudonym::waiting(&thing("plug-031337"), &mut random);
    assert!(may_be(&thing("plug-031337"), name.as_str()));
    assert!(may_be(&thing("PLUG-031337"), &name.as_str().to_uppercase()));
    // Whoever tries out a million serials is left with some fifteen that it may be.
    let fitting = (0..1_000_000)
        .filter(|number| may_be(&thing(&format!("plug-{number:06}")), name.as_str()))
        .count();
    assert!((5..40).contains(&fitting), "{fitting}");
}

#[test]
fn an_epoch_lasts_as_long_as_it_says() {
    let mut random = Seeded(3);
    let drawn: Vec<_> = (0..1000).map(|_| epoch(&mut random)).collect();
    assert!(drawn.iter().all(|one| (EPOCH_MIN..=EPOCH_MAX).contains(one)));
    assert!(drawn.iter().collect::<BTreeSet<_>>().len() > 300);
}

#[test]
fn the_service_names_are_short_enough_for_dns_sd() {
    for service in [IN_HOME, WAITING] {
        let name = service.strip_prefix('_').unwrap().split('.').next().unwrap();
        assert!(name.len() <= 15, "{name}");
    }
}

proptest! {
    //= specs/house.md#house-discovery
    //= type=test
    //# What a device announces MUST NOT contain its serial, its owner or anything that lasts longer than an epoch, apart from its address and port.
    #[test]
    fn a_name_is_recognised_by_its_home_alone(
        serial in "[a-zA-Z0-9][a-zA-Z0-9._-]{7,63}", other in "[a-z0-9]{1,20}", seed: u64,
    ) {
        let (ours, serial) = (home("ours"), thing(&serial));
        let name = Pseudonym::in_home(&ours.of_thing(&serial), &mut Seeded(seed));
        prop_assert_eq!(ours.recognise([&serial], name.as_str()), Some(&serial));
        prop_assert_eq!(home("theirs").recognise([&serial], name.as_str()), None);
        if !serial.as_str().eq_ignore_ascii_case(&other) {
            prop_assert!(ours.recognise([&thing(&other)], name.as_str()).is_none());
        }
        prop_assert!(!may_be(&serial, name.as_str()));
        let waiting = Pseudonym::waiting(&serial, &mut Seeded(seed));
        prop_assert!(may_be(&serial, waiting.as_str()));
        let raw: String = serial.as_str().bytes().map(|byte| format!("{byte:02x}")).collect();
        for name in [name.as_str(), waiting.as_str()] {
            prop_assert!(name.len() <= 63 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
            prop_assert!(!name.contains(&serial.as_str().to_lowercase()) && !name.contains(&raw));
        }
    }

    #[test]
    fn any_text_gets_an_answer(name in any::<String>(), wild in "[0-9a-fA-Fé+]{0,80}") {
        for name in [name, wild] {
            prop_assert!(home("ours").recognise([&thing("plug-1")], &name).is_none());
            let _ = may_be(&thing("plug-1"), &name);
        }
    }
}
