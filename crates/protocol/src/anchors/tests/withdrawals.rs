//! Withdrawals: who lets go of which root by whose word, what a session is given, who counts.

use super::*;
use countersign_crypto::anchors::withdraw_before;
use proptest::prelude::*;

impl Made {
    /// Root `at` says that it stands there, and that no root before it is an anchor.
    fn word(&self, at: usize, claimed: usize) -> Vec<u8> {
        let first = Anchor { position: claimed as u64, root: self.roots[at].clone() };
        withdraw_before(&first, &self.keys[at]).unwrap()
    }

    fn message(&self, from: usize, to: usize, word: &[u8]) -> Vec<u8> {
        let statements = self.statements[from..to].to_vec();
        Told { statements, withdrawal: Some(Withdrawal::read(word).unwrap()) }.to_bytes()
    }

    /// Which of the roots, by their places.
    fn places(&self, device: &TrustedRoots) -> Vec<usize> {
        let place = |root: &Certificate| self.roots.iter().position(|one| one == root).unwrap();
        let mut all: Vec<usize> = device.all().iter().map(place).collect();
        all.sort_unstable();
        all
    }
}

/// The factories of devices of a maker who rolled the root three times: whatever was there then, in whatever order.
const FACTORIES: [&[usize]; 12] = [
    &[0],
    &[0, 1],
    &[1, 0],
    &[1],
    &[2, 1, 0],
    &[0, 2, 1],
    &[1, 2],
    &[2],
    &[3, 2, 1, 0],
    &[0, 3, 2, 1],
    &[2, 3],
    &[3],
];

//= specs/house.md#house-anchors
//= type=test
//# A device MUST let go of a root only by the word of one that it trusts and that is shown to stand after it.
//= specs/house.md#house-anchors
//= type=test
//# A withdrawal MUST leave every device a root.
#[test]
fn whatever_a_device_was_made_with_it_lets_go_of_what_came_before() {
    let made = made(3);
    for factory in FACTORIES {
        for floor in 1..=3 {
            // It slept through all of it, or had followed before.
            for followed in 0..=3 {
                let mut device = made.device(factory);
                let _ = device.take(&made.chain(0, followed));
                let case = format!("{factory:?}, followed to {followed}, floor {floor}");
                let mut way = device.clone();
                let _ = way.take(&made.chain(0, 3));
                let mut left = made.places(&way);
                let taken = device.take(&made.message(0, 3, &made.word(floor, floor)));
                if !left.contains(&floor) {
                    // Made after that root: nothing to let go of, and whose word it is cannot be told.
                    assert_eq!(taken, Err(ChainRefused::WithdrawnByOther), "{case}");
                    assert!(made.places(&device).iter().all(|place| *place > floor), "{case}");
                    continue;
                }
                let taken = taken.unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!((taken.floor, device.floor()), (Some(floor as u64), floor as u64));
                left.retain(|place| *place >= floor);
                assert_eq!(made.places(&device), left, "{case}");
                assert_eq!(device.newest(), made.roots.last(), "{case}");
                // Once more, an older one, the line alone: nothing is news, and nothing comes back.
                for again in [
                    made.message(0, 3, &made.word(floor, floor)),
                    made.message(0, 3, &made.word(1, 1)),
                    made.chain(0, 3),
                    made.chain(0, 1),
                ] {
                    if let Ok(taken) = device.take(&again) {
                        assert!(!taken.is_news(), "{case}");
                    }
                    assert_eq!(device.floor(), floor as u64);
                    assert!(made.places(&device).iter().all(|place| *place >= floor));
                }
            }
        }
    }
}

