//! What the gateway sends a device about its maker's roots, and what a device says of them.

use countersign_crypto::anchors;
use countersign_crypto::certificate::certificates_from_pem;
use countersign_model::topic::AnchorReport;
use countersign_protocol::anchors::{RootLine, Telling, TrustedRoots, name};

/// A first root and the statements about its successors; their keys were thrown away.
const ROOT: &[u8] = include_bytes!("../../fixtures/anchor.root.pem");
const CHAIN: &[u8] = include_bytes!("../../fixtures/anchor.chain");

//= specs/house.md#house-anchors
//= type=test
//# A device MUST come to trust a root only by statements that lead to it from a root that it trusts.
/// A device trusts what its maker stated and nothing else, also after it has followed; a report has one meaning, and costs a
/// session a bounded number of answers.
pub fn target(data: &[u8]) {
    let root = certificates_from_pem(ROOT).expect("the fixture is a certificate").remove(0);
    let mut whole = TrustedRoots::new(vec![root.clone()], Vec::new());
    whole.take(CHAIN).expect("the fixture is a chain");
    let genuine = whole.all();
    for mut device in [TrustedRoots::new(vec![root.clone()], Vec::new()), whole] {
        let before = device.all();
        if device.take(data).is_err() {
            assert_eq!(device.all(), before, "refused, and taken");
        }
        assert!(device.all().starts_with(&before), "a root is gone");
        assert!(genuine.starts_with(&device.all()), "a root that nobody named");
    }
    let statements = anchors::from_bytes(CHAIN).expect("the fixture is a chain");
    let line = RootLine::new(root.clone(), statements).expect("the fixture leads on");
    if let Some(report) = AnchorReport::from_json(data) {
        let again = AnchorReport { refused: None, ..report.clone() };
        assert_eq!(AnchorReport::from_json(&again.to_json()), Some(again));
        let mut telling = Telling::default();
        telling.replace(line);
        for named in [report.root, name(&root)] {
            telling.hear(1, &named);
            assert_eq!(telling.hear(1, &named), None, "given twice");
        }
    }
}
