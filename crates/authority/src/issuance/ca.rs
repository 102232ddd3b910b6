//! Certificates of CAs: by the root's permit, linted and compared as all others are.

use countersign_crypto::anchors::{self, Anchor};
use countersign_crypto::certificate::Certificate;
use countersign_crypto::digest::sha256;
use countersign_crypto::issue::{self, CaTemplate};
use countersign_crypto::signature::KeyHandle;
use countersign_model::time::Timestamp;

use super::sign;
use crate::error::AuthorityError;
use crate::lint::{About, lint};
use crate::root::{Act, ActKind, NotApproved, RootPermit, RootSigner};

/// An issuing CA, below the root; in the ceremony, and when the CA is rolled.
pub(crate) fn issue_ca(
    signer: &RootSigner,
    permit: &RootPermit,
    label: &str,
    key: &KeyHandle,
    root: &Certificate,
    now: Timestamp,
) -> Result<Certificate, AuthorityError> {
    let (act, root_key) = (permit.act(ActKind::IssuingCa, label)?, signer.key(permit));
    let template = approved(act, key)?;
    let prepared = issue::prepare_ca(&template, key.spki_der(), root, root_key.algorithm())?;
    let about = About { purpose: None, name: &template.common_name, life: None, now };
    sign(lint(prepared, &about)?, root, root_key)
}

/// The next root, certified by the root before: for verifiers that trust that one. Its words are those of the next root's own certificate.
pub(crate) fn cross_certificate(
    signer: &RootSigner,
    permit: &RootPermit,
    label: &str,
    next: &Certificate,
    before: &Certificate,
) -> Result<Certificate, AuthorityError> {
    let (act, key) = (approved_root(permit, ActKind::NextRoot, label, next)?, signer.key(permit));
    let prepared =
        issue::prepare_cross(&act.template()?, &next.spki_der(), before, key.algorithm())?;
    let expected = prepared.tbs().to_vec();
    let cross = issue::sign(prepared, key)?;
    let whole = issue::tbs(cross.der())? == expected
        && cross.verify_signed_by(before).is_ok()
        && cross.spki_der() == next.spki_der()
        && cross.x509().tbs_certificate().subject() == next.x509().tbs_certificate().subject()
        && cross.subject_key_id() == next.subject_key_id();
    if whole { Ok(cross) } else { Err(AuthorityError::Mismatch) }
}

/// The statement that `next` follows the held root, by the held root's key.
pub(crate) fn root_statement(
    signer: &RootSigner,
    permit: &RootPermit,
    label: &str,
    held: &Anchor,
    next: &Certificate,
) -> Result<Vec<u8>, AuthorityError> {
    let act = approved_root(permit, ActKind::NextRoot, label, next)?;
    if act.position != Some(held.position + 1) {
        return Err(NotApproved::NotAsked(label.to_owned()).into());
    }
    Ok(anchors::state(held, next, signer.key(permit))?)
}

/// The word of the root that anchors begin with it, by its own key.
pub(crate) fn root_withdrawal(
    signer: &RootSigner,
    permit: &RootPermit,
    label: &str,
    first: &Anchor,
) -> Result<Vec<u8>, AuthorityError> {
    let act = approved_root(permit, ActKind::Withdrawal, label, &first.root)?;
    if act.position != Some(first.position) {
        return Err(NotApproved::NotAsked(label.to_owned()).into());
    }
    Ok(anchors::withdraw_before(first, signer.key(permit))?)
}

/// A new root signs itself at its birth. Nobody trusts it before the root before names it, which needs a permit.
pub(crate) fn newborn_root(
    template: &CaTemplate,
    key: &KeyHandle,
) -> Result<Certificate, AuthorityError> {
    checked_root(issue::self_signed_ca(template, key)?, template, key)
}

fn approved_root<'a>(
    permit: &'a RootPermit,
    what: ActKind,
    label: &str,
    next: &Certificate,
) -> Result<&'a Act, AuthorityError> {
    let act = permit.act(what, label)?;
    let print = hex::encode(next.fingerprint());
    if act.certificate_sha256.as_ref() != Some(&print) || act.key_sha256 != next.spki_sha256() {
        return Err(NotApproved::NotAsked(label.to_owned()).into());
    }
    Ok(act)
}

/// The certificate that was approved, if it was for this key.
//= specs/house.md#house-custody
//# A certificate of the root MUST say what its custodians approved, word by word.
fn approved(act: &Act, key: &KeyHandle) -> Result<CaTemplate, AuthorityError> {
    if act.key_sha256 != hex::encode(sha256(key.spki_der())) {
        return Err(NotApproved::NotAsked(act.label.clone()).into());
    }
    Ok(act.template()?)
}

/// A root signs itself; in the ceremony, and when the root is rolled. There is no issuer to lint it against, so its own words are checked.
pub(crate) fn self_signed_root(
    signer: &RootSigner,
    permit: &RootPermit,
    label: &str,
) -> Result<Certificate, AuthorityError> {
    let (act, key) = (permit.act(ActKind::RootCertificate, label)?, signer.key(permit));
    let template = approved(act, key)?;
    checked_root(issue::self_signed_ca(&template, key)?, &template, key)
}

fn checked_root(
    root: Certificate,
    template: &CaTemplate,
    key: &KeyHandle,
) -> Result<Certificate, AuthorityError> {
    let whole = root.verify_signed_by(&root).is_ok()
        && root.spki_der() == key.spki_der()
        && root.subject_cn().as_deref() == Some(template.common_name.as_str());
    if whole { Ok(root) } else { Err(AuthorityError::Mismatch) }
}
