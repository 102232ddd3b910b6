//! Roots on their way: what a device takes, what a session is given, who counts.

use super::*;
use countersign_crypto::anchors::MAX_STATEMENTS;
use countersign_crypto::issue::{CaTemplate, Serial, self_signed_ca};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_model::time::Validity;

fn root(number: usize) -> (Certificate, KeyHandle) {
    let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let template = CaTemplate {
        common_name: format!("Acme Root {number}"),
        organisation: "Acme".to_owned(),
        country: "DE".to_owned(),
        validity: Validity { not_before: Timestamp(0), not_after: Validity::FOREVER },
        serial: Serial::random(&mut SystemRandom),
    };
    (self_signed_ca(&template, &key).unwrap(), key)
}

struct Made {
    roots: Vec<Certificate>,
    keys: Vec<KeyHandle>,
    statements: Vec<Vec<u8>>,
}

fn made(rolls: usize) -> Made {
    let (roots, keys): (Vec<_>, Vec<_>) = (0..=rolls).map(root).unzip();
    let state = |at: usize| {
        let held = Anchor { position: at as u64, root: roots[at].clone() };
        anchors::state(&held, &roots[at + 1], &keys[at]).unwrap()
    };
    let statements = (0..rolls).map(state).collect();
    Made { roots, keys, statements }
}

impl Made {
    fn chain(&self, from: usize, to: usize) -> Vec<u8> {
        anchors::to_bytes(&self.statements[from..to])
    }

    fn device(&self, factory: &[usize]) -> TrustedRoots {
        TrustedRoots::new(factory.iter().map(|at| self.roots[*at].clone()).collect(), Vec::new(), 0)
    }

    fn line(&self, rolls: usize) -> RootLine {
        RootLine::new(self.roots[0].clone(), self.statements[..rolls].to_vec()).unwrap()
    }
}

fn followed(followed: usize) -> Taken {
    Taken { followed, floor: None }
}

//= specs/house.md#house-anchors
//= type=test
//# A device MUST come to trust a root only by statements that lead to it from a root that it trusts.
#[test]
fn a_device_follows_from_what_it_trusts_and_from_nothing_else() {
    let made = made(3);
    // Whatever its factory knew, and in whatever order.
    for factory in [&[0][..], &[1, 0], &[0, 1], &[2], &[2, 1, 0], &[3]] {
        let mut device = made.device(factory);
        let taken = device.take(&made.chain(0, 3));
        if factory == [3] {
            assert_eq!(taken, Err(ChainRefused::NotOurs));
        } else {
            assert_eq!(taken, Ok(followed(3 - factory.iter().max().unwrap())));
        }
        assert_eq!(device.newest(), made.roots.last());
        // Again, and an old piece of it: nothing new, nothing gone.
        let before = device.all();
        for again in [made.chain(0, 3), made.chain(0, 1)] {
            let _ = device.take(&again);
        }
        assert_eq!(device.all(), before);
        assert!(before.iter().all(|root| made.roots.contains(root)));
        assert_eq!(before.len(), device.all().len());
    }
    // A stranger's line, one with a hole, one that is cut, too long a one.
    let mut device = made.device(&[0]);
    let foreign = self::made(2);
    assert_eq!(device.take(&foreign.chain(0, 2)), Err(ChainRefused::NotOurs));
    assert_eq!(device.take(&made.chain(1, 3)), Err(ChainRefused::NotOurs));
    let mixed = [made.statements[0].clone(), foreign.statements[1].clone()];
    assert!(matches!(device.take(&anchors::to_bytes(&mixed)), Err(ChainRefused::Chain(_))));
    assert!(device.take(&made.chain(0, 3)[..100]).is_err());
    let long = vec![0; MAX_CHAIN + 1];
    assert_eq!(device.take(&long), Err(ChainRefused::TooLong(MAX_CHAIN + 1)));
    assert_eq!(device.all(), made.roots[..1]);
}

