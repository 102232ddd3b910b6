//! What travels on sticks between the authority and the root's custodians: requests, approvals, the root's sealed file,
//! custodians' key files; and the chains by which roots name their successors.

use countersign_authority::ceremony::{CeremonyPlan, verify_transcript};
use countersign_authority::ledger::note::VerifierKey;
use countersign_authority::root::{Custody, RootRequest, judge};
use countersign_crypto::anchors::{self, Anchor};
use countersign_crypto::certificate::certificates_from_pem;
use countersign_crypto::custody::{CustodianKey, Vault};
use countersign_crypto::secret::{Secret, Strength};
use countersign_model::time::Timestamp;

/// A ledger's key; its private half was thrown away.
const KEY: &str = include_str!("../../fixtures/ledger.key");
/// A plan with custodians, the request of its ceremony, and the custody's key halves thrown away.
const PLAN: &str = include_str!("../../fixtures/custody.plan.toml");
const REQUEST: &[u8] = include_bytes!("../../fixtures/custody.request");
/// A first root and the statements about its successors; their keys were thrown away.
const ROOT: &[u8] = include_bytes!("../../fixtures/anchor.root.pem");
const CHAIN: &[u8] = include_bytes!("../../fixtures/anchor.chain");

//= specs/house.md#house-anchors
//= type=test
//# A new root MUST be believed only by the signature of the root before it.
//= specs/house.md#house-custody
//= type=test
//# An approval MUST count for one request, until that request expires, and for no other.
/// What was read is written as the same; nothing that nobody signed is an approval; no key file opens by chance.
pub fn target(data: &[u8]) {
    let key: VerifierKey = KEY.trim_end().parse().expect("the fixture is a key");
    if let Ok(request) = RootRequest::parse(data) {
        let again = RootRequest::parse(request.to_text().as_bytes());
        assert_eq!(again.as_ref(), Ok(&request), "the written request says something else");
        assert!(!request.acts().is_empty(), "a request for nothing");
        assert_ne!(request.signed_by(&key), Ok(true), "nobody signed this request");
    }
    if let Ok(vault) = Vault::parse(data) {
        assert_eq!(vault.to_bytes(), data, "a sealed root with two encodings");
    }
    let plan = CeremonyPlan::from_toml("plan", PLAN).expect("the fixture is a plan");
    let custody: &Custody = plan.custody();
    let request = RootRequest::parse(REQUEST).expect("the fixture is a request");
    let approvals = [data.to_vec()];
    let judged = judge(
        custody,
        request.root_spki_der(),
        &request,
        &approvals,
        Timestamp(request.made_at().0),
    );
    assert!(judged.is_err(), "nobody approved this");
    assert!(verify_transcript(data, &key).is_err(), "nobody signed this transcript");
    let root = certificates_from_pem(ROOT).expect("the fixture is a certificate").remove(0);
    let held = Anchor { position: 0, root };
    if let Ok(statements) = anchors::from_bytes(data) {
        assert_eq!(anchors::to_bytes(&statements), data, "a chain of roots with two encodings");
        let genuine = anchors::from_bytes(CHAIN).and_then(|chain| anchors::follow(&held, &chain));
        let genuine = genuine.expect("the fixture is a chain");
        if let Ok(way) = anchors::follow(&held, &statements) {
            assert!(genuine.starts_with(&way), "a root that nobody named");
        }
    }
    // Stretching a passphrase is slow by design: a handful of bytes decides whether it comes to that.
    if data.len() < 32 {
        let passphrase = Secret::new(b"twelve letters".to_vec(), Strength(0));
        assert!(CustodianKey::from_file(data, &passphrase, None).is_err());
    }
}