#[test]
fn a_withdrawal_is_taken_whole_or_not_at_all() {
    let made = made(3);
    let word = made.word(1, 1);
    // By a root that no statement leads to, or by one of which nothing shows where it stands.
    let mut device = made.device(&[0]);
    for message in [made.message(0, 0, &word), made.message(1, 3, &word)] {
        assert_eq!(device.take(&message), Err(ChainRefused::WithdrawnByOther));
        assert_eq!((made.places(&device), device.floor()), (vec![0], 0));
    }
    let mut device = made.device(&[0, 1]);
    assert_eq!(device.take(&made.message(1, 3, &word)), Err(ChainRefused::Unplaced));
    assert_eq!((made.places(&device), device.floor()), (vec![0, 1], 0));
    // An old root whose key somebody has says that it is a later one, to be rid of those that are.
    for claimed in [1, 2, 5] {
        for (factory, followed) in [(&[0][..], 3), (&[1, 0], 0), (&[0, 1], 3)] {
            let mut device = made.device(factory);
            let _ = device.take(&made.chain(0, followed));
            let before = made.places(&device);
            for message in [
                made.message(0, 3, &made.word(0, claimed)),
                made.message(0, 0, &made.word(0, claimed)),
            ] {
                assert_eq!(device.take(&message), Err(ChainRefused::Unplaced), "{factory:?}");
                assert_eq!((&made.places(&device), device.floor()), (&before, 0));
            }
        }
    }
    // Or leads beside the genuine line, and lets a root of its own withdraw.
    let (mut other, key) = (made.device(&[0, 1]), root(9));
    let held = Anchor { position: 0, root: made.roots[0].clone() };
    let beside = anchors::state(&held, &key.0, &made.keys[0]).unwrap();
    let own = withdraw_before(&Anchor { position: 1, root: key.0.clone() }, &key.1).unwrap();
    let withdrawal = Some(Withdrawal::read(&own).unwrap());
    let message = Told { statements: vec![beside], withdrawal }.to_bytes();
    assert_eq!(other.take(&message), Err(ChainRefused::Unplaced));
    assert_eq!(made.places(&other), [0, 1]);
}

#[test]
fn what_was_let_go_of_leads_nowhere_any_more() {
    let made = made(2);
    let mut device = made.device(&[0]);
    device.take(&made.message(0, 1, &made.word(1, 1))).unwrap();
    assert_eq!(made.places(&device), [1]);
    // After a restart it is as it was stored, whatever the factory gave.
    let mut device =
        TrustedRoots::new(vec![made.roots[0].clone()], device.learned().to_vec(), device.floor());
    assert_eq!(made.places(&device), [1]);
    let held = Anchor { position: 0, root: made.roots[0].clone() };
    let (other, _) = root(9);
    let beside = anchors::state(&held, &other, &made.keys[0]).unwrap();
    assert_eq!(device.take(&anchors::to_bytes(&[beside])), Ok(Taken::default()));
    assert_eq!(made.places(&device), [1]);
    assert_eq!(device.take(&made.chain(0, 2)), Ok(followed(1)));
    assert_eq!(made.places(&device), [1, 2]);
}

//= specs/house.md#house-anchors
//= type=test
//# Software that knows of no withdrawals MUST be given none.
#[test]
fn a_session_is_given_a_withdrawal_once_and_only_if_it_knows_of_such() {
    let made = made(2);
    let named: Vec<String> = made.roots.iter().map(name).collect();
    let word = made.word(1, 1);
    let line = made.line(2).withdrawn(&word).unwrap();
    assert_eq!((line.floor(), made.line(2).floor()), (1, 0));
    let whole = made.message(0, 2, &word);
    let mut telling = Telling::default();
    telling.replace(line.clone());
    // Software from before: what it was always given, and nothing more.
    assert_eq!(telling.hear(1, &named[0], None), Some(made.chain(0, 2)));
    assert_eq!(telling.hear(1, &named[2], None), None);
    // Whoever knows of them: everything, wherever it stands; then no more.
    for (session, root) in [(2, 0), (3, 1), (4, 2)] {
        assert_eq!(telling.hear(session, &named[root], Some(0)), Some(whole.clone()));
        assert_eq!(telling.hear(session, &named[root], Some(0)), None);
        assert_eq!(telling.hear(session, &named[2], Some(1)), None);
    }
    // Who has let go already is given the statements that it lacks.
    assert_eq!(telling.hear(5, &named[1], Some(1)), Some(made.chain(1, 2)));
    assert_eq!(telling.hear(6, &named[1], Some(7)), Some(made.chain(1, 2)));
    assert_eq!(telling.hear(7, &"00".repeat(32), Some(0)), None, "a stranger's root");
    // What none of ours can have told it is strange; what it may not have heard yet is not.
    assert!(
        telling.is_strange(&"00".repeat(32), Some(0)) && telling.is_strange(&named[1], Some(2))
    );
    for (root, floor) in [(0, None), (0, Some(0)), (2, Some(1))] {
        assert!(!telling.is_strange(&named[root], floor), "{root}");
    }
    assert!(!Telling::<u8>::default().is_strange(&named[0], Some(7)), "the line is not known yet");
    // It comes while sessions are open.
    let mut telling = Telling::default();
    telling.replace(made.line(2));
    assert_eq!(telling.hear(1, &named[2], Some(0)), None);
    assert_eq!(telling.hear(2, &named[2], None), None);
    assert_eq!(telling.replace(line), [(1, whole)]);
    // By another line, or another place of it.
    let foreign = self::made(2);
    assert!(made.line(2).withdrawn(&foreign.word(1, 1)).is_err());
    assert!(made.line(2).withdrawn(&made.word(1, 2)).is_err());
    assert!(made.line(1).withdrawn(&made.word(2, 2)).is_err());
}