#[test]
fn nothing_leads_beside_a_root_that_was_followed_to() {
    let made = made(1);
    let mut device = made.device(&[0]);
    assert_eq!(device.take(&made.chain(0, 1)), Ok(followed(1)));
    // The first root says something else of the same place, and of the one after it.
    let (other, key) = root(9);
    let held = Anchor { position: 0, root: made.roots[0].clone() };
    let beside = anchors::state(&held, &other, &made.keys[0]).unwrap();
    let (last, _) = root(10);
    let on = anchors::state(&Anchor { position: 1, root: other }, &last, &key).unwrap();
    assert_eq!(device.take(&anchors::to_bytes(std::slice::from_ref(&beside))), Ok(followed(0)));
    assert!(device.take(&anchors::to_bytes(&[beside, on])).is_err());
    assert_eq!(device.all(), made.roots);
}

//= specs/house.md#house-anchors
//= type=test
//# The number of roots that a device takes MUST be bounded.
#[test]
fn a_device_takes_no_more_than_so_many() {
    let made = made(1);
    let full: Vec<_> = (0..MAX_STATEMENTS as u64)
        .map(|position| Anchor { position, root: made.roots[0].clone() })
        .collect();
    let held = full.last().unwrap().clone();
    let next = anchors::state(&held, &made.roots[1], &made.keys[0]).unwrap();
    let mut device = TrustedRoots::new(vec![made.roots[0].clone()], full, 0);
    assert_eq!(device.take(&anchors::to_bytes(&[next])), Err(ChainRefused::Full));
}

#[test]
fn a_session_is_given_what_it_lacks_once() {
    let made = made(3);
    let named: Vec<String> = made.roots.iter().map(name).collect();
    let mut telling = Telling::default();
    // Nothing is known yet, and strangers' roots stay unanswered.
    assert_eq!(telling.hear(1, &named[0], None), None);
    assert_eq!(telling.hear(2, &"00".repeat(32), None), None);
    assert_eq!(telling.replace(made.line(1)), [(1, made.chain(0, 1))]);
    assert_eq!(telling.replace(made.line(1)), []);
    // It says the same again, and then that it has followed.
    assert_eq!(telling.hear(1, &named[0], None), None);
    assert_eq!(telling.hear(1, &named[1], None), None);
    assert_eq!(telling.replace(made.line(3)), [(1, made.chain(1, 3))]);
    assert_eq!(telling.hear(1, &named[0], None), None, "once, and it was told from a later place");
    telling.forget(1);
    assert_eq!(telling.hear(1, &named[0], None), Some(made.chain(0, 3)));
    // A way that is too long for one message is gone in pieces.
    let line = made.line(3);
    let most = made.chain(0, 2).len();
    assert_eq!(line.piece(0, most), Some(made.chain(0, 2)));
    assert_eq!(line.piece(2, most), Some(made.chain(2, 3)));
    assert_eq!((line.piece(3, most), line.piece(4, most), line.piece(0, 1)), (None, None, None));
}

#[test]
fn devices_count_by_what_they_said_and_when_they_were_seen() {
    let day = 86_400_000;
    let record = |subject: &str, root: Option<&str>, seen: u64| Record {
        subject: subject.to_owned(),
        first_seen: Timestamp(0),
        last_seen: Timestamp(seen * day),
        certificate: None,
        policy_version: None,
        root: root.map(str::to_owned),
        root_floor: None,
        negotiated: Vec::new(),
        offers: Vec::new(),
    };
    let records = [
        record("thing:a", Some("new"), 1),
        record("thing:b", Some("old"), 99),
        record("thing:c", None, 98),
        record("thing:d", None, 1),
        record("thing:gone", None, 99),
        record("service:backend", None, 99),
    ];
    let registered: Vec<_> = records
        .iter()
        .map(|one| Registration {
            subject: one.subject.clone(),
            admitted: one.subject != "thing:gone",
        })
        .collect();
    let wanted = ["new".to_owned()];
    let month = Duration::from_secs(30 * 86_400);
    let counted =
        Acknowledgements::count(&records, &registered, &wanted, Timestamp(100 * day), month);
    let missing = vec!["b".to_owned(), "c".to_owned()];
    assert_eq!(counted, Acknowledgements { acknowledged: 1, missing, asleep: 1 });
}

mod withdrawals;
