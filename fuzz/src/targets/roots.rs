//! What the gateway sends a device about its maker's roots, withdrawals among it, and what a device says of them.

use countersign_crypto::anchors::Told;
use countersign_crypto::certificate::{Certificate, certificates_from_pem};
use countersign_model::topic::AnchorReport;
use countersign_protocol::anchors::{RootLine, Telling, TrustedRoots, name};

/// A first root and the statements about its successors; their keys were thrown away.
const ROOT: &[u8] = include_bytes!("../../fixtures/anchor.root.pem");
const CHAIN: &[u8] = include_bytes!("../../fixtures/anchor.chain");
/// The same with the second root's withdrawal of the first.
const WITHDRAWN: &[u8] = include_bytes!("../../fixtures/anchor.withdrawn");

//= specs/house.md#house-anchors
//= type=test
//# A device MUST come to trust a root only by statements that lead to it from a root that it trusts.
//= specs/house.md#house-anchors
//= type=test
//# The place from which on a device trusts roots MUST never go back.
/// A device trusts what its maker stated and nothing else, also after it has followed, and lets go of what its maker withdrew and of
/// nothing else; a report has one meaning, and costs a session a bounded number of answers.
pub fn target(data: &[u8]) {
    let root = certificates_from_pem(ROOT).expect("the fixture is a certificate").remove(0);
    let fresh = || TrustedRoots::new(vec![root.clone()], Vec::new(), 0);
    let (mut whole, mut gone) = (fresh(), fresh());
    whole.take(CHAIN).expect("the fixture is a chain");
    gone.take(WITHDRAWN).expect("the fixture is a withdrawal");
    let genuine = whole.all();
    assert_eq!((gone.all().as_slice(), gone.floor()), (&genuine[1..], 1));
    for mut device in [fresh(), whole, gone] {
        let (before, floor) = (device.all(), device.floor());
        if device.take(data).is_err() {
            assert_eq!(
                (device.all(), device.floor()),
                (before.clone(), floor),
                "refused, and taken"
            );
        }
        let after = device.all();
        assert!(after.iter().all(|root| genuine.contains(root)), "a root that nobody named");
        assert!(device.floor() >= floor, "the floor sank");
        if device.floor() == floor {
            assert!(after.starts_with(&before), "a root is gone");
        }
        // The second root withdraws the first; the first says of itself in a seed what only devices believe that know no other.
        let newest = |roots: &[Certificate]| {
            genuine.iter().rposition(|root| roots.contains(root)).expect("a device has a root")
        };
        assert!(newest(&after) >= newest(&before), "its newest root is gone");
        assert!(device.floor() <= 1, "nobody withdrew the second root");
    }
    if let Ok(told) = Told::from_bytes(data) {
        assert_eq!(told.to_bytes(), data, "a message with two encodings");
    }
    let told = Told::from_bytes(WITHDRAWN).expect("the fixture is a withdrawal");
    let word = told.withdrawal.expect("the fixture is a withdrawal");
    let line = RootLine::new(root.clone(), told.statements).expect("the fixture leads on");
    let line = line.withdrawn(word.document()).expect("the fixture is one of the line's");
    if let Some(report) = AnchorReport::from_json(data) {
        let again = AnchorReport { refused: None, ..report.clone() };
        assert_eq!(AnchorReport::from_json(&again.to_json()), Some(again));
        let mut telling = Telling::default();
        telling.replace(line);
        for named in [report.root, name(&root)] {
            telling.hear(1, &named, report.floor);
            assert_eq!(telling.hear(1, &named, report.floor), None, "given twice");
        }
    }
}
