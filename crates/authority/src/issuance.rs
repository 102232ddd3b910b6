//! The only place that asks an issuing key for a signature, in steps whose order is the security:
//!
//! ```text
//!  1 registration   may this subject have this certificate?   → EnrolmentPermit
//!  2 retry          the same key again, still good?           → the same certificate
//!  3 profile        names, usages, life from the purpose      → Template
//!  4 prepare        to-be-signed bytes                        → Prepared
//!  5 lint           every rule                                → LintedCertificate
//!  6 intent         serial and hash of those bytes, in the ledger, on the disk
//!  7 sign           takes the LintedCertificate by move
//!  8 compare        signed bytes = linted bytes, signature verifies
//!  9 record         ledger, then database; only now is it handed out
//! ```
//!
//! All of it happens in one writer's turn of the store, so that two processes cannot both say yes.

use countersign_crypto::certificate::{Certificate, CertificateChain};
use countersign_crypto::digest::sha256;
use countersign_crypto::issue::{self, CaTemplate, Serial};
use countersign_crypto::signature::KeyHandle;
use countersign_model::grant::Grant;
use countersign_model::time::{Timestamp, Validity};
use serde_json::json;

use crate::authority::Core;
use crate::error::AuthorityError;
use crate::ledger::Kind;
use crate::lint::{About, LintedCertificate, lint};
use crate::profile::{self, ServerNames};
use crate::registration::{Claim, permit};
use crate::root::{Act, ActKind, NotApproved, RootPermit, RootSigner};
use crate::store::{CertificateRecord, CertificateStatus, Turn};
use crate::subject::{Purpose, Subject};

/// A certificate is given again for the same key until less than this part of its life is left: one third.
const RENEWAL_PART: u64 = 3;

/// What is asked of the authority.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) subject: Subject,
    pub(crate) purpose: Purpose,
    pub(crate) claim: Claim,
    /// Whose possession was proven, or that was made here.
    pub(crate) spki_der: Vec<u8>,
    /// SHA-256 of the request, hexadecimal; empty for keys made here.
    pub(crate) request_sha256: String,
    /// New grants; `None` leaves them as they are.
    pub(crate) grants: Option<Vec<Grant>>,
    pub(crate) server: ServerNames,
    /// The keystore's label of a key made here for ourselves; else empty.
    pub(crate) key_label: String,
}

/// What was issued.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Leaf, then issuing CA.
    pub chain: CertificateChain,
    /// Whether it is new; `false` for the answer to a repeated request.
    pub fresh: bool,
}