#[test]
fn devices_count_that_have_let_go() {
    let record = |subject: &str, floor: Option<u64>| Record {
        subject: subject.to_owned(),
        first_seen: Timestamp(0),
        last_seen: Timestamp(if subject == "thing:asleep" { 0 } else { 100 }),
        certificate: None,
        policy_version: None,
        root: None,
        root_floor: floor,
        negotiated: Vec::new(),
        offers: Vec::new(),
    };
    let records = [
        record("thing:gone", Some(2)),
        record("thing:later", Some(3)),
        record("thing:before", Some(1)),
        record("thing:old-software", None),
        record("thing:asleep", Some(0)),
        record("service:backend", None),
    ];
    let admitted = |one: &Record| Registration { subject: one.subject.clone(), admitted: true };
    let registered: Vec<_> = records.iter().map(admitted).collect();
    let lately = Duration::from_millis(50);
    let counted = Acknowledgements::let_go(&records, &registered, 2, Timestamp(100), lately);
    let missing = vec!["before".to_owned(), "old-software".to_owned()];
    assert_eq!(counted, Acknowledgements { acknowledged: 2, missing, asleep: 1 });
}

#[derive(Debug, Clone)]
struct Sent {
    from: usize,
    to: usize,
    /// By which root, and where it says that it stands.
    word: Option<(usize, usize)>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let genuine = (1_usize..4).prop_map(|at| Some((at, at)));
    let word =
        prop_oneof![Just(None), genuine.clone(), genuine, (0_usize..4, 1_usize..6).prop_map(Some)];
    (0_usize..4, 0_usize..4, word).prop_map(|(a, b, word)| Sent {
        from: a.min(b),
        to: a.max(b),
        word,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Somebody who has every old root's key sends what they like beside what is genuine, in any order, again and again.
    //= specs/house.md#house-anchors
    //= type=test
    //# The place from which on a device trusts roots MUST never go back.
    #[test]
    fn the_floor_never_sinks_and_no_old_key_is_rid_of_a_newer_root(
        factory in 0_usize..FACTORIES.len(), messages in proptest::collection::vec(sent(), 1..10),
    ) {
        let made = made(3);
        let mut device = made.device(FACTORIES[factory]);
        for sent in messages {
            let before = (made.places(&device), device.floor());
            let newest = *before.0.last().unwrap();
            // Whoever has the newest root that a device trusts is believed.
            let word = sent.word.filter(|(at, claimed)| at == claimed || *at < newest);
            let message = match word {
                None => made.chain(sent.from, sent.to),
                Some((at, claimed)) => made.message(sent.from, sent.to, &made.word(at, claimed)),
            };
            let taken = device.take(&message);
            let after = (made.places(&device), device.floor());
            prop_assert!(after.1 >= before.1, "the floor sank");
            prop_assert!(after.0.last() >= before.0.last(), "its newest root is gone");
            prop_assert!(after.0.iter().all(|place| *place as u64 >= after.1));
            let forged = word.is_some_and(|(at, claimed)| at != claimed);
            if taken.is_err() {
                prop_assert_eq!(&after, &before);
            }
            if forged {
                prop_assert_eq!(after.1, before.1, "by a root that stands elsewhere");
            }
            // What is gone went by the word of a later root that it trusts.
            if let Some(gone) = before.0.iter().filter(|place| !after.0.contains(place)).max() {
                let by = word.map(|(at, _)| at);
                prop_assert!(by.is_some_and(|by| by > *gone && after.0.contains(&by)));
            }
        }
        // Whatever came before, the genuine line and the newest word lead everybody to the same end.
        let _ = device.take(&made.message(0, 3, &made.word(3, 3)));
        prop_assert_eq!(made.places(&device), vec![3]);
        prop_assert_eq!(device.floor(), 3);
    }
}