/// Issues in the nine steps.
pub(crate) async fn issue(core: &Core, ask: Ask) -> Result<Issued, AuthorityError> {
    core.authorities()?;
    let now = core.now();
    let mut turn = core.store.exclusive().await?;
    // As this turn sees them: another process may have rolled an issuing CA a moment ago.
    let authorities = core.authorities_as(&turn.issuing().await?)?;
    let spki_sha256 = hex::encode(sha256(&ask.spki_der));

    // 1. Registration.
    let permit =
        permit(&mut turn, &ask.subject, ask.purpose, &spki_sha256, &ask.claim, now).await?;

    // 2. Retry.
    let ca = profile::issuer(ask.purpose);
    if let Some(again) = again(&mut turn, &ask, &spki_sha256, authorities.label(ca), now).await? {
        let chain = authorities.chain(again.certificate)?;
        return Ok(Issued { chain, fresh: false });
    }

    // 3. Profile.
    core.admits_key(ask.purpose, &ask.spki_der, now)?;
    let issuer = authorities.certificate(ca);
    let serial = core.serial();
    let from = issuer.validity().not_before;
    let template =
        profile::template(&permit, &ask.spki_der, &ask.server, from, &core.config, serial, now)?;

    // 4. Prepare.
    let key = authorities.key(ca);
    let prepared = issue::prepare(&template, issuer, key.algorithm())?;

    //= specs/house.md#house-issuance
    //# A certificate that was not linted MUST NOT be signed.
    // 5. Lint.
    let life = profile::life(ask.purpose, &core.config);
    let about = About { purpose: Some(ask.purpose), name: ask.subject.name(), life, now };
    let linted = lint(prepared, &about)?;

    //= specs/house.md#house-issuance
    //# The intent to issue MUST be on disk before the certificate is signed.
    // 6. Intent.
    core.record(
        Kind::IssuanceIntent,
        json!({
            "subject": ask.subject.to_string(), "purpose": ask.purpose.as_str(), "issuer": authorities.label(ca),
            "serial": serial.hex(), "spki_sha256": spki_sha256, "request_sha256": ask.request_sha256,
            "tbs_sha256": hex::encode(sha256(linted.tbs())), "by": word(&ask.claim),
        }),
    )
    .await?;

    // 7 and 8. Sign and compare.
    let certificate = sign(linted, issuer, key)?;

    // 9. Record.
    core.record(Kind::Issued, issued_body(&certificate, serial)).await?;
    if !permit.known_key() {
        turn.put_key(permit.spki_sha256(), permit.subject(), permit.purpose()).await?;
    }
    let known = turn.subject(&ask.subject).await?;
    let before = known.map(|known| known.grants).unwrap_or_default();
    let grants = ask.grants.unwrap_or_else(|| before.clone());
    if grants != before {
        let list: Vec<String> = grants.iter().map(ToString::to_string).collect();
        let body = json!({"subject": ask.subject.to_string(), "grants": list});
        core.record(Kind::GrantsChanged, body).await?;
    }
    turn.put_subject(&ask.subject, permit.next_state(), &grants, now).await?;
    turn.put_certificate(&CertificateRecord {
        subject: ask.subject,
        purpose: ask.purpose,
        certificate: certificate.clone(),
        issuer: authorities.label(ca).to_owned(),
        request_sha256: ask.request_sha256,
        key_label: ask.key_label,
        status: CertificateStatus::Active,
        issued_at: now,
    })
    .await?;
    turn.commit().await?;
    core.notify();
    Ok(Issued { chain: authorities.chain(certificate)?, fresh: true })
}

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
    let root = issue::self_signed_ca(&template, key)?;
    let whole = root.verify_signed_by(&root).is_ok()
        && root.spki_der() == key.spki_der()
        && root.subject_cn().as_deref() == Some(template.common_name.as_str());
    if whole { Ok(root) } else { Err(AuthorityError::Mismatch) }
}

/// Signs what was linted, and nothing else.
fn sign(
    linted: LintedCertificate,
    issuer: &Certificate,
    key: &KeyHandle,
) -> Result<Certificate, AuthorityError> {
    //= specs/house.md#house-issuance
    //# A signed certificate MUST be compared with what was linted.
    let expected = linted.tbs().to_vec();
    let certificate = issue::sign(linted.into_prepared(), key)?;
    let same = issue::tbs(certificate.der())? == expected;
    if same && certificate.verify_signed_by(issuer).is_ok() {
        Ok(certificate)
    } else {
        Err(AuthorityError::Mismatch)
    }
}

/// The certificate that answers a repeated request: same subject, purpose and key, still good, and either the very
/// same request, or more than a third of its life left and an issuer that still issues.
async fn again(
    turn: &mut Turn,
    ask: &Ask,
    spki_sha256: &str,
    issuer: &str,
    now: Timestamp,
) -> Result<Option<CertificateRecord>, AuthorityError> {
    let earlier = turn.certificates_of(&ask.subject, ask.purpose).await?;
    Ok(earlier.into_iter().find(|record| {
        let validity = record.certificate.validity();
        let same_request =
            !ask.request_sha256.is_empty() && record.request_sha256 == ask.request_sha256;
        record.is_good(now)
            && record.certificate.spki_sha256() == spki_sha256
            && (same_request || (record.issuer == issuer && !in_renewal(&validity, now)))
    }))
}

/// Whether less than a third of a life is left.
pub(crate) fn in_renewal(validity: &Validity, now: Timestamp) -> bool {
    let life = validity.not_after.since(validity.not_before).as_millis();
    let left = validity.not_after.since(now).as_millis();
    left * u128::from(RENEWAL_PART) < life
}

pub(crate) fn issued_body(certificate: &Certificate, serial: Serial) -> serde_json::Value {
    json!({
        "serial": serial.hex(),
        "certificate_sha256": hex::encode(certificate.fingerprint()),
        "not_after": certificate.validity().not_after.to_rfc3339(),
    })
}

fn word(claim: &Claim) -> &'static str {
    match claim {
        Claim::Local => "operator",
        Claim::Factory => "factory",
        Claim::FactoryIdentity(_) => "idevid",
        Claim::Current(_) => "current",
    }
}

#[cfg(test)]
mod tests;
